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
	// ErrSlowConsumer: a queue is full; the session is being closed with 4004. A
	// text message is never dropped in silence.
	ErrSlowConsumer = errors.New("session: queue full, closing the slow consumer")
	// ErrSenderFlood: the queue is full of messages of the same sender; nothing was
	// queued, and the session stays.
	ErrSenderFlood = errors.New("session: queue full of messages of the same sender")
)

// Account names the sender who is charged for what waits in a session's queue, so
// that a sender cannot have others closed as slow consumers; 0: nobody is charged.
type Account uint32

// Overflow says what happens when a session's telemetry queue is full.
type Overflow string

const (
	// DropOldest makes room by dropping the oldest queued telemetry, counts it
	// and tells the receiver the sample ranges with gateway.lost.
	DropOldest Overflow = "drop-oldest"
	// CloseSlow closes the session with 4004.
	CloseSlow Overflow = "close"
)

// flushTime says how soon a session's outbox must be flushed.
type flushTime uint8

const (
	flushNone flushTime = iota
	// flushWithinInterval: at the latest after the flush interval.
	flushWithinInterval
	// flushNow: as soon as the flusher has time.
	flushNow
)

// outbox holds what waits to be written to one peer: urgent messages, other text
// and control frames, and telemetry. One bound holds for the first two queues
// together, another for telemetry.
//
// mu guards all fields. It is a leaf below the Manager's and the router's locks
// and is never held over a write: the goroutine that flushes sets writing,
// unlocks mu and writes.
type outbox struct {
	mu        sync.Mutex
	urgent    queue
	control   queue
	telemetry queue
	// lost is nil until the first telemetry is dropped.
	lost *lossLedger
	// closeFrame goes out after what is queued.
	closeFrame *Frame
	// closing: nothing more is accepted.
	closing bool
	// scheduled is the flush for which a flusher was woken and that it has not
	// begun.
	scheduled flushTime
	// writing is set while a goroutine writes; no other writes meanwhile. again
	// asks that goroutine to look for more before it ends.
	writing, again bool
	// overflowDetail says which queue was full, for the log.
	overflowDetail string
	// top is the account with most of the text since the text queues were last
	// empty, if one has more than half: topBytes is how much more than the others.
	top      Account
	topBytes int32
}

// Send queues a text frame, ahead of all telemetry; an urgent one also goes ahead
// of all text that is not urgent. Send never blocks and never writes: the caller
// calls Flush, FlushAfterRead or Schedule afterwards. The session takes a reference of its
// own.
func (s *Session) Send(f *Frame, urgent bool) error { return s.send(f, urgent, false) }

// send queues a text or control frame, with force even when the queue is full.
func (s *Session) send(f *Frame, urgent, force bool) error {
	q, err := s.lockQueue(len(f.wire), urgent, force, f.account)
	if err != nil {
		return err
	}
	f.Retain()
	q.push(f)
	s.out.mu.Unlock()
	return nil
}

// SendEnvelope queues a routed message, spliced, for this session alone, as Send
// does, and charges the account. Messages that wait together share a frame, which
// is cheaper than one frame each.
func (s *Session) SendEnvelope(e *protocol.Envelope, sp protocol.Splice, urgent bool, account Account) error {
	n := e.SplicedSize(sp)
	size := wsframe.HeaderSize(n) + n
	q, err := s.lockQueue(size, urgent, false, account)
	if err != nil {
		return err
	}
	f := q.last()
	if f == nil || f.messages == 0 || len(f.wire)+size > cap(f.wire) {
		f = newJoinFrame(f, size)
		q.push(f)
	}
	f.messages++
	f.wire = e.AppendSpliced(wsframe.AppendHeader(f.wire, wsframe.OpText, n), sp)
	q.bytes += size
	s.out.mu.Unlock()
	return nil
}

