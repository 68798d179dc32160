package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Errors that end a connection.
var (
	errLeft     = errors.New("the bus was left")
	errSilent   = errors.New("the probes that this node publishes do not come back from Redis any longer")
	errSetup    = errors.New("no answer from Redis in time")
	errUnheard  = errors.New("nobody listens to this node's channel: the subscription is lost")
	errNodeHere = errors.New("another node has this node's number; start this one again")
)

// redisConn is a connection to Redis: a client with all its sockets, and the
// goroutines that use it. A connection that has failed is not mended; the next
// one is a new redisConn.
//
// The client gives it two sockets of its own: out, on which only the publisher
// writes, so that packets keep their order, and in, on which everything published
// arrives. Commands on keys use the client's other sockets.
//
// Its goroutines: publish, maintainKeys, maintainSubscriptions and watch, and one
// for each sharded channel in a Redis Cluster. fail ends them; close waits for
// them.
type redisConn struct {
	bus    *Bus
	client rueidis.Client
	out    rueidis.DedicatedClient
	in     rueidis.DedicatedClient
	inDone <-chan error // closed when the socket in has ended
	shards *shards      // nil unless channels are sharded over a Redis Cluster
	mode   rueidis.ClientMode

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	done   sync.WaitGroup

	live    bool         // the Member knows of it; guarded by the Bus's calls
	probed  atomic.Int64 // when the newest probe that came back was sent; µs
	probeIn chan struct{}

	// Buffers of the publisher.
	commands, sharded []rueidis.Completed

	// uncertain are packets of which nobody knows whether they were delivered. It
	// belongs to the publisher, and after its end to run.
	uncertain []*packet

	// keys is held during work on keys, so that none is claimed again while all are
	// released.
	keys sync.Mutex

	mu      sync.Mutex // guards the rest; a leaf
	err     error
	sockets map[net.Conn]struct{}
}

// connect returns a connection whose first probe has come back, or the reason why
// there is none. Nothing is left of an attempt that failed.
func (b *Bus) connect() (*redisConn, error) {
	rc := &redisConn{bus: b, sockets: map[net.Conn]struct{}{}, probeIn: make(chan struct{}, 1)}
	rc.ctx, rc.cancel = context.WithCancel(b.ctx)
	stop := context.AfterFunc(rc.ctx, rc.closeSockets)
	defer stop()
	limit := time.AfterFunc(setupTimeouts*b.options.Timeout, func() { rc.fail(errSetup) })
	defer limit.Stop()
	err := rc.setup()
	if err == nil && limit.Stop() {
		return rc, nil
	}
	if err == nil {
		err = errSetup
	}
	rc.fail(err)
	rc.close()
	return nil, rc.failure()
}

// setupTimeouts is how many timeouts it may take to connect: with Sentinel the
// client asks one sentinel after another, and waits a timeout for each that is
// gone.
const setupTimeouts = 5

func (rc *redisConn) setup() error {
	b := rc.bus
	o, err := rc.clientOption()
	if err != nil {
		return err
	}
	if rc.client, err = rueidis.NewClient(o); err != nil {
		return err
	}
	rc.mode = rc.client.Mode()
	rc.in, _ = rc.client.Dedicate() // both are closed, not given back
	rc.out, _ = rc.client.Dedicate()
	rc.inDone = rc.in.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { rc.receive(m.Channel, m.Message) }})
	if b.options.Sharded && rc.mode == rueidis.ClientModeCluster {
		rc.shards = newShards(rc)
	}
	if err := rc.subscribeAll(); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	if err := rc.claimNode(); err != nil {
		return fmt.Errorf("claiming the node's key: %w", err)
	}
	return rc.awaitProbe()
}

// awaitProbe publishes a probe to this node itself and waits until it comes back:
// then publishing, Redis and the subscription work.
func (rc *redisConn) awaitProbe() error {
	b := rc.bus
	p := &packet{to: &b.self, buf: make([]byte, headerSize, headerSize+recordHeader)}
	p.buf = endRecord(beginRecord(p.buf, recordProbe), len(p.buf))
	if err := rc.send([]*packet{p}); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	select {
	case <-rc.probeIn:
		return nil
	case <-rc.ctx.Done():
		return rc.failure()
	}
}

