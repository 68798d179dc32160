package session

import (
	"sync"
	"time"
)

const (
	// writeSize is how much is joined into one write. The kernel takes larger
	// writes no faster, and 64 KiB fits into a small machine's cache.
	writeSize = 64 << 10
	// writesPerTurn bounds what one session may write before others get their
	// turn.
	writesPerTurn = 16
)

// scratch is the workspace of one goroutine that flushes.
type scratch struct {
	buf    []byte
	frames []*Frame
}

var scratchPool = sync.Pool{New: func() any {
	return &scratch{buf: make([]byte, 0, writeSize), frames: make([]*Frame, 0, 128)}
}}

// Flush writes what is queued now, on the caller's goroutine when the
// transport never blocks, else by the session's own writer. Use it after a
// message to one receiver; for many receivers use Schedule. A write that fails
// ends the session here: the caller holds no lock that OnDisconnect takes.
func (s *Session) Flush() {
	if s.writer != nil {
		s.Schedule()
		return
	}
	sc := scratchPool.Get().(*scratch)
	s.flush(sc, false)
	scratchPool.Put(sc)
}

// flush takes everything that the peer may have now, joins it into as few
// writes as possible and makes them. Only the holder of the writing token is in
// its loop, so the order on the wire is the order of the lanes. promised is set
// by whoever was woken for this session and thereby keeps its promise; others
// leave the promise standing, or the session would be queued for a flusher
// again and again.
func (s *Session) flush(sc *scratch, promised bool) {
	o := &s.out
	o.mu.Lock()
	if promised {
		o.due = notDue
	}
	if o.writing {
		o.again = true
		o.mu.Unlock()
		return
	}
	o.writing = true
	for turn := 0; ; turn++ {
		o.again = false
		room, open := s.room()
		if !open {
			break
		}
		if turn == writesPerTurn && s.writer == nil {
			o.writing = false
			o.due = dueNow
			o.mu.Unlock()
			s.wake(dueNow)
			return
		}
		last := o.take(sc, min(room, writeSize))
		more := o.urgent.count+o.control.count+o.telemetry.count > 0 || o.closeFrame != nil || o.lost.pending()
		if len(sc.frames) > 0 || len(sc.buf) > 0 {
			o.mu.Unlock()
			err := s.write(sc)
			if err != nil {
				o.mu.Lock()
				o.writing = false
				o.mu.Unlock()
				s.m.lost(s, err)
				return
			}
			if last {
				s.closeSent.Store(true)
			}
			o.mu.Lock()
		}
		// Telemetry that came during the write has its own promise from the
		// flusher and waits for company until then.
		if !more && !o.again {
			break
		}
	}
	o.urgent.trim()
	o.control.trim()
	o.telemetry.trim()
	o.writing = false
	o.mu.Unlock()
	s.finishClose()
}

// room returns how many bytes may be handed to the transport. With too much on
// its way already it notes the stall, so that Writable wakes the session, and
// looks again: progress made in between would otherwise go unseen.
func (s *Session) room() (int, bool) {
	room := s.m.opts.InflightBytes - s.t.Buffered()
	if room > 0 {
		return room, true
	}
	s.stalled.Store(true)
	room = s.m.opts.InflightBytes - s.t.Buffered()
	if room > 0 {
		s.stalled.Store(false)
		return room, true
	}
	return 0, false
}

// take moves frames worth about room bytes, at least one, to the scratch:
// urgent, then control, then news of losses, then telemetry, then the close
// frame. It reports true when that was among them. The caller holds mu.
func (o *outbox) take(sc *scratch, room int) (last bool) {
	sc.frames, sc.buf = sc.frames[:0], sc.buf[:0]
	size := 0
	size = o.urgent.takeInto(sc, size, room)
	size = o.control.takeInto(sc, size, room)
	if o.urgent.count+o.control.count > 0 {
		return false
	}
	if o.lost.pending() {
		// The news goes ahead of the telemetry that follows the gap: all of it
		// first, in a write that it begins.
		if size > 0 {
			return false
		}
		sc.buf = o.lost.takeInto(sc.buf, room)
		size = len(sc.buf)
		if o.lost.pending() {
			return false
		}
		o.lost = nil
	}
	o.telemetry.takeInto(sc, size, room)
	if o.telemetry.count > 0 || o.closeFrame == nil {
		return false
	}
	sc.frames = append(sc.frames, o.closeFrame)
	o.closeFrame = nil
	return true
}

func (l *lane) takeInto(sc *scratch, size, room int) int {
	for l.count > 0 && len(sc.frames) < cap(sc.frames) {
		n := len(l.front().wire)
		if size > 0 && size+n > room {
			break
		}
		sc.frames = append(sc.frames, l.pop())
		size += n
	}
	return size
}

