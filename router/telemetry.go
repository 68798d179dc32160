package router

import (
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// batchBytes limits the buffer of a batch, in bytes. A full outbox drops whole
// batches, so a batch must not be large. Queueing has a cost for each batch,
// so a batch must hold many telemetry frames.
const batchBytes = 16 << 10

// deviceTelemetry is the telemetry of the current read event of a device. It
// belongs to the device's reading goroutine.
type deviceTelemetry struct {
	frame *session.Frame
	// sizeHint is the size of recent batches, in bytes.
	sizeHint int
	// framesIn and samplesIn count the telemetry frames and samples that endBatch
	// has not added to the router's Stats yet.
	framesIn, samplesIn uint64
	// batch is the argument of ReceiveBatch; kept here to save an allocation.
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
	// The batch is full, or the device left a gap: start another batch. A full
	// batch means a long read event, so later batches get a larger buffer.
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

// endBatch passes the batch to the device's receivers. The device's reading
// goroutine calls endBatch.
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
	r.deliverBatch(c.dev, &t.batch)
	if c.dev.outbound != nil {
		c.dev.outbound.Commit(t.batch.outgoing.Range)
	}
	t.batch = Batch{}
	f.Release()
}

const (
	// inlineReceivers is the largest number of receivers that the device's
	// reading goroutine may flush itself. Each flush takes 3 to 4 µs; a
	// flusher would cost more than half of that in addition, for its wake-up.
	// More receivers would delay other devices of the poller by over a
	// millisecond.
	inlineReceivers = 256
	// fewReceivers is the largest number of receivers for which a batch allows
	// an early flush, see session.Frame.AllowEarlyFlush.
	fewReceivers = 16
)

// deliverBatch passes a batch to all receivers of the device. Only deliverBatch
// and deliverLoss loop over receivers.
func (r *Router) deliverBatch(d *device, b *Batch) {
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

// deliverLoss reports samples that were lost between nodes to all receivers of
// the device.
func (r *Router) deliverLoss(d *device, lost federation.Samples) {
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

// skip advances the outbound position over samples that have no receiver, so
// that other nodes learn the device's position.
func (d *device) skip(from, to uint64) {
	if d.outbound != nil {
		d.outbound.Commit(d.outbound.Place(from, to))
	}
}
