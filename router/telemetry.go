package router

import (
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// batchBytes bounds the telemetry of one read event that is joined into one
// frame of the outboxes: small enough that dropping one is no great loss, large
// enough that queueing costs nothing per telemetry frame.
const batchBytes = 16 << 10

// routeTelemetry checks a telemetry frame, stamps the device's stream number
// into it and adds it to the read event's batch.
func (r *Router) routeTelemetry(s *session.Session, payload []byte) {
	l, ok := s.Attachment().(*link)
	if !ok {
		r.refuse(s, protocol.ErrNotAllowed, "binary frames are telemetry, which only devices send; connect to /ws/device/{device_id}", nil)
		return
	}
	var h protocol.TelemetryHeader
	if err := h.Parse(payload); err != nil {
		r.refuse(s, protocol.ErrBadMessage, "telemetry frame: "+err.Error(), nil)
		return
	}
	l.framesIn++
	l.samplesIn += uint64(h.Count)
	sh := l.device.shared
	if all, some, listed := r.receivers(l.device); len(all)+len(some)+len(listed) == 0 && (sh == nil || !sh.wanted.Load()) {
		if sh != nil {
			r.sendBatch(l)
			sh.outbound.Commit(sh.outbound.Place(h.Seq, h.End()))
		}
		return
	}
	stream := l.device.stream
	protocol.StampStream(payload, stream)
	if l.batch == nil {
		l.batch = session.NewFrame(max(l.batchHint, len(payload)+maxFrameHeader))
	}
	if l.batch.AppendTelemetry(payload, stream, h.Seq, h.End()) {
		return
	}
	// Full, or a gap of the device's own: start another. A full one says that
	// reads are long, so the next starts larger.
	if l.batch.Len() > l.batchHint {
		l.batchHint = min(2*l.batch.Len(), batchBytes)
	}
	r.sendBatch(l)
	l.batch = session.NewFrame(max(l.batchHint, len(payload)+maxFrameHeader))
	l.batch.AppendTelemetry(payload, stream, h.Seq, h.End())
}

// inlineReceivers is how many receivers may be written to on the device's own
// reading goroutine, when they are due at once. That takes 3 to 4 µs for each,
// and to wake a flusher for them costs more than half as much again; more would
// keep other devices waiting for over a millisecond.
const inlineReceivers = 256

// fewReceivers is how many receivers are few, see session.Frame.ForFew.
const fewReceivers = 16

// maxFrameHeader is the largest header of an unmasked WebSocket frame (RFC
// 6455 section 5.2).
const maxFrameHeader = 10

// sendBatch queues the batch for all who want the device's telemetry. It runs
// on the device's reading goroutine.
func (r *Router) sendBatch(l *link) {
	if l.framesIn > 0 {
		r.stats.TelemetryFramesIn.Add(l.framesIn)
		r.stats.SamplesIn.Add(l.samplesIn)
		l.framesIn, l.samplesIn = 0, 0
	}
	f := l.batch
	if f == nil {
		return
	}
	l.batch = nil
	if f.Len() < l.batchHint/4 {
		l.batchHint /= 2
	}
	f = f.Compact()
	f.HeardBy(l.session)
	r.deliver(l.device, f, l.session)
	if l.device.shared != nil {
		r.feedOthers(l.device, f)
	}
	f.Release()
}

// deliver queues a frame for all who want the device's telemetry. by is that of
// session.Session.SendTelemetry.
func (r *Router) deliver(d *device, f *session.Frame, by *session.Session) {
	all, some, listed := r.receivers(d)
	switch n := len(all) + len(some) + len(listed); {
	case n <= fewReceivers:
		f.ForFew()
	case n > inlineReceivers:
		by = nil
	}
	for _, s := range all {
		_ = s.SendTelemetry(f, by)
	}
	for _, s := range some {
		if mayObserve(s, d.id) {
			_ = s.SendTelemetry(f, by)
		}
	}
	for _, s := range listed {
		_ = s.SendTelemetry(f, by)
	}
}

// receivers returns who wants a device's telemetry, all lists as they were at
// one moment: a front end that changes from one to the other is in exactly one
// of them, and so gets each batch once. Those in some want it if they may
// observe the device; those in listed were found to when they listed it.
func (r *Router) receivers(d *device) (all, some, listed []*session.Session) {
	before := r.moves.Load()
	all, some, listed = *r.telemetryAll.Load(), *r.telemetrySome.Load(), *d.subscribers.Load()
	if before&1 == 0 && r.moves.Load() == before {
		return all, some, listed
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.telemetryAll.Load(), *r.telemetrySome.Load(), *d.subscribers.Load()
}
