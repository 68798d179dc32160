// Package membus connects nodes within one process: a federation.Bus without a
// network, for tests.
package membus

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/labgate/labgate/router/federation"
)

// Hub connects the nodes of one test.
type Hub struct {
	// mu guards the rest, and some fields of HubBus. The locks of inboxes nest
	// inside mu. mu is not held while a Member is called.
	mu   sync.Mutex
	on   map[federation.NodeID]*HubBus
	down bool
}

// NewHub returns a hub without nodes.
func NewHub() *Hub { return &Hub{on: make(map[federation.NodeID]*HubBus)} }

// Bus returns the bus of a new node.
func (h *Hub) Bus(name string) *HubBus {
	return &HubBus{hub: h, id: federation.NodeID(rand.Uint32N(1<<32-1) + 1), name: name, state: make(map[hubKey]hubItem), sent: make(map[federation.NodeID]map[hubKey]uint64)}
}

// SetReachable disconnects all nodes from each other, or connects them again.
func (h *Hub) SetReachable(reachable bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down == !reachable {
		return
	}
	h.down = !reachable
	for _, b := range h.on {
		b.inbox.put(func(m federation.Member) { m.BusChanged(reachable) })
	}
	for _, from := range h.on {
		from.sendState()
	}
}

// HubBus is one node's federation.Bus on a Hub.
//
// Join starts one goroutine, which calls the Member; Leave ends it.
type HubBus struct {
	// Static.
	hub  *Hub
	id   federation.NodeID
	name string

	// Guarded by hub.mu: the state of this node, and for each other node the
	// versions that were sent to it.
	state   map[hubKey]hubItem
	version uint64
	sent    map[federation.NodeID]map[hubKey]uint64
	stats   federation.Stats

	inbox inbox
}

var _ federation.Bus = (*HubBus)(nil)

// hubKey names a piece of a node's state.
type hubKey struct {
	kind hubKind
	name string
}

type hubKind uint8

const (
	hubDevice hubKind = iota
	hubUser
	hubInterest
)

type hubItem struct {
	version uint64
	on      bool
	holding federation.Holding
	release federation.Release
}

// Join implements federation.Bus.
func (b *HubBus) Join(m federation.Member) error {
	b.inbox.start(m)
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.on {
		b.inbox.put(func(m federation.Member) { m.NodeJoined(other.id, other.name) })
		other.inbox.put(func(m federation.Member) { m.NodeJoined(b.id, b.name) })
	}
	h.on[b.id] = b
	if h.down {
		b.inbox.put(func(m federation.Member) { m.BusChanged(false) })
	}
	for _, other := range h.on {
		other.sendState()
	}
	return nil
}

// Leave implements federation.Bus.
func (b *HubBus) Leave() {
	h := b.hub
	h.mu.Lock()
	if h.on[b.id] == b {
		delete(h.on, b.id)
		for _, other := range h.on {
			delete(other.sent, b.id)
			other.inbox.put(func(m federation.Member) { m.NodeLeft(b.id, federation.NodeClosed) })
		}
	}
	h.mu.Unlock()
	b.inbox.stop()
}

// Self implements federation.Bus.
func (b *HubBus) Self() federation.NodeID { return b.id }

// Up implements federation.Bus.
func (b *HubBus) Up() bool {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	return !b.hub.down
}

// Stats implements federation.Bus.
func (b *HubBus) Stats() federation.Stats {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	st := b.stats
	st.Nodes = max(0, len(b.hub.on)-1)
	return st
}

// Hold implements federation.Bus.
func (b *HubBus) Hold(hd federation.Holding) {
	b.set(hubKey{hubDevice, hd.Device}, hubItem{on: true, holding: hd})
}

// Release implements federation.Bus.
func (b *HubBus) Release(r federation.Release) {
	b.hub.mu.Lock()
	held := b.state[hubKey{hubDevice, r.Device}]
	b.hub.mu.Unlock()
	if held.on && held.holding.Epoch <= r.Epoch {
		r.Begin = held.holding.At
		b.set(hubKey{hubDevice, r.Device}, hubItem{release: r})
	}
}

// User implements federation.Bus.
func (b *HubBus) User(user string, here bool) { b.set(hubKey{hubUser, user}, hubItem{on: here}) }

// UpdateInterest implements federation.Bus.
func (b *HubBus) UpdateInterest(device string, wanted bool) {
	b.set(hubKey{hubInterest, device}, hubItem{on: wanted})
}

// set changes a piece of the node's state.
func (b *HubBus) set(key hubKey, item hubItem) {
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	b.version++
	item.version = b.version
	b.state[key] = item
	if h.down || h.on[b.id] != b {
		return
	}
	for _, other := range h.on {
		b.sendPiece(other, key, item)
	}
	if !item.on {
		b.forget(key)
	}
}

// sendState sends every other node the state that it has missed. The caller
// holds hub.mu.
func (b *HubBus) sendState() {
	if b.hub.down {
		return
	}
	keys := make([]hubKey, 0, len(b.state))
	for key := range b.state {
		keys = append(keys, key)
	}
	// In the order of the changes.
	slices.SortFunc(keys, func(x, y hubKey) int { return int(b.state[x].version) - int(b.state[y].version) })
	for _, key := range keys {
		item := b.state[key]
		for _, other := range b.hub.on {
			b.sendPiece(other, key, item)
		}
		if !item.on {
			b.forget(key)
		}
	}
}

