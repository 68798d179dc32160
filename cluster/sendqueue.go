package cluster

import (
	"slices"
	"strings"

	"github.com/labgate/labgate/router/federation"
)

// Limits of what is queued. Nothing is queued for longer than the timeout: after
// that the bus is down and drops everything.
const (
	// maxPacket is how many bytes a packet grows to. A larger record has a packet of
	// its own.
	maxPacket = 256 << 10
	// maxPackets bounds the packets that are sent to Redis at once.
	maxPackets = 1000
	// maxWaiting bounds the messages for one destination, and maxControl what nodes
	// tell each other about themselves, in bytes. A node that misses some of the
	// latter notices, and requests it.
	maxWaiting = 8 << 20
	maxControl = 16 << 20
	// maxTelemetry bounds the telemetry of one device, and maxTelemetryAll that of
	// all devices, in bytes.
	maxTelemetry    = 4 << 20
	maxTelemetryAll = 64 << 20
)

// destination is a channel on which this node publishes.
type destination struct {
	node      federation.NodeID // 0 for the channel of all nodes, and for telemetry
	channel   string
	number    uint64  // of the packet that was sent last
	open      *packet // the queued packet to which records may be added; nil when there is none
	waiting   int     // bytes that are queued
	telemetry bool    // the channel carries a device's telemetry
}

// packet is what one PUBLISH carries.
type packet struct {
	to       *destination
	buf      []byte // space for the header, and records
	messages int    // or batches of telemetry
	stretch  uint64
	sent     chan struct{} // closed when Redis has the packet; nil when nobody waits for that
}

// sendQueue holds the packets that are to be sent. The Bus's mu guards it.
//
// Messages of this node to one node and to all must arrive there in the order in
// which they were queued. So packets are sent in the order in which they were
// begun, and a queue of both kinds consists of stretches: packets to single nodes,
// then packets to all, and so on. Records are added to packets of the last stretch
// only.
type sendQueue struct {
	packets []*packet
	stretch uint64 // number of the last stretch
	toAll   bool   // the last stretch is of packets to all nodes

	streams      map[string]*stream // telemetry, by device
	due          []*stream          // those with something to send
	telemetry    int                // bytes in all of them
	droppedBatch uint64             // batches of telemetry that were dropped

	free []*packet // sent packets, kept for their memory
}

// stream is the queued telemetry of one device. Batches are added to the last of
// its packets; to.open is not used.
type stream struct {
	device  string
	to      destination
	packets []*packet
	due     bool // the stream is in sendQueue.due
}

func newSendQueue() sendQueue { return sendQueue{streams: map[string]*stream{}} }

// room returns the packet for a record of that size: the one that is queued for the
// destination, or a new one.
func (q *sendQueue) room(to *destination, size int) *packet {
	if toAll := to.node == 0; toAll != q.toAll {
		q.toAll = toAll
		q.stretch++
	}
	if p := to.open; p != nil && p.stretch == q.stretch && len(p.buf)+size <= maxPacket {
		return p
	}
	p := q.newPacket(to, size)
	p.stretch = q.stretch
	to.open = p
	q.packets = append(q.packets, p)
	return p
}

// grown counts the bytes that were added to a packet of before bytes.
func (p *packet) grown(before int) { p.to.waiting += len(p.buf) - before }

// take removes packets of about max bytes from the front, and appends them to out.
func (q *sendQueue) take(out []*packet, max int) []*packet {
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

// add adds a batch to its device's stream, and reports whether no stream was due
// before. When there is too much, the oldest packets of the device are dropped.
func (q *sendQueue) add(s *stream, b *federation.Batch) (first bool) {
	size := telemetrySize(b)
	for len(s.packets) > 0 && (s.to.waiting+size > maxTelemetry || q.telemetry+size > maxTelemetryAll) {
		p := s.packets[0]
		s.packets = append(s.packets[:0], s.packets[1:]...)
		q.droppedBatch += uint64(p.messages)
		q.uncount(s, p)
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
		p = q.newPacket(&s.to, size)
		s.packets = append(s.packets, p)
	}
	before := len(p.buf)
	p.buf = appendTelemetry(p.buf, b)
	p.messages++
	p.grown(before)
	q.telemetry += len(p.buf) - before
	return first
}

// takeTelemetry removes telemetry of about max bytes, stream by stream, and appends
// its packets to out.
func (q *sendQueue) takeTelemetry(out []*packet, max int) []*packet {
	n := 0
	for n < len(q.due) && len(out) < maxPackets && max > 0 {
		s := q.due[n]
		for i, p := range s.packets {
			max -= len(p.buf)
			q.uncount(s, p)
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

// flush moves a device's telemetry to the end of the messages, so that it is sent
// before any message that is queued later.
func (q *sendQueue) flush(device string) {
	s := q.streams[device]
	if s == nil || !s.due {
		return
	}
	q.due = slices.DeleteFunc(q.due, func(d *stream) bool { return d == s })
	q.stretch++
	for _, p := range s.packets {
		q.telemetry -= len(p.buf) - headerSize
		q.packets = append(q.packets, p)
	}
	s.packets, s.due = nil, false
}

// uncount subtracts the bytes of a packet of telemetry.
func (q *sendQueue) uncount(s *stream, p *packet) {
	s.to.waiting -= len(p.buf) - headerSize
	q.telemetry -= len(p.buf) - headerSize
}

// drop removes everything and returns the packets of q.packets.
func (q *sendQueue) drop() (dropped []*packet) {
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
		if p.to.telemetry {
			q.droppedBatch += uint64(p.messages)
		}
	}
	return dropped
}

const maxInt = int(^uint(0) >> 1)

// maxFree bounds the packets that are kept for their memory.
const maxFree = 32

func (q *sendQueue) newPacket(to *destination, size int) *packet {
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

// recycle keeps a packet's memory for another packet. Nobody, including the Redis
// client, may use the packet any longer.
func (q *sendQueue) recycle(p *packet) {
	if len(q.free) < maxFree && cap(p.buf) <= maxPacket+maxPacket/4 {
		*p = packet{buf: p.buf}
		q.free = append(q.free, p)
	}
}

func (q *sendQueue) addStream(device, prefix string) *stream {
	device = strings.Clone(device)
	s := &stream{device: device, to: destination{channel: prefix + device, telemetry: true}}
	q.streams[device] = s
	return s
}
