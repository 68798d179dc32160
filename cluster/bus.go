// Package cluster joins several gateways through Redis: it is the router's Bus
// over publish/subscribe.
//
// Every node tells the others what it holds, over a channel of all nodes, and
// each keeps a copy of what each other said. Messages go over a channel that
// only their receiver listens to. A key per device, with a time to live and an
// epoch that only grows, decides who holds a device when two say so.
//
// docs/architecture.md says how it is built; docs/decisions/0006 why.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"github.com/labgate/labgate/router/federation"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Bus is a federation.Bus over Redis. Make one with New.
//
// Its goroutines: run, which connects and, while connected, owns those of the
// link; and keep, which finds out who is gone. Leave ends them.
//
// Its locks, in the order in which they may be nested: calls; the router's, which
// may be taken inside; mu. Neither is held while Redis is waited for.
type Bus struct {
	options Options
	log     zerolog.Logger
	address *address
	names   names
	id      federation.NodeID
	token   string // names this run of the node in its key
	now     func() int64

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	// failures is run's alone.
	failures failures

	// calls is held while the Member is called, and guards what is known of the
	// other nodes.
	calls    sync.Mutex
	member   federation.Member
	peers    map[federation.NodeID]*peer
	departed map[federation.NodeID]int64 // those that said bye, and until when to ignore them
	received inbox

	// mu guards what follows. It is a leaf.
	mu      sync.Mutex
	joined  bool
	leaving bool
	up      bool
	link    *link // nil when there is none
	own     own
	queue   queue
	all     destination
	self    destination
	nodes   map[federation.NodeID]*destination // the nodes that are there
	wanted  map[string]int                     // how many nodes want a device's telemetry
	stats   federation.Stats
	outage  int64 // when the bus went down; 0 when it is not, or never was, up
	refused map[string]uint64

	// Signals to the goroutines of the link; see notify.
	wakePublish   chan struct{}
	wakeTelemetry chan struct{}
	wakeClaims    chan struct{}
	wakeChannels  chan struct{}
}

var _ federation.Bus = (*Bus)(nil)

// New makes a bus. It does not connect; Join does. It fails when an option is
// wrong, and says which.
func New(o Options) (*Bus, error) {
	o, a, err := o.prepared()
	if err != nil {
		return nil, err
	}
	b := &Bus{
		options: o, log: o.Logger.With().Str("component", "cluster").Logger(), address: a, names: newNames(o.Prefix),
		now: now, token: rand.Text(),
		peers: map[federation.NodeID]*peer{}, departed: map[federation.NodeID]int64{},
		own: newOwn(), queue: newQueue(), nodes: map[federation.NodeID]*destination{}, wanted: map[string]int{},
		refused:     map[string]uint64{},
		wakePublish: make(chan struct{}, 1), wakeTelemetry: make(chan struct{}, 1),
		wakeClaims: make(chan struct{}, 1), wakeChannels: make(chan struct{}, 1),
	}
	for b.id == 0 {
		var r [4]byte
		_, _ = rand.Read(r[:]) // crypto/rand never fails
		b.id = federation.NodeID(binary.BigEndian.Uint32(r[:]))
	}
	b.all = destination{channel: b.names.all}
	b.self = destination{node: b.id, channel: b.names.ofNode(b.id)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// Join starts the bus. It does not wait for Redis: m.BusChanged says when the
// other nodes can be reached.
func (b *Bus) Join(m federation.Member) error {
	b.mu.Lock()
	if b.joined || b.leaving {
		b.mu.Unlock()
		return errors.New("cluster: a bus is joined once")
	}
	b.joined = true
	b.mu.Unlock()
	b.calls.Lock()
	b.member = m
	b.calls.Unlock()
	b.done.Go(b.run)
	b.done.Go(b.keep)
	return nil
}

// Self returns this node's id.
func (b *Bus) Self() federation.NodeID { return b.id }

// Up reports whether the other nodes can be reached: whether this node heard
// itself, through Redis, within the timeout.
func (b *Bus) Up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up
}

// Hold says that this node holds a device from now on.
func (b *Bus) Hold(h federation.Holding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own.hold(h, b.up)
	b.change(func(buf []byte, seq uint64) []byte { return appendHold(buf, seq, &h) })
	notify(b.wakeClaims)
}

// Release says that this node does not hold the device any longer. Telemetry of
// the device that waits leaves before that.
func (b *Bus) Release(r federation.Release) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.own.release(r, b.now(), b.up) {
		return
	}
	b.queue.flush(r.Device)
	b.change(func(buf []byte, seq uint64) []byte { return appendRelease(buf, seq, &r) })
	notify(b.wakeClaims)
}

// User says that this node has sessions of the user, or has not any longer.
func (b *Bus) User(user string, here bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.own.user(user, here) {
		return
	}
	b.change(func(buf []byte, seq uint64) []byte { return appendUser(buf, seq, user, here) })
}

// Want says whether this node wants the telemetry of a device. The others are
// told when the channel is subscribed to, so that what they send from then on
// arrives.
func (b *Bus) Want(device string, wanted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.own.want(device, wanted) {
		b.change(func(buf []byte, seq uint64) []byte { return appendWant(buf, seq, device, 0) })
	}
	notify(b.wakeChannels)
}

// change gives a change of this node's state its number and tells the others.
// mu is held. What cannot be told now is not kept: the others notice that a
// number is missing, and ask.
func (b *Bus) change(appendRecord func(buf []byte, seq uint64) []byte) {
	b.own.seq++
	if !b.up || b.all.waiting > maxControl {
		return
	}
	b.enqueue(&b.all, 0, func(buf []byte) []byte { return appendRecord(buf, b.own.seq) })
}

// enqueue adds a record to what waits for a destination. mu is held.
func (b *Bus) enqueue(to *destination, size int, appendRecord func([]byte) []byte) *packet {
	p := b.queue.room(to, size)
	before := len(p.buf)
	p.buf = appendRecord(p.buf)
	p.grown(before)
	notify(b.wakePublish)
	return p
}

// Leave releases what this node holds, tells the others that it goes, and ends
// the bus. It takes as long as the timeout at most, and not more when Redis
// cannot be reached. The caller must not hold a lock that a method of the Member
// takes.
func (b *Bus) Leave() {
	b.mu.Lock()
	l := b.link
	first := !b.leaving
	b.leaving = true
	if !b.up {
		l = nil
	}
	b.mu.Unlock()
	if l != nil && first {
		l.farewell()
	}
	b.mu.Lock()
	b.up = false
	b.queue.drop()
	b.mu.Unlock()
	b.cancel()
	b.done.Wait()
	b.calls.Lock()
	b.member = nil
	b.calls.Unlock()
}

// call runs f while the Member is not called by anybody else, unless the bus has
// been left.
func (b *Bus) call(f func(m federation.Member)) {
	b.calls.Lock()
	defer b.calls.Unlock()
	if b.member != nil && b.ctx.Err() == nil {
		f(b.member)
	}
}

// notify wakes whoever waits for the channel, or will.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// cloned returns a holding that shares no memory with the packet it came in.
func cloned(h federation.Holding) federation.Holding {
	h.Device, h.Type, h.Customer = strings.Clone(h.Device), strings.Clone(h.Type), strings.Clone(h.Customer)
	if h.Meta != nil {
		meta := make(map[string]string, len(h.Meta))
		for name, value := range h.Meta {
			meta[strings.Clone(name)] = strings.Clone(value)
		}
		h.Meta = meta
	}
	return h
}

// part returns a duration divided by n, in microseconds.
func part(d time.Duration, n int64) int64 { return d.Microseconds() / n }