// forget removes a piece of state that has ended and was sent to every node.
// The caller holds hub.mu.
func (b *HubBus) forget(key hubKey) {
	delete(b.state, key)
	for _, sent := range b.sent {
		delete(sent, key)
	}
}

// sendPiece sends a piece of state to another node, unless that version was
// sent before. The caller holds hub.mu.
func (b *HubBus) sendPiece(other *HubBus, key hubKey, item hubItem) {
	if other == b || b.sent[other.id][key] == item.version {
		return
	}
	if b.sent[other.id] == nil {
		b.sent[other.id] = make(map[hubKey]uint64)
	}
	b.sent[other.id][key] = item.version
	other.inbox.put(func(m federation.Member) {
		switch {
		case key.kind == hubUser:
			m.UserChanged(b.id, key.name, item.on)
		case key.kind == hubInterest:
			m.InterestChanged(b.id, key.name, item.on)
		case item.on:
			m.DeviceHeld(b.id, item.holding)
		default:
			m.DeviceReleased(b.id, item.release)
		}
	})
}

// Send implements federation.Bus.
func (b *HubBus) Send(to federation.NodeID, msg *federation.Message) error {
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return federation.ErrDown
	}
	other := h.on[to]
	if other == nil || other == b {
		return federation.ErrNodeGone
	}
	return b.deliver(other, msg)
}

// SendAll implements federation.Bus.
func (b *HubBus) SendAll(msg *federation.Message) error {
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down {
		return federation.ErrDown
	}
	var failed error
	for _, other := range h.on {
		if other != b {
			if err := b.deliver(other, msg); err != nil {
				failed = err
			}
		}
	}
	return failed
}

// deliver puts a copy of a message into another node's inbox. The caller holds
// hub.mu.
func (b *HubBus) deliver(other *HubBus, msg *federation.Message) error {
	copied := *msg
	copied.Text = bytes.Clone(msg.Text)
	if !other.inbox.offer(len(copied.Text), func(m federation.Member) { m.Receive(b.id, &copied) }) {
		return federation.ErrFull
	}
	b.stats.Sent++
	b.stats.SentBytes += uint64(len(copied.Text))
	other.stats.Received++
	other.stats.ReceivedBytes += uint64(len(copied.Text))
	return nil
}

// SendTelemetry implements federation.Bus.
func (b *HubBus) SendTelemetry(batch *federation.Batch) {
	h := b.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.on {
		if other == b || !other.state[hubKey{hubInterest, batch.Device}].on {
			continue
		}
		copied := *batch
		copied.Wire = bytes.Clone(batch.Wire)
		if h.down || !other.inbox.offer(len(copied.Wire), func(m federation.Member) { m.ReceiveTelemetry(b.id, &copied) }) {
			b.stats.DroppedTelemetry++
			continue
		}
		b.stats.Sent++
		b.stats.SentBytes += uint64(len(copied.Wire))
		other.stats.Received++
		other.stats.ReceivedBytes += uint64(len(copied.Wire))
	}
}

// maxInbox bounds the messages and telemetry of an inbox, in bytes.
const maxInbox = 8 << 20

// inbox calls a Member on a goroutine of its own, one call after another.
type inbox struct {
	// mu guards the rest; a leaf.
	mu      sync.Mutex
	calls   []func(federation.Member)
	bytes   int
	closed  bool
	ready   sync.Cond
	running sync.WaitGroup
}

// start starts the goroutine.
func (x *inbox) start(m federation.Member) {
	x.ready.L = &x.mu
	x.running.Go(func() { x.run(m) })
}

func (x *inbox) run(m federation.Member) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for {
		for len(x.calls) == 0 && !x.closed {
			x.ready.Wait()
		}
		if x.closed {
			return
		}
		calls := x.calls
		x.calls = nil
		x.mu.Unlock()
		for _, call := range calls {
			call(m)
		}
		x.mu.Lock()
	}
}

// put adds a call. It has no limit.
func (x *inbox) put(call func(federation.Member)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.add(call)
}

// offer adds a call that carries size bytes, or returns false when the inbox is
// full.
func (x *inbox) offer(size int, call func(federation.Member)) bool {
	size += hubOverhead
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bytes+size > maxInbox || x.closed {
		return false
	}
	x.bytes += size
	x.add(func(m federation.Member) {
		x.mu.Lock()
		x.bytes -= size
		x.mu.Unlock()
		call(m)
	})
	return true
}

// hubOverhead is how many bytes a message without text counts for in an inbox.
const hubOverhead = 128

// add appends a call. The caller holds mu.
func (x *inbox) add(call func(federation.Member)) {
	if !x.closed {
		x.calls = append(x.calls, call)
		if x.ready.L != nil {
			x.ready.Signal()
		}
	}
}

// stop ends the goroutine after its current call to the Member.
func (x *inbox) stop() {
	x.mu.Lock()
	x.closed = true
	if x.ready.L != nil {
		x.ready.Broadcast()
	}
	x.mu.Unlock()
	x.running.Wait()
}