// clientOption turns off what the client would do by itself: it caches nothing and
// sends no command twice. The connection knows all sockets, so closing them does
// not depend on what the client waits for.
func (rc *redisConn) clientOption() (rueidis.ClientOption, error) {
	b := rc.bus
	a := b.address
	o := rueidis.ClientOption{
		InitAddress: a.addrs, Username: a.user, Password: a.password, TLSConfig: a.tls,
		ClientName:   clientName(b.options.Name),
		DialCtxFn:    rc.dial,
		DisableCache: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
		PipelineMultiplex: -1, RingScaleEachConn: 6, BlockingPoolSize: 4,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
		// watch finds a connection that has failed; this bounds what may be left behind.
		ConnWriteTimeout: 2 * setupTimeouts * b.options.Timeout,
	}
	o.Dialer.Timeout = b.options.Timeout
	o.Dialer.KeepAlive = 15 * time.Second
	if b.options.PasswordFile != "" {
		var err error
		if o.Password, err = readPassword(b.options.PasswordFile); err != nil {
			return o, err
		}
	}
	if a.masterSet != "" {
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: a.masterSet, Dialer: o.Dialer, TLSConfig: a.tls, ClientName: o.ClientName,
			Username: a.sentinelUser, Password: a.sentinelPassword,
		}
	}
	return o, nil
}

// clientName is what CLIENT LIST shows. Redis allows no spaces in it.
func clientName(node string) string { return "labgate-" + node }

// dial opens a socket for the client, unless the connection has ended.
func (rc *redisConn) dial(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(rc.ctx, cancel)()
	conn, err := dialer.DialContext(ctx, rc.bus.address.network, addr)
	if err != nil {
		return nil, err
	}
	rc.mu.Lock()
	if rc.err == nil {
		rc.sockets[conn] = struct{}{}
	}
	err = rc.err
	rc.mu.Unlock()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if config == nil {
		return conn, nil
	}
	config = config.Clone()
	if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// fail ends the connection: the bus accepts nothing any longer, and run drops what
// is queued. It may be called from any goroutine and more than once; the first
// error is the reason.
func (rc *redisConn) fail(err error) {
	rc.mu.Lock()
	if rc.err == nil {
		rc.err = err
	}
	rc.mu.Unlock()
	rc.cancel()
	b := rc.bus
	b.mu.Lock()
	if b.conn == rc {
		b.up = false
	}
	b.mu.Unlock()
}

func (rc *redisConn) failure() error {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.err == nil && rc.ctx.Err() != nil {
		return errLeft
	}
	return rc.err
}

// closeSockets resets the sockets: what the kernel has not sent yet would be
// delivered too late.
func (rc *redisConn) closeSockets() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.err == nil {
		rc.err = errLeft
	}
	for socket := range rc.sockets {
		if t, ok := socket.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = socket.Close()
	}
	clear(rc.sockets)
}

// close waits until nothing is left of a connection that has failed.
func (rc *redisConn) close() {
	rc.closeSockets()
	rc.done.Wait()
	if rc.client == nil {
		return
	}
	rc.in.Close()
	rc.out.Close()
	rc.client.Close()
	for range rc.inDone { // wait for its end
	}
}

// announceLeave tells the others that this node leaves, behind all that is queued,
// and releases its keys. It takes at most the timeout.
func (rc *redisConn) announceLeave() {
	b := rc.bus
	limit := time.AfterFunc(b.options.Timeout, func() { rc.fail(errLeft) })
	defer limit.Stop()
	sent := make(chan struct{})
	b.mu.Lock()
	b.enqueueRecord(&b.all, 0, func(buf []byte) []byte { return endRecord(beginRecord(buf, recordLeaving), len(buf)) }).sent = sent
	b.mu.Unlock()
	select {
	case <-sent:
	case <-rc.ctx.Done():
		return
	}
	if err := rc.releaseKeys(); err != nil && rc.ctx.Err() == nil {
		b.log.Warn().Err(err).Msg("cannot release the keys of this node and its devices; they expire by themselves")
	}
}
