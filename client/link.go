package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/protocol"
)

// closePatience limits each of the two waits of Close: for queued messages, and
// for the gateway's answer to the close frame.
const closePatience = time.Second

// peer is the part of a link that differs between devices and front ends. Its
// methods are called from the link's run goroutine, one after another.
type peer interface {
	welcomed(protocol.Welcome)  // notes a new connection; the first one on the goroutine of Dial, before run
	connected(protocol.Welcome) // before the first message of a connection
	text(*protocol.Envelope)    // the envelope is valid during the call
	binary(frame []byte)        // valid during the call
	disconnected(err error)     // after the last message of a connection
	ended()                     // last of all; the link's context is done
}

// link keeps one peer connected. The run goroutine reads a connection until the
// connection ends, then waits and reconnects. It owns two or three more
// goroutines that end with each connection: send, watch and, with a
// TokenSource, renew.
type link struct {
	// Static after start.
	cfg   Config
	url   string
	peer  peer
	log   zerolog.Logger
	queue *queue
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	done  chan struct{} // closed when run has returned

	// Owned by the run goroutine.
	askedPause time.Duration // from gateway.closing on the present connection

	closing  sync.Once
	stopping atomic.Bool

	mu   sync.Mutex
	conn *conn // present connection, nil while there is none
	err  error // why run returned

	connects    atomic.Uint64
	panics      atomic.Uint64
	badMessages atomic.Uint64
}