// lockQueue returns the queue for a text frame of size bytes, charges the frame to
// an account and leaves out.mu locked. With an error the frame cannot be queued,
// and out.mu is not locked.
func (s *Session) lockQueue(size int, urgent, force bool, account Account) (*queue, error) {
	o := &s.out
	o.mu.Lock()
	switch {
	case o.closing:
		o.mu.Unlock()
		return nil, ErrClosed
	case s.overflowed.Load():
		o.mu.Unlock()
		return nil, ErrSlowConsumer
	case !force && !o.hasRoom(size, s.controlLimit()):
		flood := account != 0 && account == o.top
		o.mu.Unlock()
		if flood {
			return nil, ErrSenderFlood
		}
		s.overflow("control queue full")
		return nil, ErrSlowConsumer
	}
	o.charge(account, size)
	if urgent {
		return &o.urgent, nil
	}
	return &o.control, nil
}

// charge notes that size bytes of an account's are about to be queued. It finds
// the account with the majority of the bytes in one pass (Boyer and Moore, MJRTY,
// 1981). The caller holds mu.
func (o *outbox) charge(account Account, size int) {
	n := int32(min(size, 1<<29))
	switch {
	case o.urgent.count+o.control.count == 0:
		o.top, o.topBytes = account, n
	case account == o.top:
		o.topBytes = min(o.topBytes+n, 1<<30)
	case n > o.topBytes:
		o.top, o.topBytes = account, n-o.topBytes
	default:
		o.topBytes -= n
	}
}

// Queued returns how many bytes of text and control frames wait, and in how
// many frames.
func (s *Session) Queued() (bytes, frames int) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.urgent.bytes + o.control.bytes, int(o.urgent.count + o.control.count)
}

// hasRoom reports whether size more bytes fit into the urgent and the control
// queue. A frame of any size fits into empty queues; if it is larger than the
// limit it is not counted while it waits, because otherwise the next pong would
// not fit. The caller holds mu.
func (o *outbox) hasRoom(size, limit int) bool {
	waiting := o.urgent.bytes + o.control.bytes
	if waiting+size <= limit || o.urgent.count+o.control.count == 0 {
		return true
	}
	for _, q := range [...]*queue{&o.urgent, &o.control} {
		if f := q.front(); f != nil && len(f.wire) > limit {
			waiting -= len(f.wire)
		}
	}
	return waiting+size <= limit
}

// earlyFlushDivisor: a frame with AllowEarlyFlush is flushed at once when the
// telemetry queue is filled to one part in this many.
const earlyFlushDivisor = 4

// SendTelemetry queues telemetry and schedules a flush:
//
//   - at once, if nothing was sent to the peer for the flush interval: on the
//     goroutine of by at the end of its read event, or, with by nil, by the
//     flusher, which is better for many receivers;
//   - at once by the flusher, if the frame allows an early flush and a quarter of
//     the telemetry queue is filled;
//   - within the flush interval otherwise, so that more can join the write.
//
// When the queue is full the oldest telemetry is dropped or the session is
// closed, as Options.Overflow says. The session takes a reference of its own.
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
		// Larger than the whole queue.
		s.countLoss(f)
		ok = s.queueLoss(exactLoss(f.stream, f.from, f.to, LossSlowConsumer))
	}
	if !ok {
		o.mu.Unlock()
		s.overflow("telemetry queue full")
		return ErrSlowConsumer
	}
	when := flushWithinInterval
	switch {
	case o.telemetry.bytes > s.m.opts.TelemetryBytes/earlyFlushDivisor && f.earlyFlush && !s.stalled.Load():
		// A few more of these would fill the queue before the interval ends.
		when = flushNow
	case o.scheduled == flushNone && f.arrival-s.lastOut.Load() >= int64(s.m.opts.FlushInterval):
		// Nothing was sent for an interval: waiting would only add latency.
		when = flushNow
		if by != nil && s.writer == nil {
			o.mu.Unlock()
			by.FlushAfterRead(s)
			return nil
		}
	}
	if when <= o.scheduled {
		o.mu.Unlock()
		return nil
	}
	o.scheduled = when
	o.mu.Unlock()
	s.wake(when)
	return nil
}

