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

// Errors that end a link.
var (
	errLeft     = errors.New("the bus was left")
	errSilent   = errors.New("this node does not hear itself any longer through Redis")
	errSetup    = errors.New("no answer of Redis in time")
	errUnheard  = errors.New("nobody listens to this node's channel: the subscription is lost")
	errNodeHere = errors.New("another node has this node's number; start this one again")
)

// link is one connection to Redis, from the moment it is begun to its end: a
// client with its connections, and the goroutines that use it. A link that has
// failed is not mended; the next one is new.
//
// Two connections are its own beside the client's: out, on which only the
// publisher writes, so that packets keep their order, and in, on which everything
// arrives. Keys are the client's.
//
// Its goroutines: publish, claims, channels and watch, and with sharded channels
// in a Redis Cluster one for each of these. fail ends them; close waits for them.
type link struct {
	bus    *Bus
	client rueidis.Client
	out    rueidis.DedicatedClient
	in     rueidis.DedicatedClient
	inDone <-chan error // closed when nothing arrives on in any longer
	shards *shards      // nil unless channels are sharded over a Redis Cluster
	mode   rueidis.ClientMode

	ctx    context.Context // ends with the link
	cancel context.CancelFunc
	done   sync.WaitGroup

	live   bool         // the Member has been told; guarded by the Bus's calls
	echoed atomic.Int64 // when the newest probe that came back was sent
	echo   chan struct{}

	// The publisher's, kept for their memory.
	commands, sharded []rueidis.Completed

	// doubtful are packets of which nobody knows whether they were delivered. It
	// is the publisher's, and whoever's has waited for its end.
	doubtful []*packet

	// keys is held by whoever works on keys, so that none is taken again while all
	// are released.
	keys sync.Mutex

	mu    sync.Mutex // guards the rest; a leaf
	err   error
	conns map[net.Conn]struct{}
}

// connect makes a link that hears itself. What it returns on failure is the
// reason, and nothing is left of the link.
func (b *Bus) connect() (*link, error) {
	l := &link{bus: b, conns: map[net.Conn]struct{}{}, echo: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(b.ctx)
	stop := context.AfterFunc(l.ctx, l.closeConns)
	defer stop()
	limit := time.AfterFunc(setupTimeouts*b.options.Timeout, func() { l.fail(errSetup) })
	defer limit.Stop()
	err := l.setup()
	if err == nil && limit.Stop() {
		return l, nil
	}
	if err == nil {
		err = errSetup
	}
	l.fail(err)
	l.close()
	return nil, l.failure()
}

// setupTimeouts: Sentinel asks one sentinel after another, and each that is gone
// costs a timeout.
const setupTimeouts = 5

func (l *link) setup() error {
	b := l.bus
	o, err := l.clientOption()
	if err != nil {
		return err
	}
	if l.client, err = rueidis.NewClient(o); err != nil {
		return err
	}
	l.mode = l.client.Mode()
	l.in, _ = l.client.Dedicate() // they are closed, not given back
	l.out, _ = l.client.Dedicate()
	l.inDone = l.in.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { l.receive(m.Channel, m.Message) }})
	if b.options.Sharded && l.mode == rueidis.ClientModeCluster {
		l.shards = newShards(l)
	}
	if err := l.subscribeAll(); err != nil {
		return fmt.Errorf("subscribing: %w", err)
	}
	if err := l.claimNode(); err != nil {
		return fmt.Errorf("claiming the node's key: %w", err)
	}
	return l.hearMyself()
}

// hearMyself publishes a probe, which proves the whole way, and waits for it.
func (l *link) hearMyself() error {
	b := l.bus
	p := &packet{to: &b.self, buf: make([]byte, headerSize, headerSize+recordHeader)}
	p.buf = endRecord(beginRecord(p.buf, recordProbe), len(p.buf))
	if err := l.send([]*packet{p}); err != nil {
		return fmt.Errorf("publishing: %w", err)
	}
	select {
	case <-l.echo:
		return nil
	case <-l.ctx.Done():
		return l.failure()
	}
}

// clientOption keeps the client small and from being clever: nothing is cached,
// nothing tried again, and what it connects to is known to the link, so that
// closing it is a matter of a moment whatever the client waits for.
func (l *link) clientOption() (rueidis.ClientOption, error) {
	b := l.bus
	a := b.address
	o := rueidis.ClientOption{
		InitAddress: a.addrs, Username: a.user, Password: a.password, TLSConfig: a.tls,
		ClientName:   clientName(b.options.Name),
		DialCtxFn:    l.dial,
		DisableCache: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
		PipelineMultiplex: -1, RingScaleEachConn: 6, BlockingPoolSize: 4,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
		// The link watches itself; this is for what may be left behind.
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

// clientName is what CLIENT LIST shows; Redis allows no spaces in it.
func clientName(node string) string { return "labgate-" + node }

// dial makes a connection for the client, unless the link has ended.
func (l *link) dial(ctx context.Context, addr string, dialer *net.Dialer, config *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	conn, err := dialer.DialContext(ctx, l.bus.address.network, addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	if l.err == nil {
		l.conns[conn] = struct{}{}
	}
	err = l.err
	l.mu.Unlock()
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

// fail ends the link. From then on nothing is accepted, and what waited is
// dropped. It may be called from anywhere, more than once; the first reason
// counts.
func (l *link) fail(err error) {
	l.mu.Lock()
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	l.cancel()
	b := l.bus
	b.mu.Lock()
	if b.link == l {
		b.up = false
	}
	b.mu.Unlock()
}

func (l *link) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && l.ctx.Err() != nil {
		return errLeft
	}
	return l.err
}

// closeConns closes the connections without sending what the kernel has not sent
// yet: it would be delivered late.
func (l *link) closeConns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = errLeft
	}
	for c := range l.conns {
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(l.conns)
}

// close waits until nothing of the link is left. It has failed.
func (l *link) close() {
	l.closeConns()
	l.done.Wait()
	if l.client == nil {
		return
	}
	l.in.Close()
	l.out.Close()
	l.client.Close()
	for range l.inDone { // only its end is of interest
	}
}

// farewell tells the others that this node goes, after all that it had to say,
// and releases its keys. It takes the timeout at most.
func (l *link) farewell() {
	b := l.bus
	limit := time.AfterFunc(b.options.Timeout, func() { l.fail(errLeft) })
	defer limit.Stop()
	sent := make(chan struct{})
	b.mu.Lock()
	b.enqueue(&b.all, 0, func(buf []byte) []byte { return endRecord(beginRecord(buf, recordBye), len(buf)) }).sent = sent
	b.mu.Unlock()
	select {
	case <-sent:
	case <-l.ctx.Done():
		return
	}
	if err := l.releaseKeys(); err != nil && l.ctx.Err() == nil {
		b.log.Warn().Err(err).Msg("releasing keys: they will expire")
	}
}
