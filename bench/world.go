package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/labgate/labgate/bench/internal/wsconn"
)

const (
	// readBuffer is shared by all connections: one read takes all that has arrived.
	readBuffer = 256 << 10
	// maxSleep limits the delay until a cancelled context is noticed.
	maxSleep = 50 * time.Millisecond
	// Sockets served in one round: all measured ones, but few of the crowd.
	pollEvents  = 512
	crowdEvents = 16
)

// ticker has a schedule: a ramp of connections, or a generator.
type ticker interface {
	tick(now int64)
	// nextDue is when tick has work again; never when it waits for events.
	nextDue() int64
}

// world is one population of connections with its traffic. It belongs to one
// goroutine, which also runs the event loop.
type world struct {
	// Set at creation.
	o              *Options
	prefix         string // of names
	target         target
	frontendTarget target
	clock          clock
	poll           *wsconn.Poller
	crowd          *wsconn.Poller // of roleExtra; nested in poll

	// Event loop.
	conns    []*conn // by descriptor
	buf      wsconn.Buffer
	scratch  []byte // one write of a sender
	now      int64  // clock of the read under way
	tickers  []ticker
	nextTick int64
	bytesIn  int64
	progress *progress

	// Population, by index; nil: never opened.
	devices   []*conn
	frontends []*conn
	extras    []*conn
	tables    map[string]*streamTable // by node
	sourced   int                     // next local address

	connectLat recorder

	// Traffic; nil: none of that kind.
	telemetry *telemetryFlow
	unicast   *unicastFlow
	commands  *commandFlow

	problems problems
	down     int // open connections that the gateway ended
}

func newWorld(ctx context.Context, o *Options, prefix string) (*world, error) {
	w := &world{
		o: o, prefix: prefix, clock: newClock(),
		buf: wsconn.NewBuffer(readBuffer, maxIncoming+readBuffer), scratch: make([]byte, 0, maxBatch+maxFrame),
		tables: map[string]*streamTable{},
	}
	var err error
	if w.target, err = parseTarget(ctx, "target", o.Target, o.AllowRemote); err != nil {
		return nil, err
	}
	w.frontendTarget = w.target
	if o.FrontendTarget != "" {
		if w.frontendTarget, err = parseTarget(ctx, "frontend-target", o.FrontendTarget, o.AllowRemote); err != nil {
			return nil, err
		}
	}
	if w.poll, err = wsconn.NewPoller(pollEvents); err != nil {
		return nil, err
	}
	if w.crowd, err = wsconn.NewPoller(crowdEvents); err != nil {
		w.poll.Close()
		return nil, err
	}
	if err = w.poll.Nest(w.crowd); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// close resets all open connections.
func (w *world) close() {
	for _, c := range w.conns {
		if c != nil {
			c.shut(true)
		}
	}
	w.crowd.Close()
	w.poll.Close()
}

// run drives sockets and schedules until a time, or until done says so; done
// may be nil.
func (w *world) run(ctx context.Context, until int64, done func() bool) error {
	for {
		now := w.clock.now()
		if now >= w.nextTick {
			w.tick(now)
		}
		if done != nil && done() {
			return nil
		}
		if now >= until {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		w.progress.show(now)
		if err := w.dispatch(min(w.nextTick, until, now+int64(maxSleep)) - now); err != nil {
			return err
		}
	}
}

// tick runs all tickers.
func (w *world) tick(now int64) {
	next := int64(never)
	for _, t := range w.tickers {
		t.tick(now)
		next = min(next, t.nextDue())
	}
	// Waking the senders for every message would leave no time for the
	// receivers, so due messages are collected for at least a tick.
	w.nextTick = max(next, now+int64(w.o.Tick))
}

// dispatch waits for sockets, at most timeout ns, and serves them. A few of
// the crowd are served last, so that thousands that connect at once do not
// delay the measured connections.
func (w *world) dispatch(timeout int64) error {
	n, err := w.poll.Wait(timeout)
	if err != nil {
		return err
	}
	crowd := false
	for i := range n {
		fd, readable, writable := w.poll.Ready(i)
		if fd == w.crowd.FD() {
			crowd = true
			continue
		}
		w.serve(fd, readable, writable)
	}
	if !crowd {
		return nil
	}
	if n, err = w.crowd.Wait(0); err != nil {
		return err
	}
	for i := range n {
		w.serve(w.crowd.Ready(i))
	}
	return nil
}

// serve handles one ready socket. Tickers run between sockets:
// serving hundreds of sockets takes long.
func (w *world) serve(fd int, readable, writable bool) {
	c := w.conns[fd]
	if c == nil {
		return // closed earlier in this round
	}
	if writable {
		c.onWritable(w.clock.now())
		w.now = w.clock.now()
	}
	if readable && c.state != stateClosed && c.state != stateDialing {
		c.onReadable()
	}
	if w.now >= w.nextTick {
		w.tick(w.now)
	}
}

// register stores a connection by its descriptor.
func (w *world) register(c *conn) {
	fd := c.sock.FD()
	for len(w.conns) <= fd {
		w.conns = append(w.conns, nil)
	}
	w.conns[fd] = c
}

// onDown handles the end of a connection that the run did not close.
func (w *world) onDown(c *conn, was connState, err error) {
	switch {
	case c.hs != nil:
		c.hs.ramp.failed(c, err)
	case was == stateClosing:
	default:
		w.down++
		w.problems.add(problemClosed, "%s: %v", c, err)
	}
}

// String names the connection in problems.
func (c *conn) String() string {
	return fmt.Sprintf("%s %d", [...]string{"device", "front end", "extra connection"}[c.role], c.index)
}

// goodbye closes all connections by close frames and waits for the gateway to
// end them, so that the sessions are gone before the next population opens.
func (w *world) goodbye(ctx context.Context) {
	open := 0
	for _, c := range w.conns {
		if c != nil {
			c.sendClose()
		}
	}
	done := func() bool {
		open = 0
		for _, c := range w.conns {
			if c != nil {
				open++
			}
		}
		return open == 0
	}
	w.tickers, w.nextTick = nil, never
	_ = w.run(ctx, w.clock.now()+int64(2*time.Second), done)
}

// drop ends connections at once, as a crash would. Senders and receivers are
// served in between, because closing thousands of sockets takes long.
func (w *world) drop(conns []*conn, reset bool) error {
	for i, c := range conns {
		if c != nil {
			c.shut(reset)
		}
		if i%perTick != 0 {
			continue
		}
		if now := w.clock.now(); now >= w.nextTick {
			w.tick(now)
		}
		if err := w.dispatch(0); err != nil {
			return err
		}
	}
	return nil
}

func countOpen(conns []*conn) (n int) {
	for _, c := range conns {
		if c != nil && c.state == stateOpen {
			n++
		}
	}
	return n
}
