package router

import (
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Telemetry between nodes: what a device sends here goes to the nodes that want
// it, what it sends to another node comes from there.

// tellEvery is the time between two looks at which devices have moved on since
// other nodes were last told how far they are, and tellings how often each is
// told of a move. A node that missed the last batch of a device which then fell
// silent learns of its loss by that.
const (
	tellEvery = time.Second
	tellings  = 3
)

// feedOthers gives a batch to the other nodes. It runs on the device's reading
// goroutine.
func (r *Router) feedOthers(d *device, f *session.Frame) {
	from, to := f.Range()
	rg := d.shared.feed.advance(from, to)
	if d.shared.wanted.Load() {
		r.bus.SendTelemetry(&TelemetryBatch{Device: d.id, Range: rg, Wire: f.Wire()})
	}
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
		if rg, told := d.shared.feed.toldAgain(); told || all {
			r.bus.SendTelemetry(&TelemetryBatch{Device: d.id, Range: rg})
		}
	}
}

// telemetryArrived gives the telemetry of a device on another node to the front
// ends of this one, and tells them what was lost on the way. early is that of
// inflow.take.
func (r *Router) telemetryArrived(d *device, from NodeID, b *TelemetryBatch, early bool) {
	lost, fresh := d.shared.inflow.take(from, &b.Range, early)
	if len(lost) > 0 {
		r.reportLost(d, lost)
	}
	if fresh >= b.Range.To || len(b.Wire) == 0 {
		return
	}
	f := session.NewFrame(len(b.Wire))
	wire := b.Wire
	for len(wire) > 0 {
		payload, rest, ok := cutFrame(wire)
		var h protocol.TelemetryHeader
		if !ok || h.Parse(payload) != nil {
			r.stats.countError(protocol.ErrBadMessage)
			break
		}
		wire = rest
		if h.End() <= fresh {
			continue
		}
		protocol.StampStream(payload, d.stream)
		if !f.AppendTelemetry(payload, d.stream, h.Seq, h.End()) {
			r.giveBatch(d, f)
			f = session.NewFrame(len(rest) + maxFrameHeader + len(payload))
			f.AppendTelemetry(payload, d.stream, h.Seq, h.End())
		}
	}
	r.giveBatch(d, f)
}

// giveBatch queues a batch of another node's device for all here who want it.
func (r *Router) giveBatch(d *device, f *session.Frame) {
	if f.Frames() > 0 {
		all, some, listed := r.receivers(d)
		for _, s := range all {
			_ = s.SendTelemetry(f, nil)
		}
		for _, s := range some {
			if mayObserve(s, d.id) {
				_ = s.SendTelemetry(f, nil)
			}
		}
		for _, s := range listed {
			_ = s.SendTelemetry(f, nil)
		}
	}
	f.Release()
}

// reportLost tells all who want the device's telemetry what the bus has lost.
func (r *Router) reportLost(d *device, lost []sampleRange) {
	all, some, listed := r.receivers(d)
	for _, l := range lost {
		r.stats.LostOnBus.Add(l.to - l.from)
		for _, s := range all {
			s.ReportLoss(d.stream, l.from, l.to, session.LossBus)
		}
		for _, s := range some {
			if mayObserve(s, d.id) {
				s.ReportLoss(d.stream, l.from, l.to, session.LossBus)
			}
		}
		for _, s := range listed {
			s.ReportLoss(d.stream, l.from, l.to, session.LossBus)
		}
	}
}

// cutFrame takes the first of several unmasked WebSocket frames, which must be
// a whole binary message.
func cutFrame(wire []byte) (payload, rest []byte, ok bool) {
	const finBinary = 0x80 | byte(wsframe.OpBinary)
	if len(wire) < 2 || wire[0] != finBinary {
		return nil, nil, false
	}
	n, at := uint64(wire[1]), 2
	switch n {
	case 126, 127:
		size := 2
		if n == 127 {
			size = 8
		}
		if len(wire) < at+size {
			return nil, nil, false
		}
		n = 0
		for _, b := range wire[at : at+size] {
			n = n<<8 | uint64(b)
		}
		at += size
	}
	if n > uint64(len(wire)-at) {
		return nil, nil, false
	}
	return wire[at : at+int(n)], wire[at+int(n):], true
}
