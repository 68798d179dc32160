package session

import (
	"errors"
	"sync"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Errors of Send and SendTelemetry.
var (
	// ErrClosed: the session is closed or closing; nothing was queued.
	ErrClosed = errors.New("session: closed")
	// ErrSlowConsumer: the control lane is full; the session is being closed
	// with 4004, because a control message is never dropped in silence.
	ErrSlowConsumer = errors.New("session: control queue full, closing the slow consumer")
)

// Overflow says what happens when a session's telemetry lane is full.
type Overflow string

const (
	// DropOldest makes room by dropping the oldest queued telemetry, counts it
	// and tells the receiver the sample ranges with gateway.lost.
	DropOldest Overflow = "drop-oldest"
	// CloseSlow closes the session with 4004.
	CloseSlow Overflow = "close"
)

// dueness says how soon a session's queue must be flushed.
type dueness uint8

const (
	notDue dueness = iota
	// dueLater: within the flush interval.
	dueLater
	// dueNow: as soon as the flusher comes round.
	dueNow
)

// outbox holds what waits to be written to one peer, in two bounded lanes and
// a place in front of them for what is urgent.
//
// mu guards all fields. It is a leaf below the Manager's and the router's
// locks and is never held over a write: whoever flushes takes the writing
// token, lets go of mu and writes.
type outbox struct {
	mu        sync.Mutex
	urgent    lane
	control   lane
	telemetry lane
	// lost is nil until the first telemetry is dropped.
	lost *lossLedger
	// closeFrame goes out after what is queued.
	closeFrame *Frame
	// closing: no more is accepted.
	closing bool
	// due is how soon a flusher has promised to come.
	due dueness
	// writing is the token of the one goroutine that writes; again asks it to
	// look once more before it leaves.
	writing, again bool
	// detail says what overflowed.
	detail string
}

// Send queues a text frame, behind everything urgent and before all telemetry;
// urgent puts it in front of both. It never blocks and never writes: the
// caller follows with Flush, Touch or Schedule. The session takes a reference
// of its own.
func (s *Session) Send(f *Frame, urgent bool) error { return s.send(f, urgent, false) }

// send queues a text or control frame, with force even when the lane is full.
func (s *Session) send(f *Frame, urgent, force bool) error {
	l, err := s.admit(len(f.wire), urgent, force)
	if err != nil {
		return err
	}
	f.Retain()
	l.push(f)
	s.out.mu.Unlock()
	return nil
}

// SendEnvelope queues a routed message, spliced, for this session alone, as
// Send does. It is cheaper than a frame of its own: what comes together is
// joined as it comes.
func (s *Session) SendEnvelope(e *protocol.Envelope, sp protocol.Splice, urgent bool) error {
	n := e.SplicedSize(sp)
	size := wsframe.HeaderSize(n) + n
	l, err := s.admit(size, urgent, false)
	if err != nil {
		return err
	}
	f := l.last()
	if f == nil || f.messages == 0 || len(f.wire)+size > cap(f.wire) {
		f = newFrameBehind(f, size)
		l.push(f)
	}
	f.messages++
	f.wire = e.AppendSpliced(wsframe.AppendHeader(f.wire, wsframe.OpText, n), sp)
	l.bytes += size
	s.out.mu.Unlock()
	return nil
}

// admit returns the lane for a text frame of size bytes, with out.mu held, or
// the reason why it cannot be queued.
func (s *Session) admit(size int, urgent, force bool) (*lane, error) {
	o := &s.out
	o.mu.Lock()
	switch {
	case o.closing:
		o.mu.Unlock()
		return nil, ErrClosed
	case s.overflowed.Load():
		o.mu.Unlock()
		return nil, ErrSlowConsumer
	case !force && !o.roomFor(size, s.controlLimit()):
		o.mu.Unlock()
		s.overflow("control queue full")
		return nil, ErrSlowConsumer
	case urgent:
		return &o.urgent, nil
	}
	return &o.control, nil
}

// Queued returns how many bytes of text and control frames wait, and in how
// many frames.
func (s *Session) Queued() (bytes, frames int) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.urgent.bytes + o.control.bytes, int(o.urgent.count + o.control.count)
}

// roomFor reports whether size more bytes fit behind what is urgent and
// control. A frame of any size fits when nothing waits, and while it waits
// itself it is not counted, or the next pong would be one too much. The caller
// holds mu.
func (o *outbox) roomFor(size, limit int) bool {
	waiting := o.urgent.bytes + o.control.bytes
	if waiting+size <= limit || o.urgent.count+o.control.count == 0 {
		return true
	}
	for _, l := range [...]*lane{&o.urgent, &o.control} {
		if f := l.front(); f != nil && len(f.wire) > limit {
			waiting -= len(f.wire)
		}
	}
	return waiting+size <= limit
}

// earlyPart is the part of the telemetry lane that does not wait for company any
// longer.
const earlyPart = 4

