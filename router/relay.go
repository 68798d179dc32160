package router

import (
	"github.com/labgate/labgate/router/federation"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Telemetry between nodes: what a device sends here goes to the nodes that want
// it, what it sends to another node comes from there.

// tellEvery is the time between two looks at which devices have moved on since
// other nodes were last told how far they are. A node that missed the last batch of a device which then fell
// silent learns of its loss by that.
const tellEvery = time.Second

// feedOthers gives a batch to the other nodes. It runs on the device's reading
// goroutine.
func (r *Router) feedOthers(d *device, f *session.Frame) {
	at := d.shared.outbound.Place(f.Range())
	if d.shared.wanted.Load() {
		r.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: at, Wire: f.Wire()})
	}
	d.shared.outbound.Commit(at)
}

// teller tells the other nodes from time to time how far the devices are.
type teller struct {
	timer session.Timer
	r     *Router
}

// Expire runs on the wheel's goroutine.
func (t *teller) Expire(time.Time) {
	t.r.tellPositions(false)
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if !t.r.left {
		t.r.manager.Wheel().Schedule(&t.timer, time.Now().Add(tellEvery))
	}
}

// tellPositions tells the other nodes how far the devices are whose telemetry
// they want: those that have moved of late, or all.
func (r *Router) tellPositions(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range r.wantedElsewhere {
		if rg, told := d.shared.outbound.Repeat(); told || all {
			r.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: rg})
		}
	}
}

// telemetryArrived gives the telemetry of a device on another node to the front
// ends of this one, and tells them what was lost on the way. early is that of
// federation.Inbound.Take.
func (r *Router) telemetryArrived(d *device, from federation.NodeID, b *federation.Batch, early bool) {
	lost, fresh := d.shared.inbound.Take(from, &b.Range, early)
	if len(lost) > 0 {
		r.reportLost(d, lost)
	}
	if fresh >= b.Range.To || len(b.Wire) == 0 {
		return
	}
	f, to, ok := cutBatch(b, d.stream, fresh)
	if f.Frames() > 0 {
		r.deliver(d, f, nil)
	}
	f.Release()
	if !ok {
		r.stats.countError(protocol.ErrBadMessage)
		if lost := lostBetween(max(to, fresh), b.Range.To); len(lost) > 0 {
			r.reportLost(d, lost)
		}
	}
}

// cutBatch returns a copy of a batch without the frames that end before fresh,
// and where its samples end. It stamps the stream number into them. When the
// batch turns out not to be what its range says, ok is false and the rest of it
// is left out.
func cutBatch(b *federation.Batch, stream uint32, fresh uint64) (f *session.Frame, to uint64, ok bool) {
	var begin, end int
	var frames uint32
	from := b.Range.From
	to = from
	for end < len(b.Wire) {
		payload, size := cutFrame(b.Wire[end:])
		var h protocol.TelemetryHeader
		if size == 0 || h.Parse(payload) != nil || h.Seq != to || h.End() > b.Range.To {
			break
		}
		end += size
		if to = h.End(); to <= fresh {
			begin, from = end, to
			continue
		}
		protocol.StampStream(payload, stream)
		frames++
	}
	return session.NewTelemetryFrame(b.Wire[begin:end], frames, stream, from, to), to, to == b.Range.To && end == len(b.Wire)
}

// reportLost tells all who want the device's telemetry what the bus has lost.
func (r *Router) reportLost(d *device, lost []federation.Samples) {
	all, some, listed := r.receivers(d)
	tell := func(s *session.Session) {
		for _, l := range lost {
			s.ReportLoss(d.stream, l.From, l.To, session.LossBus)
		}
	}
	for _, l := range lost {
		r.stats.LostOnBus.Add(l.To - l.From)
	}
	for _, s := range all {
		tell(s)
	}
	for _, s := range some {
		if mayObserve(s, d.id) {
			tell(s)
		}
	}
	for _, s := range listed {
		tell(s)
	}
}

// cutFrame takes the first of several unmasked WebSocket frames, which must be
// a whole binary message. It returns its payload and its size, which is 0 when
// it is malformed.
func cutFrame(wire []byte) (payload []byte, size int) {
	const finBinary = 0x80 | byte(wsframe.OpBinary)
	if len(wire) < 2 || wire[0] != finBinary {
		return nil, 0
	}
	n, at := uint64(wire[1]), 2
	switch n {
	case 126, 127:
		long := 2
		if n == 127 {
			long = 8
		}
		if len(wire) < at+long {
			return nil, 0
		}
		n = 0
		for _, b := range wire[at : at+long] {
			n = n<<8 | uint64(b)
		}
		at += long
	}
	if n > uint64(len(wire)-at) {
		return nil, 0
	}
	size = at + int(n)
	return wire[at:size], size
}

// lostBetween returns the samples [from, to), if there are any.
func lostBetween(from, to uint64) []federation.Samples {
	if from >= to {
		return nil
	}
	return []federation.Samples{{From: from, To: to}}
}
