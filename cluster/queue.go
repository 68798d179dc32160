package cluster

import (
	"github.com/labgate/labgate/router/federation"
	"slices"
	"strings"
)

// Bounds of what waits to leave. Nothing waits for longer than the timeout: then
// the bus is down and drops all of it.
const (
	// maxPacket is how large a packet grows; a larger record has one of its own.
	maxPacket = 256 << 10
	// maxPackets is how many leave at once at most.
	maxPackets = 1000
	// maxWaiting bounds the messages for one destination, in bytes; maxControl
	// what nodes tell each other about themselves. Whoever misses some of that
	// notices, and asks.
	maxWaiting = 8 << 20
	maxControl = 16 << 20
	// maxTelemetry bounds the telemetry of one device, maxTelemetryAll that of
	// all, in bytes.
	maxTelemetry    = 4 << 20
	maxTelemetryAll = 64 << 20
)

// destination is a channel that this node publishes on.
type destination struct {
	node    federation.NodeID // 0 for the channel of all nodes, and of telemetry
	channel string
	number  uint64  // of the packet that left last
	open    *packet // the last one that waits; nil when none may be added to
	waiting int     // bytes
	samples bool    // it is a channel of telemetry
}

// packet is what waits to leave with one PUBLISH.
type packet struct {
	to       *destination
	buf      []byte // room for the header, and records
	messages int    // or batches of telemetry
	turn     uint64
	sent     chan struct{} // closed when it has left; nil when nobody waits for that
}

// queue holds the packets that wait. The Bus's mu guards it.
//
// What a node says, to one or to all, arrives in the order in which it said it:
// packets leave in the order in which they were begun, and none is added to
// when one of the other kind was begun after it. turn counts how often that
// changed.
type queue struct {
	packets []*packet
	turn    uint64
	toAll   bool

	streams      map[string]*stream // telemetry, by device
	due          []*stream          // those with something to send
	telemetry    int                // bytes in all of them
	droppedBatch uint64

	free []*packet // for their memory
}

// stream is the telemetry of one device that waits. Its packets have to.open
// unset: what may be added to is the last of packets.
type stream struct {
	device  string
	to      destination
	packets []*packet
	due     bool // it is in queue.due
}

func newQueue() queue { return queue{streams: map[string]*stream{}} }

// room returns the packet for a record of that size: the one that waits for the
// destination, or a new one.
func (q *queue) room(to *destination, size int) *packet {
	if toAll := to.node == 0; toAll != q.toAll {
		q.toAll = toAll
		q.turn++
	}
	if p := to.open; p != nil && p.turn == q.turn && len(p.buf)+size <= maxPacket {
		return p
	}
	p := q.packet(to, size)
	p.turn = q.turn
	to.open = p
	q.packets = append(q.packets, p)
	return p
}

// grown accounts for what was added to a packet that had that many bytes.
func (p *packet) grown(before int) { p.to.waiting += len(p.buf) - before }

// take removes packets from the front until they are max bytes, and appends
// them to out.
func (q *queue) take(out []*packet, max int) []*packet {
	n := 0
	for n < len(q.packets) && n < maxPackets && max > 0 {
		p := q.packets[n]
		max -= len(p.buf)
		p.to.waiting -= len(p.buf) - headerSize
		if p.to.open == p {
			p.to.open = nil
		}
		out = append(out, p)
		n++
	}
	rest := copy(q.packets, q.packets[n:])
	clear(q.packets[rest:])
	q.packets = q.packets[:rest]
	return out
}

// add puts a batch into its device's stream, and reports whether nothing was due
// before. When there is no room the oldest gives way.
func (q *queue) add(s *stream, b *federation.Batch) (first bool) {
	size := telemetrySize(b)
	for len(s.packets) > 0 && (s.to.waiting+size > maxTelemetry || q.telemetry+size > maxTelemetryAll) {
		p := s.packets[0]
		s.packets = append(s.packets[:0], s.packets[1:]...)
		q.droppedBatch += uint64(p.messages)
		q.forget(s, p)
		q.recycle(p)
	}
	if len(s.packets) == 0 && q.telemetry+size > maxTelemetryAll {
		q.droppedBatch++
		return false
	}
	if !s.due {
		s.due = true
		first = len(q.due) == 0
		q.due = append(q.due, s)
	}
	var p *packet
	if n := len(s.packets); n > 0 && len(s.packets[n-1].buf)+size <= maxPacket {
		p = s.packets[n-1]
	} else {
		p = q.packet(&s.to, size)
		s.packets = append(s.packets, p)
	}
	before := len(p.buf)
	p.buf = appendTelemetry(p.buf, b)
	p.messages++
	p.grown(before)
	q.telemetry += len(p.buf) - before
	return first
}

// takeTelemetry removes packets of telemetry until they are max bytes, a stream
// at a time, and appends them to out.
func (q *queue) takeTelemetry(out []*packet, max int) []*packet {
	n := 0
	for n < len(q.due) && len(out) < maxPackets && max > 0 {
		s := q.due[n]
		for i, p := range s.packets {
			max -= len(p.buf)
			q.forget(s, p)
			out = append(out, p)
			s.packets[i] = nil
		}
		s.packets, s.due = s.packets[:0], false
		n++
	}
	rest := copy(q.due, q.due[n:])
	clear(q.due[rest:])
	q.due = q.due[:rest]
	return out
}

// flush moves a device's telemetry to where messages wait, in front of all that
// comes.
func (q *queue) flush(device string) {
	s := q.streams[device]
	if s == nil || !s.due {
		return
	}
	q.due = slices.DeleteFunc(q.due, func(d *stream) bool { return d == s })
	q.turn++
	for _, p := range s.packets {
		q.telemetry -= len(p.buf) - headerSize
		q.packets = append(q.packets, p)
	}
	s.packets, s.due = nil, false
}

func (q *queue) forget(s *stream, p *packet) {
	s.to.waiting -= len(p.buf) - headerSize
	q.telemetry -= len(p.buf) - headerSize
}

// drop removes everything and returns the packets that were not telemetry.
func (q *queue) drop() (dropped []*packet) {
	for len(q.due) > 0 {
		for _, p := range q.takeTelemetry(nil, maxInt) {
			q.droppedBatch += uint64(p.messages)
			q.recycle(p)
		}
	}
	for len(q.packets) > 0 {
		dropped = q.take(dropped, maxInt)
	}
	for _, p := range dropped {
		if p.to.samples {
			q.droppedBatch += uint64(p.messages)
		}
	}
	return dropped
}

const maxInt = int(^uint(0) >> 1)

// maxFree is how many packets that have left are kept for their memory.
const maxFree = 32

func (q *queue) packet(to *destination, size int) *packet {
	var p *packet
	if n := len(q.free); n > 0 {
		p, q.free = q.free[n-1], q.free[:n-1]
	} else {
		p = new(packet)
	}
	*p = packet{to: to, buf: p.buf[:0]}
	if need := headerSize + size; cap(p.buf) < need {
		p.buf = make([]byte, 0, max(need, 4<<10))
	}
	p.buf = p.buf[:headerSize]
	return p
}

// recycle keeps a packet's memory. Nobody may use it any longer: not the Redis
// client either.
func (q *queue) recycle(p *packet) {
	if len(q.free) < maxFree && cap(p.buf) <= maxPacket+maxPacket/4 {
		*p = packet{buf: p.buf}
		q.free = append(q.free, p)
	}
}

func (q *queue) stream(device, prefix string) *stream {
	device = strings.Clone(device)
	s := &stream{device: device, to: destination{channel: prefix + device, samples: true}}
	q.streams[device] = s
	return s
}