// SendTelemetry queues telemetry and has it flushed within the flush interval,
// or at once when nothing was sent for that long: by the session by, at the end
// of its read event, or with by nil by the flusher, the way for many receivers.
// When a quarter of what may wait does, a frame that goes to few receivers has
// all of it flushed as soon as the flusher comes round.
// When the lane is full the oldest gives way or the session is closed, as the
// Manager's options say. The session takes a reference of its own.
func (s *Session) SendTelemetry(f *Frame, by *Session) error {
	o := &s.out
	o.mu.Lock()
	if o.closing || s.overflowed.Load() {
		o.mu.Unlock()
		return ErrClosed
	}
	var ok bool
	switch limit := s.m.opts.TelemetryBytes; {
	case len(f.wire) <= limit:
		if ok = s.makeRoom(len(f.wire)); ok {
			f.Retain()
			o.telemetry.push(f)
		}
	case s.m.opts.Overflow == CloseSlow:
	default:
		// Larger than the whole lane.
		s.countLoss(f)
		ok = s.queueLoss(exactLoss(f.stream, f.from, f.to, LossSlowConsumer))
	}
	if !ok {
		o.mu.Unlock()
		s.overflow("telemetry queue full")
		return ErrSlowConsumer
	}
	due := dueLater
	switch {
	case o.telemetry.bytes > s.m.opts.TelemetryBytes/earlyPart && f.forFew && !s.stalled.Load():
		// With more such bursts the lane would be full before its turn comes.
		due = dueNow
	case o.due == notDue && f.heard-s.lastOut.Load() >= int64(s.m.opts.FlushInterval):
		// Nothing went out of late: waiting would only add latency.
		due = dueNow
		if by != nil && s.writer == nil {
			o.mu.Unlock()
			by.Touch(s)
			return nil
		}
	}
	if due <= o.due {
		o.mu.Unlock()
		return nil
	}
	o.due = due
	o.mu.Unlock()
	s.wake(due)
	return nil
}

// makeRoom drops the oldest telemetry until size more bytes fit, or nothing is
// left to drop. It reports false when the policy is not to drop, or when there
// are losses of too many streams to tell. The caller holds out.mu.
func (s *Session) makeRoom(size int) bool {
	o := &s.out
	for o.telemetry.count > 0 && o.telemetry.bytes+size > s.m.opts.TelemetryBytes {
		if s.m.opts.Overflow == CloseSlow {
			return false
		}
		old := o.telemetry.pop()
		cause := old.cause
		if cause == "" {
			cause = LossSlowConsumer
			s.countLoss(old)
		}
		ok := o.noteLoss(exactLoss(old.stream, old.from, old.to, cause))
		old.Release()
		if !ok {
			return false
		}
	}
	return true
}

// queueLoss has a loss told behind the telemetry that is queued, so that the
// receiver sees each stream in order. It reports false as makeRoom does. The
// caller holds out.mu.
func (s *Session) queueLoss(r lostRange) bool {
	o := &s.out
	if o.telemetry.count > 0 {
		f := newLossFrame(r)
		if !s.makeRoom(len(f.wire)) {
			f.Release()
			return false
		}
		if o.telemetry.count > 0 {
			o.telemetry.push(f)
			return true
		}
		f.Release()
	}
	return o.noteLoss(r)
}

// noteLoss has a loss told ahead of all telemetry that is queued. It reports
// false when the ledger is full. The caller holds mu.
func (o *outbox) noteLoss(r lostRange) bool {
	if o.lost == nil {
		o.lost = new(lossLedger)
	}
	return o.lost.add(r)
}

// ReportLoss tells this front end that samples [from, to) of a stream were
// lost before they reached its outbox, behind the telemetry that is queued and
// ahead of what follows.
func (s *Session) ReportLoss(stream uint32, from, to uint64, cause LossCause) {
	o := &s.out
	o.mu.Lock()
	if o.closing {
		o.mu.Unlock()
		return
	}
	ok := s.queueLoss(exactLoss(stream, from, to, cause))
	o.mu.Unlock()
	if !ok {
		s.overflow("losses of too many streams to tell")
		return
	}
	s.lostSamples.Add(to - from)
	s.m.stats.LostSamples.Add(to - from)
	s.Schedule()
}

// Schedule asks the session's flusher to write what is queued as soon as it
// can, together with all other sessions that are due: the way for a message to
// many receivers.
func (s *Session) Schedule() {
	o := &s.out
	o.mu.Lock()
	if o.writing {
		o.again = true
		o.mu.Unlock()
		return
	}
	if o.due == dueNow {
		o.mu.Unlock()
		return
	}
	o.due = dueNow
	o.mu.Unlock()
	s.wake(dueNow)
}

// overflow has the session closed as a slow consumer by the wheel: a sender may
// hold locks that OnDisconnect needs, so the close cannot happen here.
func (s *Session) overflow(detail string) {
	s.out.mu.Lock()
	s.out.detail = detail
	s.out.mu.Unlock()
	if s.overflowed.CompareAndSwap(false, true) {
		s.m.wheel.Schedule(&s.timer, time.Now())
	}
}

// shut stops the outbox from accepting and puts the close frame behind what the
// mode leaves of the queues. It reports false when the outbox was shut already.
func (o *outbox) shut(code protocol.CloseCode, reason string, mode closeMode) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	o.closing = true
	if mode != closeAfterAll {
		o.telemetry.clear()
		o.lost = nil
	}
	if mode == closeDiscard {
		o.urgent.clear()
		o.control.clear()
	}
	f := NewFrame(wsframe.HeaderSize(len(reason)+2) + len(reason) + 2)
	f.wire = wsframe.AppendClose(f.wire, uint16(code), reason)
	o.closeFrame = f
	return true
}

// drop releases everything: the socket is gone.
func (o *outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closing = true
	o.urgent.clear()
	o.control.clear()
	o.telemetry.clear()
	o.lost = nil
	if o.closeFrame != nil {
		o.closeFrame.Release()
		o.closeFrame = nil
	}
}

// fill returns how full the fuller lane is, 0 to 1.
func (o *outbox) fill(controlLimit, telemetryLimit int) float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	control := float64(o.urgent.bytes+o.control.bytes) / float64(controlLimit)
	telemetry := float64(o.telemetry.bytes) / float64(telemetryLimit)
	return min(max(control, telemetry), 1)
}
