//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/labgate/labgate/bench/internal/stats"
	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/bench/peers/wire"
)

const (
	readBuffer = 256 << 10 // shared: one read takes what has arrived
	pollEvents = 512       // sockets served in one round
	maxSleep   = 50 * time.Millisecond
	never      = 1<<63 - 1
)

// Options describe a population.
type Options struct {
	Addr      netip.AddrPort // of the server; loopback
	Protocol  wire.Protocol
	Shape     wire.Shape
	Text      bool // JSON payloads instead of binary ones
	Receivers int
	// Concurrency bounds the connections under way at once; 0: 64.
	Concurrency int
}

// Population is a set of open connections. All methods belong to the goroutine
// that opened it, which is tied to its thread until Close.
type Population struct {
	o       Options
	poll    *wsconn.Poller
	unpin   func() // undoes wsconn.PreciseTimers
	clock   clock
	buf     wsconn.Buffer
	scratch []byte // one write of a sender
	payload payload

	conns     []*conn // by descriptor
	waiting   []wire.Spec
	active    int // connections being made
	receivers int // open ones
	gen       generator
	ticking   bool // gen has a schedule
	nextTick  int64
	tick      int64 // least time between two turns, in ns
	now       int64 // clock of the read under way

	measureFrom int64 // latency counts for messages due from here on
	latency     stats.Histogram
	tally       tally
	notes       notes
	openErr     error
}

// clock gives nanoseconds since 1970 that never step.
type clock struct {
	base time.Time
	wall int64
}

func newClock() clock {
	t := time.Now()
	return clock{base: t, wall: t.UnixNano()}
}

func (c *clock) now() int64 { return c.wall + int64(time.Since(c.base)) }

// Open makes all connections, receivers first, and waits until each is ready.
func Open(ctx context.Context, o Options) (*Population, error) {
	if !o.Addr.Addr().Is4() || !o.Addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("load: %s is not an IPv4 loopback address", o.Addr)
	}
	if o.Concurrency == 0 {
		o.Concurrency = 64
	}
	poll, err := wsconn.NewPoller(pollEvents)
	if err != nil {
		return nil, err
	}
	p := &Population{
		o: o, poll: poll, unpin: wsconn.PreciseTimers(), clock: newClock(), nextTick: never,
		buf: wsconn.NewBuffer(readBuffer, readBuffer), scratch: make([]byte, 0, maxBatch+4<<10),
	}
	if p.payload = payload(newBinaryPayload()); o.Text {
		p.payload = newTextPayload()
	}
	if err := p.open(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Close ends every connection at once.
func (p *Population) Close() {
	for _, c := range p.conns {
		if c != nil {
			c.shut()
		}
	}
	p.poll.Close()
	p.unpin()
}

// open connects the receivers, then the senders.
func (p *Population) open(ctx context.Context) error {
	spec := wire.Spec{Shape: p.o.Shape, Text: p.o.Text}
	for i := range p.o.Receivers {
		spec.Index = i
		p.waiting = append(p.waiting, spec)
	}
	if err := p.connect(ctx); err != nil {
		return err
	}
	spec.Sender, spec.Index = true, 0
	switch p.o.Shape {
	case wire.Idle:
		return nil
	case wire.FanOut:
		p.waiting = append(p.waiting, spec)
	case wire.Unicast:
		for i := range p.o.Receivers {
			spec.Index = i
			p.waiting = append(p.waiting, spec)
		}
	}
	return p.connect(ctx)
}

// connect makes the connections that wait.
func (p *Population) connect(ctx context.Context) error {
	err := p.run(ctx, never, func() bool {
		for p.active < p.o.Concurrency && len(p.waiting) > 0 && p.openErr == nil {
			spec := p.waiting[0]
			p.waiting = p.waiting[1:]
			p.openErr = p.dial(spec)
		}
		return p.openErr != nil || p.active == 0 && len(p.waiting) == 0
	})
	if err != nil && p.openErr == nil {
		err = fmt.Errorf("%d connections open, %d not yet: %w", p.receivers+len(p.gen.senders), p.active+len(p.waiting), err)
	}
	return errors.Join(p.openErr, err)
}

func (p *Population) dial(spec wire.Spec) error {
	r := p.o.Protocol.Request(spec)
	c := &conn{
		p: p, spec: spec, client: p.o.Protocol.Client(spec),
		handshake: wsconn.Handshake{Host: p.o.Addr.String(), Path: r.Path, Subprotocol: r.Subprotocol},
	}
	if err := c.open(p.o.Addr); err != nil {
		return err
	}
	p.active++
	return nil
}

// opened counts a connection whose handshakes are complete.
func (p *Population) opened(c *conn) {
	p.active--
	if !c.spec.Sender {
		p.receivers++
		return
	}
	s := &sender{gen: &p.gen, c: c, index: uint64(len(p.gen.senders))}
	s.frame, s.at = c.client.Frame(p.payload.template())
	c.sender = s
	p.gen.senders = append(p.gen.senders, s)
}

// down counts a connection that the server has ended.
func (p *Population) down(c *conn, opening bool, err error) {
	if opening {
		p.active--
		if p.openErr == nil {
			p.openErr = fmt.Errorf("%s: %w", c, err)
		}
		return
	}
	p.tally.closed++
	p.notes.add("%s: %v", c, err)
}

// run drives sockets and schedule until a time, or until done says so; done may
// be nil.
func (p *Population) run(ctx context.Context, until int64, done func() bool) error {
	for {
		now := p.clock.now()
		if now >= p.nextTick {
			p.runSchedule(now)
		}
		if done != nil && done() || now >= until {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := p.poll.Wait(min(p.nextTick, until, now+int64(maxSleep)) - now)
		if err != nil {
			return err
		}
		for i := range n {
			p.serve(p.poll.Ready(i))
			if p.now >= p.nextTick {
				p.runSchedule(p.now) // serving hundreds of sockets takes long
			}
		}
	}
}

func (p *Population) serve(fd int, readable, writable bool) {
	c := p.conns[fd]
	if c == nil {
		return // closed earlier in this round
	}
	if writable && (c.state == stateDialing || c.sock.Full()) {
		c.onWritable()
		p.now = p.clock.now()
	}
	if readable && c.state != stateClosed && c.state != stateDialing {
		c.onReadable()
	}
}

// runSchedule lets the generator write the messages that are due.
func (p *Population) runSchedule(now int64) {
	if !p.ticking {
		p.nextTick = never
		return
	}
	if next := p.gen.tick(now); next == never {
		p.ticking, p.nextTick = false, never
	} else {
		p.nextTick = max(next, now+p.tick)
	}
}
