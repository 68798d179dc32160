// Package cluster joins several gateways through Redis: it implements
// federation.Bus over publish/subscribe.
//
// Every node publishes its state (the devices that it holds, its users, its
// interest in telemetry) on a channel of all nodes, and keeps a copy of the state
// of each other node. Messages go over a channel to which only their receiver
// subscribes. When two nodes claim one device, a key in Redis decides: it has a
// time to live, and an epoch that only grows.
//
// docs/architecture.md describes the design; docs/decisions/0006 gives the
// reasons.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/router/federation"
)

// Bus is a federation.Bus over Redis. Make one with New.
//
// Its goroutines: run connects to Redis and owns the goroutines of each
// connection; monitorPeers finds out which nodes are gone. Leave ends both.
//
// Its locks, in the order in which they may be nested: calls; the locks of the
// Member, which its methods take; mu. None of them is held while the bus waits
// for Redis.
type Bus struct {
	options Options
	log     zerolog.Logger
	address *redisAddress
	names   keyNames
	id      federation.NodeID
	token   string // identifies this run of the node in the node's key
	now     func() int64

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	// failures belongs to the goroutine run.
	failures failures

	// calls is held while the Member is called. It guards what is known of the
	// other nodes.
	calls    sync.Mutex
	member   federation.Member
	peers    map[federation.NodeID]*peer
	departed map[federation.NodeID]int64 // nodes that announced to leave, and until when to ignore them; µs
	received receiveBuffers

	// mu guards what follows. It is a leaf.
	mu       sync.Mutex
	joined   bool
	leaving  bool
	up       bool
	conn     *redisConn // nil while there is no connection
	local    localState
	queue    sendQueue
	all      destination
	self     destination
	nodes    map[federation.NodeID]*destination // the peers that have joined
	interest map[string]int                     // how many peers are interested in a device's telemetry
	stats    federation.Stats
	outage   int64             // when the bus went down; 0 while it is up, or was never up
	refused  map[string]uint64 // messages of other programs, by reason

	// Signals to the goroutines of the connection; see notify.
	wakePublish       chan struct{}
	wakeTelemetry     chan struct{}
	wakeKeys          chan struct{}
	wakeSubscriptions chan struct{}
}

var _ federation.Bus = (*Bus)(nil)

// New makes a bus, which Join connects. The error names the option that is wrong.
func New(o Options) (*Bus, error) {
	o, a, err := o.prepared()
	if err != nil {
		return nil, err
	}
	b := &Bus{
		options: o, log: o.Logger.With().Str("component", "cluster").Logger(), address: a, names: newKeyNames(o.Prefix),
		now: now, token: rand.Text(),
		peers: map[federation.NodeID]*peer{}, departed: map[federation.NodeID]int64{},
		local: newLocalState(), queue: newSendQueue(), nodes: map[federation.NodeID]*destination{}, interest: map[string]int{},
		refused:     map[string]uint64{},
		wakePublish: make(chan struct{}, 1), wakeTelemetry: make(chan struct{}, 1),
		wakeKeys: make(chan struct{}, 1), wakeSubscriptions: make(chan struct{}, 1),
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

// Join starts the bus and returns at once: m.BusChanged says when the other nodes
// can be reached. A bus can be joined once.
func (b *Bus) Join(m federation.Member) error {
	b.mu.Lock()
	if b.joined || b.leaving {
		b.mu.Unlock()
		return errors.New("cluster: the bus has been joined or left already")
	}
	b.joined = true
	b.mu.Unlock()
	b.calls.Lock()
	b.member = m
	b.calls.Unlock()
	b.done.Go(b.run)
	b.done.Go(b.monitorPeers)
	return nil
}

// Self returns this node's id.
func (b *Bus) Self() federation.NodeID { return b.id }

// Up reports whether the other nodes can be reached: whether the probes that this
// node publishes come back within the timeout.
func (b *Bus) Up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.up
}

// Hold says that this node holds a device from now on.
func (b *Bus) Hold(h federation.Holding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.local.hold(h, b.up)
	b.publishChange(func(buf []byte, seq uint64) []byte { return appendHold(buf, seq, &h) })
	notify(b.wakeKeys)
}

// Release says that this node does not hold the device any longer. Telemetry of
// the device that is queued is published first.
func (b *Bus) Release(r federation.Release) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.local.release(r, b.now(), b.up) {
		return
	}
	b.queue.flush(r.Device)
	b.publishChange(func(buf []byte, seq uint64) []byte { return appendRelease(buf, seq, &r) })
	notify(b.wakeKeys)
}

// User says whether this node has sessions of the user.
func (b *Bus) User(user string, here bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.local.setUser(user, here) {
		return
	}
	b.publishChange(func(buf []byte, seq uint64) []byte { return appendUser(buf, seq, user, here) })
}

// UpdateInterest says whether this node is interested in the telemetry of a device. The
// others are told as soon as the subscription stands, so that what they publish
// from then on arrives.
func (b *Bus) UpdateInterest(device string, wanted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.local.setInterest(device, wanted) {
		b.publishChange(func(buf []byte, seq uint64) []byte { return appendInterest(buf, seq, device, 0) })
	}
	notify(b.wakeSubscriptions)
}

// publishChange numbers a change of this node's state and publishes it. mu is
// held. A change that cannot be published now is not kept: the others notice that
// a number is missing, and request the state.
func (b *Bus) publishChange(appendRecord func(buf []byte, seq uint64) []byte) {
	b.local.seq++
	if !b.up || b.all.waiting > maxControl {
		return
	}
	b.enqueueRecord(&b.all, 0, func(buf []byte) []byte { return appendRecord(buf, b.local.seq) })
}

// enqueueRecord adds a record to the packet that waits for a destination. mu is
// held.
func (b *Bus) enqueueRecord(to *destination, size int, appendRecord func([]byte) []byte) *packet {
	p := b.queue.room(to, size)
	before := len(p.buf)
	p.buf = appendRecord(p.buf)
	p.grown(before)
	notify(b.wakePublish)
	return p
}

// Leave releases all devices of this node, announces to the others that it
// leaves, and ends the bus. It takes at most the timeout. The caller must not hold
// a lock that a method of the Member takes.
func (b *Bus) Leave() {
	b.mu.Lock()
	rc := b.conn
	first := !b.leaving
	b.leaving = true
	if !b.up {
		rc = nil
	}
	b.mu.Unlock()
	if rc != nil && first {
		rc.announceLeave()
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

// callMember runs f while nobody else calls the Member, unless the bus has been
// left.
func (b *Bus) callMember(f func(m federation.Member)) {
	b.calls.Lock()
	defer b.calls.Unlock()
	if b.member != nil && b.ctx.Err() == nil {
		f(b.member)
	}
}

// notify wakes the goroutine that waits for the channel, or the next that does.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// cloned returns a copy of a holding that shares no memory with its packet.
func cloned(h federation.Holding) federation.Holding {
	h.Device, h.Type, h.Customer = strings.Clone(h.Device), strings.Clone(h.Type), strings.Clone(h.Customer)
	h.Description = strings.Clone(h.Description)
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
