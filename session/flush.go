package session

import (
	"sync"
)

const (
	// writeSize is the number of bytes that flush joins into one write. Larger
	// writes are not faster, and 64 KiB fits into the cache of a small machine.
	writeSize = 64 << 10
	// maxWrites bounds the writes for one session before the flusher continues with
	// the next session.
	maxWrites = 16
)

// scratch holds the frames and bytes of one write. Only one goroutine uses it at a
// time.
type scratch struct {
	buf    []byte
	frames []*Frame
}

var scratchPool = sync.Pool{New: func() any {
	return &scratch{buf: make([]byte, 0, writeSize), frames: make([]*Frame, 0, 128)}
}}

// Flush writes the outbox: on the caller's goroutine if the transport never
// blocks, otherwise on the session's own writer. Call Flush after a message to one
// receiver, and Schedule after a message to many receivers. A failed write ends
// the session and calls OnDisconnect, so the caller must not hold a lock that
// OnDisconnect takes.
func (s *Session) Flush() {
	if s.writer != nil {
		s.Schedule()
		return
	}
	sc := scratchPool.Get().(*scratch)
	s.flush(sc, false)
	scratchPool.Put(sc)
}

// flush writes as much of the outbox as the transport has room for, in as few
// writes as possible. Only one goroutine at a time writes, so frames leave in the
// order of the queues. scheduled is true when the flusher or the writer calls
// flush. Only these calls reset outbox.scheduled. If other calls did so, the
// session could be several times in a flusher's list.
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
		// Telemetry that was queued during the write needs no further write here:
		// SendTelemetry has scheduled another flush.
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

// inflightRoom returns the number of bytes that the session may pass to the
// transport now. Without room it marks the session as stalled, so that Writable
// schedules a flush. Then it checks again, because the kernel may have taken bytes
// before the mark was set.
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

// take moves frames to the scratch, about room bytes and at least one frame. The
// order is urgent messages, control messages, reports of losses, telemetry, close
// frame. last is true when the close frame was moved. The caller holds mu.
func (o *outbox) take(sc *scratch, room int) (last bool) {
	sc.frames, sc.buf = sc.frames[:0], sc.buf[:0]
	size := 0
	size = o.urgent.takeInto(sc, size, room)
	size = o.control.takeInto(sc, size, room)
	if o.urgent.count+o.control.count > 0 {
		return false
	}
	if o.lost.pending() {
		// All reports leave before the telemetry that follows the losses. A write
		// with reports begins with the reports.
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

// takeInto moves frames to the scratch until the scratch holds room bytes. size is
// the number of bytes in the scratch before; the result is the number afterwards.
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

// Writable tells the session that the kernel has taken bytes that the transport
// had buffered. The transport may hold its own lock, because Writable does not
// write; it only schedules a flush.
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