// newLink prepares a link; start connects it.
func newLink(cfg Config, url, name string) *link {
	cfg = cfg.withDefaults()
	l := &link{
		cfg:   cfg,
		url:   url,
		log:   cfg.Logger.With().Str("peer", name).Logger(),
		queue: newQueue(cfg.SendBuffer),
		done:  make(chan struct{}),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// start makes the first connection, within ctx, and starts the run goroutine.
// After an error no goroutine is left running.
func (l *link) start(ctx context.Context, p peer) error {
	l.peer = p
	c, err := dial(ctx, &l.cfg, l.url)
	if err != nil {
		l.stop()
		return err
	}
	l.begin(c) // here, so that the caller can send as soon as Dial returns
	go l.run(c)
	return nil
}

// run serves one connection after another, until Close or until a reconnect is
// forbidden.
func (l *link) run(c *conn) {
	defer close(l.done)
	failures := 0
	for {
		began := time.Now()
		err := l.serve(c)
		l.disconnected(err)
		if l.ctx.Err() != nil || !l.worthRetrying(err) {
			l.finish(err)
			return
		}
		if time.Since(began) >= l.cfg.Backoff.Max {
			failures = 0
		}
		if c, err = l.reconnect(err, &failures); err != nil {
			l.finish(err)
			return
		}
		l.begin(c)
	}
}

// begin makes c the present connection.
func (l *link) begin(c *conn) {
	l.connects.Add(1)
	l.queue.connect(c.welcome.MaxMessage)
	l.peer.welcomed(c.welcome)
	l.mu.Lock()
	l.conn = c
	l.mu.Unlock()
	if l.ctx.Err() != nil { // Close was called before c was set
		c.net.Close()
	}
	l.log.Info().Str("session", c.welcome.Session).Str("node", c.welcome.Node).Msg("connected")
}

// reconnect waits and tries until there is a connection again, or an error that
// forbids further attempts.
func (l *link) reconnect(cause error, failures *int) (*conn, error) {
	asked := l.askedPause
	for {
		pause := asked + l.cfg.Backoff.pause(*failures, l.cfg.random())
		*failures++
		l.log.Warn().Err(cause).Dur("pause", pause).Int("attempt", *failures).Msg("not connected; will try again")
		select {
		case <-l.ctx.Done():
			return nil, ErrClosed
		case <-time.After(pause):
		}
		c, err := dial(l.ctx, &l.cfg, l.url)
		if err == nil {
			return c, nil
		}
		if l.ctx.Err() != nil {
			return nil, ErrClosed
		}
		if !l.worthRetrying(err) {
			return nil, err
		}
		cause, asked = err, 0
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			asked = refused.RetryAfter
		}
	}
}

// serve runs one connection to its end and says why it ended.
func (l *link) serve(c *conn) error {
	l.askedPause = 0
	over := make(chan struct{})
	var helpers sync.WaitGroup
	helpers.Go(func() { l.send(c, over) })
	helpers.Go(func() { l.watch(c, over) })
	lasting, end := context.WithCancel(l.ctx)
	defer end()
	expiring := make(chan time.Duration, 1)
	if l.cfg.TokenSource != nil {
		helpers.Go(func() { l.renew(lasting, expiring) })
	}

	l.peer.connected(c.welcome)
	err := l.read(c, expiring)
	close(over)
	end()
	l.mu.Lock()
	l.conn = nil
	l.mu.Unlock()
	l.queue.disconnect()
	c.ws.CloseNow()
	helpers.Wait()

	err = closeError(err)
	_, told := errors.AsType[*DisconnectError](err)
	switch cause := c.cause.Load(); {
	case l.stopping.Load():
		return ErrClosed
	case told: // the given cause explains more than this error
		return err
	case cause != nil:
		return *cause
	}
	return fmt.Errorf("client: reading: %w", err)
}

// disconnected tells the peer and the program that a connection has ended.
func (l *link) disconnected(err error) {
	l.peer.disconnected(err)
	if l.cfg.OnDisconnect != nil {
		defer l.caught("OnDisconnect")
		l.cfg.OnDisconnect(err)
	}
}

// finish stores the error that ended the link for good.
func (l *link) finish(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	l.queue.finish(err)
	l.stop()
	l.peer.ended()
	if !errors.Is(err, ErrClosed) {
		l.log.Warn().Err(err).Msg("disconnected for good")
	}
}

// close ends the link in order: queued messages are sent, close frames are
// exchanged, all goroutines end. Each step has a time limit.
func (l *link) close() {
	l.closing.Do(func() {
		ctx, cancel := context.WithTimeout(l.ctx, closePatience)
		defer cancel()
		_ = l.flush(ctx) // best effort: a blocked network does not block Close
		l.stopping.Store(true)
		l.stop()
		l.mu.Lock()
		c := l.conn
		l.mu.Unlock()
		if c == nil {
			return
		}
		// The library would wait ten seconds for a peer that does not answer.
		impatience := time.AfterFunc(closePatience, func() { c.net.Close() })
		defer impatience.Stop()
		_ = c.ws.Close(1000, protocol.CloseNormal.Name())
	})
	<-l.done
}

// flush waits until everything queued is on the network.
func (l *link) flush(ctx context.Context) error {
	idle, epoch, err := l.queue.whenIdle()
	if err != nil {
		return err
	}
	select {
	case <-idle:
		return l.queue.still(epoch)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sendMessage encodes and queues a message on the present connection.
func (l *link) sendMessage(m protocol.Message) error {
	epoch, err := l.queue.present()
	if err != nil {
		return err
	}
	return l.sendIn(epoch, m)
}

// sendIn encodes a message with the present time and queues the message, unless
// the connection of that epoch has ended.
func (l *link) sendIn(epoch uint64, m protocol.Message) error {
	if m.TS == 0 {
		m.TS = time.Now().UnixMicro()
	}
	b, err := m.Append(nil)
	if err != nil {
		return err
	}
	return l.queue.putText(epoch, b, m.Urgent)
}

// noteClosing stores the pause that gateway.closing requests.
func (l *link) noteClosing(payload []byte) {
	var c protocol.Closing
	if json.Unmarshal(payload, &c) == nil && c.RetryAfterMS > 0 {
		l.askedPause = min(time.Duration(min(c.RetryAfterMS, maxAsked.Milliseconds()))*time.Millisecond, maxAsked)
	}
}

// caught is deferred around every callback: it logs and counts a panic, so that
// the panic does not end the program.
func (l *link) caught(callback string) {
	if v := recover(); v != nil {
		l.notePanic(callback, v)
	}
}

func (l *link) notePanic(callback string, v any) {
	l.panics.Add(1)
	l.log.Error().Str("callback", callback).Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("callback panicked")
}

// ended returns why the link has ended for good, nil before the end.
func (l *link) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