// write joins the scratch's frames into one write and releases them.
func (s *Session) write(sc *scratch) error {
	var messages, frames, samples uint64
	b := sc.buf
	if len(sc.frames) == 1 && len(b) == 0 {
		b = sc.frames[0].wire
	} else {
		for _, f := range sc.frames {
			b = append(b, f.wire...)
		}
		sc.buf = b
	}
	_, err := s.t.Write(b)
	size := uint64(len(b))
	for i, f := range sc.frames {
		switch {
		case f.telemetry:
			frames += uint64(f.frames)
			samples += f.Samples()
		default:
			messages += f.texts()
		}
		f.Release()
		sc.frames[i] = nil
	}
	if cap(sc.buf) > 4*writeSize {
		sc.buf = make([]byte, 0, writeSize)
	}
	if err != nil {
		return err
	}
	s.sentBytes.Add(size)
	// Our own pings must not keep an idle session from being closed.
	if messages+frames > 0 {
		s.lastOut.Store(s.m.coarseNow())
	}
	st := &s.m.stats
	st.Writes.Add(1)
	st.BytesOut.Add(size)
	if messages > 0 {
		st.MessagesOut.Add(messages)
	}
	if frames > 0 {
		st.TelemetryFramesOut.Add(frames)
		st.SamplesOut.Add(samples)
	}
	return nil
}

// Writable tells the session that the kernel took bytes which the transport
// had buffered. It may be called from inside the transport, with the
// transport's own lock held: it only marks the session.
func (s *Session) Writable() {
	if s.closeSent.Load() && s.peerClosed.Load() {
		// The closing handshake may be complete now.
		s.Schedule()
		return
	}
	if !s.stalled.Load() || s.t.Buffered() > s.m.opts.InflightBytes/2 {
		return
	}
	if s.stalled.CompareAndSwap(true, false) {
		s.Schedule()
	}
}

// wake hands the session to whoever flushes it.
func (s *Session) wake(d dueness) {
	if s.writer != nil {
		s.writer.wake(d)
		return
	}
	s.flusher.add(s, d)
}

// flusher writes for a share of the event-loop sessions.
//
// Goroutines: one, owned by the Manager, ended by stop.
type flusher struct {
	interval time.Duration
	wakeup   chan struct{}
	quit     chan struct{}
	done     chan struct{}

	// mu guards the lists; a leaf.
	mu    sync.Mutex
	now   []*Session
	later []*Session
	// since is when the first of later was added, for the interval's end.
	since time.Time
}

func newFlusher(interval time.Duration) *flusher {
	f := &flusher{
		interval: interval,
		wakeup:   make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go f.run()
	return f
}

func (f *flusher) add(s *Session, d dueness) {
	f.mu.Lock()
	var signal bool
	if d == dueNow || f.interval <= 0 {
		signal = len(f.now) == 0
		f.now = append(f.now, s)
	} else {
		if len(f.later) == 0 {
			f.since = time.Now()
			signal = len(f.now) == 0
		}
		f.later = append(f.later, s)
	}
	f.mu.Unlock()
	if signal {
		select {
		case f.wakeup <- struct{}{}:
		default:
		}
	}
}

func (f *flusher) run() {
	defer close(f.done)
	sc := &scratch{buf: make([]byte, 0, writeSize), frames: make([]*Frame, 0, 128)}
	alarm := time.NewTimer(time.Hour)
	alarm.Stop()
	var batch []*Session
	pause := f.interval
	for {
		f.mu.Lock()
		batch = append(batch[:0], f.now...)
		clear(f.now)
		f.now = f.now[:0]
		wait := time.Duration(-1)
		if len(f.later) > 0 {
			wait = pause - time.Since(f.since)
			if wait <= 0 {
				batch = append(batch, f.later...)
				clear(f.later)
				f.later = f.later[:0]
			}
		}
		f.mu.Unlock()
		if len(batch) > 0 {
			begun := time.Now()
			for i, s := range batch {
				s.flush(sc, true)
				batch[i] = nil
			}
			pause = stretched(f.interval, time.Since(begun))
			continue
		}
		if wait > 0 {
			alarm.Reset(wait)
		}
		select {
		case <-f.quit:
			return
		case <-f.wakeup:
		case <-alarm.C:
		}
	}
}

// stretched is how long telemetry waits for company after a round that took so
// long: writing shall take about half a processor as long as longer waits,
// up to four intervals, can help it.
func stretched(interval, round time.Duration) time.Duration {
	return max(interval, min(round*7/4, 4*interval))
}

func (f *flusher) stop() {
	close(f.quit)
	<-f.done
}
