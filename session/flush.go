package session

import (
	"sync"
)

const (
	// writeSize is how many bytes are joined into one write. Larger writes are not
	// faster, and 64 KiB fits into the cache of a small machine.
	writeSize = 64 << 10
	// maxWrites bounds the writes of one session before the flusher goes on to the
	// next.
	maxWrites = 16
)

// scratch holds what one write is made of, for one goroutine that flushes.
type scratch struct {
	buf    []byte
	frames []*Frame
}

var scratchPool = sync.Pool{New: func() any {
	return &scratch{buf: make([]byte, 0, writeSize), frames: make([]*Frame, 0, 128)}
}}

// Flush writes what waits: on the caller's goroutine if the transport never
// blocks, else on the session's own writer. Use it after a message to one
// receiver; for many receivers use Schedule. A write that fails ends the session
// and calls OnDisconnect, so the caller must hold no lock that OnDisconnect takes.
func (s *Session) Flush() {
	if s.writer != nil {
		s.Schedule()
		return
	}
	sc := scratchPool.Get().(*scratch)
	s.flush(sc, false)
	scratchPool.Put(sc)
}

// flush writes as much of what waits as the transport may have now, in as few
// writes as possible. One goroutine at a time is in the loop, so frames leave in
// the order of the queues. scheduled is true on the goroutine that was woken for
// this session: only that one clears outbox.scheduled, because otherwise the
// session would be added to a flusher's list again and again.
func (s *Session) flush(sc *scratch, scheduled bool) {
	o := &s.out
	o.mu.Lock()
	if scheduled {
		o.scheduled = flushNone
	}
	if o.writing {
		o.again = true
		o.mu.Unlock()
		return
	}
	o.writing = true
	for n := 0; ; n++ {
		o.again = false
		room, open := s.inflightRoom()
		if !open {
			break
		}
		if n == maxWrites && s.writer == nil {
			o.writing = false
			o.scheduled = flushNow
			o.mu.Unlock()
			s.wake(flushNow)
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
				s.m.writeFailed(s, err)
				return
			}
			if last {
				s.closeSent.Store(true)
			}
			o.mu.Lock()
		}
		// Telemetry that came during the write has a flush of its own scheduled
		// and may wait for it.
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

// inflightRoom returns how many bytes may be handed to the transport. Without room
// it marks the session as stalled, so that Writable schedules a flush, and looks
// again, because the kernel may have taken bytes in between.
func (s *Session) inflightRoom() (int, bool) {
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

// take moves about room bytes of frames, at least one frame, to the scratch:
// urgent, control, reports of losses, telemetry, then the close frame. It reports
// whether the close frame was among them. The caller holds mu.
func (o *outbox) take(sc *scratch, room int) (last bool) {
	sc.frames, sc.buf = sc.frames[:0], sc.buf[:0]
	size := 0
	size = o.urgent.takeInto(sc, size, room)
	size = o.control.takeInto(sc, size, room)
	if o.urgent.count+o.control.count > 0 {
		return false
	}
	if o.lost.pending() {
		// All reports go ahead of the telemetry that follows the losses, in a
		// write that begins with them.
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

// takeInto moves frames to the scratch, which holds size bytes already, until room
// bytes are reached. It returns the bytes that the scratch holds then.
func (q *queue) takeInto(sc *scratch, size, room int) int {
	for q.count > 0 && len(sc.frames) < cap(sc.frames) {
		n := len(q.front().wire)
		if size > 0 && size+n > room {
			break
		}
		sc.frames = append(sc.frames, q.pop())
		size += n
	}
	return size
}

// write joins the scratch's frames into one write, releases them and counts them.
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
			messages += f.textMessages()
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
	// Pings of the gateway must not keep an idle session open.
	if messages+frames > 0 {
		s.lastOut.Store(s.m.now())
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

// Writable tells the session that the kernel took bytes which the transport had
// buffered. The transport may call it with its own lock held: Writable writes
// nothing and at most schedules a flush.
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
