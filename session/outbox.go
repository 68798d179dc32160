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
	// session that drops a text message is always closed.
	ErrSlowConsumer = errors.New("session: queue full, closing the slow consumer")
	// ErrSenderFlood: the queue is full of messages of the same sender; nothing was
	// queued, and the session stays open.
	ErrSenderFlood = errors.New("session: queue full of messages of the same sender")
)

// Account identifies the sender of a message in a session's queue. A sender whose
// messages fill most of the queue gets ErrSenderFlood, so that no sender can cause
// another session to be closed as a slow consumer. 0: the message has no account.
type Account uint32

// Overflow says what happens when a session's telemetry queue is full.
type Overflow string

const (
	// DropOldest drops the oldest queued telemetry, counts its samples, and reports
	// their ranges to the receiver with gateway.lost.
	DropOldest Overflow = "drop-oldest"
	// CloseSlow closes the session with 4004.
	CloseSlow Overflow = "close"
)

// flushTime says when a session's outbox must be flushed.
type flushTime uint8

const (
	flushNone flushTime = iota
	// flushWithinInterval: before the flush interval ends.
	flushWithinInterval
	// flushNow: as soon as the flusher is free.
	flushNow
)

// outbox holds the frames that wait to be written to one peer, in three queues:
// urgent messages, control messages, and telemetry. One limit is for the first two
// queues together, another for telemetry.
//
// mu guards all fields. mu is a leaf below the Manager's and the router's locks.
// No goroutine holds mu while it writes: the goroutine that flushes sets writing,
// unlocks mu and writes.
type outbox struct {
	mu        sync.Mutex
	urgent    queue
	control   queue
	telemetry queue
	// lost has the losses that must be reported before the queued telemetry; nil
	// for none.
	lost *lossLedger
	// closeFrame is written after all queued frames; nil for none.
	closeFrame *Frame
	// closing is set when the session begins to close. From then on the outbox
	// refuses all frames.
	closing bool
	// scheduled says that the flusher or the writer was told to flush the session,
	// and when. It is flushNone when no flush is scheduled or the flush has begun.
	scheduled flushTime
	// writing is true while a goroutine flushes the outbox; other goroutines must
	// not write. A goroutine that finds writing true sets again. Then the first
	// goroutine checks the queues once more before it ends.
	writing, again bool
	// overflowDetail says which queue was full, for the log.
	overflowDetail string
	// majority is the account that queued more than half of the text bytes since
	// the text queues were last empty, if there is such an account. majorityLead
	// is the lead of this account over all others, in bytes, see charge.
	majority     Account
	majorityLead int32
}

// Send queues a text frame ahead of all telemetry, and an urgent text frame also
// ahead of all text that is not urgent. Send never blocks and never writes: the
// caller calls Flush, FlushAfterRead or Schedule afterwards. The session takes its
// own reference to the frame.
func (s *Session) Send(f *Frame, urgent bool) error { return s.send(f, urgent, false) }

// send queues a text or control frame. With force, send queues the frame even when
// the queue is full.
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

// SendEnvelope queues a spliced message for this session alone, in the order of
// Send, and charges the account. Messages that wait together share one frame,
// because one frame for each message would cost more.
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

// lockQueue locks out.mu and returns the queue for a text frame of size bytes, and
// charges the frame to an account. The caller unlocks out.mu. When lockQueue
// returns an error, the frame cannot be queued, and out.mu is not locked.
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
		flood := account != 0 && account == o.majority
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

// charge counts size bytes that are about to be queued for an account. The
// majority vote algorithm (Boyer and Moore, MJRTY, 1981) finds the account with
// more than half of the bytes in one pass. The caller holds mu.
func (o *outbox) charge(account Account, size int) {
	n := int32(min(size, 1<<29))
	switch {
	case o.urgent.count+o.control.count == 0:
		o.majority, o.majorityLead = account, n
	case account == o.majority:
		o.majorityLead = min(o.majorityLead+n, 1<<30)
	case n > o.majorityLead:
		o.majority, o.majorityLead = account, n-o.majorityLead
	default:
		o.majorityLead -= n
	}
}

// Queued returns the number of bytes and frames in the urgent and the control
// queue.
func (s *Session) Queued() (bytes, frames int) {
	o := &s.out
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.urgent.bytes + o.control.bytes, int(o.urgent.count + o.control.count)
}

// hasRoom reports whether size more bytes fit into the urgent and the control
// queue. A frame of any size fits into empty queues. At the front of a queue, a
// frame larger than the limit does not count, because otherwise the next pong
// would not fit. The caller holds mu.
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

// earlyFlushDivisor: a frame with AllowEarlyFlush is flushed at once when more than
// TelemetryBytes/earlyFlushDivisor bytes of telemetry wait.
const earlyFlushDivisor = 4

// SendTelemetry queues telemetry and schedules a flush:
//
//   - at once, if nothing was sent to the peer for the flush interval. The
//     reading goroutine of by flushes at the end of its read event. When by is nil,
//     which is better for many receivers, the flusher does so;
//   - at once by the flusher, if the frame allows an early flush and a quarter of
//     the telemetry queue is filled;
//   - otherwise within the flush interval, so that more telemetry can join the
//     write.
//
// When the queue is full, SendTelemetry drops the oldest telemetry or closes the
// session, see Options.Overflow. The session takes its own reference to the frame.
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
		// The frame is larger than the whole queue, so it is lost.
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
		// A few more such frames would fill the queue before the interval ends.
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
// empty. It returns false when Options.Overflow forbids dropping, or when the
// ledger of losses is full. The caller holds out.mu.
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

// queueLoss queues the report of a loss behind the queued telemetry, so that the
// receiver gets each stream in order. It returns false in the cases of makeRoom.
// The caller holds out.mu.
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

// noteLoss enters a loss into the ledger. The losses in the ledger are reported
// before all queued telemetry. noteLoss returns false when the ledger is full. The
// caller holds mu.
func (o *outbox) noteLoss(r lostRange) bool {
	if o.lost == nil {
		o.lost = new(lossLedger)
	}
	return o.lost.add(r)
}

// ReportLoss tells this front end that a number of samples within [from, to) of a
// stream were lost before they reached its outbox. With samples = to-from all of
// them were; otherwise it is not known which ones, and the device did not send the
// other sample numbers. The report leaves after the queued telemetry and before
// later telemetry.
func (s *Session) ReportLoss(stream uint32, from, to, samples uint64, cause LossCause) {
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

// Schedule tells the session's flusher to write the outbox as soon as the flusher
// is free. Call Schedule after a message to many receivers, and Flush after a
// message to one receiver.
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

// overflow lets the wheel close the session as a slow consumer. The caller must
// not close the session, because the caller may hold locks that OnDisconnect takes.
func (s *Session) overflow(detail string) {
	s.out.mu.Lock()
	s.out.overflowDetail = detail
	s.out.mu.Unlock()
	if s.overflowed.CompareAndSwap(false, true) {
		s.m.wheel.Schedule(&s.timer, time.Now())
	}
}

// beginClose closes the outbox for further frames, drops the queued frames that
// mode does not keep, and sets the close frame. It returns false if closing has
// begun already.
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

// drop releases all frames, because the connection has ended.
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

// fill returns how full the outbox is, 0 to 1: the text queues or the telemetry
// queue, whichever is fuller.
func (o *outbox) fill(controlLimit, telemetryLimit int) float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	control := float64(o.urgent.bytes+o.control.bytes) / float64(controlLimit)
	telemetry := float64(o.telemetry.bytes) / float64(telemetryLimit)
	return min(max(control, telemetry), 1)
}
