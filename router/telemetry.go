package router

import (
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// batchBytes bounds the telemetry of one read event that is joined into one
// frame of the outboxes: small enough that dropping one is no great loss, large
// enough that queueing costs nothing per telemetry frame.
const batchBytes = 16 << 10

// deviceTelemetry is the telemetry of the current read event of a device. It
// belongs to the device's reading goroutine.
type deviceTelemetry struct {
	frame *session.Frame
	// sizeHint is how large the frames have been of late.
	sizeHint int
	// framesIn and samplesIn are not counted in the router's Stats yet.
	framesIn, samplesIn uint64
	// batch is what the receivers are given, kept here so that it need not be
	// allocated.
	batch Batch
}

// routeTelemetry checks a telemetry frame, stamps the device's stream number
// into it and adds it to the read event's batch.
func (r *Router) routeTelemetry(s *session.Session, payload []byte) {
	c, ok := s.Attachment().(*deviceConn)
	if !ok {
		r.refuse(s, protocol.ErrNotAllowed, "binary frames are telemetry, which only devices send; connect to /ws/device/{device_id}", nil)
		return
	}
	var h protocol.TelemetryHeader
	if err := h.Parse(payload); err != nil {
		c.refuse(protocol.ErrBadMessage, "telemetry frame: "+err.Error(), nil)
		return
	}
	t := &c.telemetry
	t.framesIn++
	t.samplesIn += uint64(h.Count)
	if every, some := r.registry.receivers(c.dev); len(every)+len(some) == 0 {
		r.endBatch(c)
		c.dev.skip(h.Seq, h.End())
		return
	}
	stream := c.dev.stream
	protocol.StampStream(payload, stream)
	if t.frame == nil {
		t.frame = session.NewFrame(max(t.sizeHint, len(payload)+maxFrameHeader))
	}
	if t.frame.AppendTelemetry(payload, stream, h.Seq, h.End()) {
		return
	}
	// Full, or a gap of the device's own: start another. A full one says that
	// reads are long, so the next starts larger.
	if t.frame.Len() > t.sizeHint {
		t.sizeHint = min(2*t.frame.Len(), batchBytes)
	}
	r.endBatch(c)
	t.frame = session.NewFrame(max(t.sizeHint, len(payload)+maxFrameHeader))
	t.frame.AppendTelemetry(payload, stream, h.Seq, h.End())
}

// maxFrameHeader is the largest header of an unmasked WebSocket frame (RFC
// 6455 section 5.2).
const maxFrameHeader = 10

// endBatch gives the batch to all who want the device's telemetry. It runs on
// the device's reading goroutine.
func (r *Router) endBatch(c *deviceConn) {
	t := &c.telemetry
	if t.framesIn > 0 {
		r.stats.TelemetryFramesIn.Add(t.framesIn)
		r.stats.SamplesIn.Add(t.samplesIn)
		c.dev.counters.samplesIn.Add(t.samplesIn)
		t.framesIn, t.samplesIn = 0, 0
	}
	f := t.frame
	if f == nil {
		return
	}
	t.frame = nil
	if f.Len() < t.sizeHint/4 {
		t.sizeHint /= 2
	}
	f = f.Compact()
	f.SetArrival(c.s)
	f.CountDropped(&c.dev.counters.dropped)
	t.batch = Batch{Device: c.dev.id, Frame: f, by: c.s}
	if c.dev.outbound != nil {
		t.batch.outgoing = federation.Batch{Device: c.dev.id, Range: c.dev.outbound.Place(f.Range()), Wire: f.Wire()}
	}
	r.receive(c.dev, &t.batch)
	if c.dev.outbound != nil {
		c.dev.outbound.Commit(t.batch.outgoing.Range)
	}
	t.batch = Batch{}
	f.Release()
}

const (
	// inlineReceivers is how many receivers may be written to on the device's own
	// reading goroutine, when they are due at once. That takes 3 to 4 µs for each,
	// and to wake a flusher for them costs more than half as much again; more
	// would keep other devices waiting for over a millisecond.
	inlineReceivers = 256
	// fewReceivers is how many receivers are few, see session.Frame.AllowEarlyFlush.
	fewReceivers = 16
)

// receive gives a batch to all who want the device's telemetry: the one loop
// over receivers.
func (r *Router) receive(d *device, b *Batch) {
	every, some := r.registry.receivers(d)
	switch n := len(every) + len(some); {
	case n <= fewReceivers:
		b.Frame.AllowEarlyFlush()
	case n > inlineReceivers:
		b.by = nil
	}
	for _, x := range every {
		x.ReceiveBatch(b)
	}
	for _, x := range some {
		x.ReceiveBatch(b)
	}
}

// receiveLoss tells all who want the device's telemetry what was lost between
// nodes.
func (r *Router) receiveLoss(d *device, lost federation.Samples) {
	r.stats.LostBetweenNodes.Add(lost.Count)
	d.counters.lostBetweenNodes.Add(lost.Count)
	every, some := r.registry.receivers(d)
	l := Loss{Device: d.id, Stream: d.stream, Samples: lost}
	for _, x := range every {
		x.ReceiveLoss(l)
	}
	for _, x := range some {
		x.ReceiveLoss(l)
	}
}

// skip notes samples that nobody wants: other nodes are told where the device's
// telemetry stands.
func (d *device) skip(from, to uint64) {
	if d.outbound != nil {
		d.outbound.Commit(d.outbound.Place(from, to))
	}
}