// makeRoom drops the oldest telemetry until size more bytes fit or the queue is
// empty. It reports false when Options.Overflow forbids dropping, or when there
// are losses of too many streams to report. The caller holds out.mu.
func (s *Session) makeRoom(size int) bool {
	o := &s.out
	for o.telemetry.count > 0 && o.telemetry.bytes+size > s.m.opts.TelemetryBytes {
		if s.m.opts.Overflow == CloseSlow {
			return false
		}
		old := o.telemetry.pop()
		loss := lossWithin(old.stream, old.from, old.to, old.lost, old.cause)
		if old.cause == "" {
			loss = exactLoss(old.stream, old.from, old.to, LossSlowConsumer)
			s.countLoss(old)
		}
		ok := o.noteLoss(loss)
		old.Release()
		if !ok {
			return false
		}
	}
	return true
}

// queueLoss queues the report of a loss behind the telemetry that waits, so that
// the receiver sees each stream in order. It reports false as makeRoom does. The
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

// noteLoss enters a loss into the ledger, which is reported ahead of all telemetry
// that waits. It reports false when the ledger is full. The caller holds mu.
func (o *outbox) noteLoss(r lostRange) bool {
	if o.lost == nil {
		o.lost = new(lossLedger)
	}
	return o.lost.add(r)
}

// ReportLoss tells this front end that samples [from, to) of a stream were lost
// before they reached its outbox. The report goes behind the telemetry that
// waits and ahead of what follows.
func (s *Session) ReportLoss(stream uint32, from, to uint64, cause LossCause) {
	s.ReportLossWithin(stream, from, to, to-from, cause)
}

// ReportLossWithin is ReportLoss when so many samples within [from, to) were lost:
// the device left out the others. It does not say which.
func (s *Session) ReportLossWithin(stream uint32, from, to, samples uint64, cause LossCause) {
	o := &s.out
	o.mu.Lock()
	if o.closing {
		o.mu.Unlock()
		return
	}
	ok := s.queueLoss(lossWithin(stream, from, to, samples, cause))
	o.mu.Unlock()
	if !ok {
		s.overflow("losses of too many streams to report")
		return
	}
	s.lostSamples.Add(samples)
	s.m.stats.LostSamples.Add(samples)
	s.Schedule()
}

// Schedule asks the session's flusher to write what waits as soon as it has time.
// Use it for a message to many receivers; Flush for a message to one.
func (s *Session) Schedule() {
	o := &s.out
	o.mu.Lock()
	if o.writing {
		o.again = true
		o.mu.Unlock()
		return
	}
	if o.scheduled == flushNow {
		o.mu.Unlock()
		return
	}
	o.scheduled = flushNow
	o.mu.Unlock()
	s.wake(flushNow)
}

// overflow lets the wheel close the session as a slow consumer. The caller cannot
// close it, since it may hold locks that OnDisconnect takes.
func (s *Session) overflow(detail string) {
	s.out.mu.Lock()
	s.out.overflowDetail = detail
	s.out.mu.Unlock()
	if s.overflowed.CompareAndSwap(false, true) {
		s.m.wheel.Schedule(&s.timer, time.Now())
	}
}

// beginClose lets the outbox accept nothing more and puts the close frame behind
// what mode leaves of the queues. It reports false if closing has begun already.
func (o *outbox) beginClose(code protocol.CloseCode, reason string, mode closeMode) bool {
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

// drop releases everything, because the connection has ended.
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

// fill returns how full the fuller of the two bounds is, 0 to 1.
func (o *outbox) fill(controlLimit, telemetryLimit int) float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	control := float64(o.urgent.bytes+o.control.bytes) / float64(controlLimit)
	telemetry := float64(o.telemetry.bytes) / float64(telemetryLimit)
	return min(max(control, telemetry), 1)
}
