package session

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// firstPing returns a random time within the next heartbeat interval, so that
// sessions that connect at the same time get their pings at different times.
func (m *Manager) firstPing() int64 {
	return m.now() + rand.Int64N(int64(m.opts.HeartbeatInterval))
}

// Expire handles a deadline of the session, on the wheel's goroutine. An open
// session has deadlines for pings, the heartbeat timeout and the idle timeout. A
// closing session has a deadline at the end of the grace time.
func (s *Session) Expire(time.Time) {
	if !s.Open() {
		if s.phase.Load() == phaseGone {
			return
		}
		if !s.graceExpired() {
			// The timer was set before the session began to close, or the peer has
			// not received everything yet.
			s.scheduleGraceEnd()
			return
		}
		if s.finishLate() {
			return
		}
		_ = s.t.Close()
		s.m.connectionEnded(s, errCloseTimeout)
		return
	}
	if s.overflowed.Load() {
		s.out.mu.Lock()
		detail := s.out.overflowDetail
		s.out.mu.Unlock()
		s.m.close(s, protocol.CloseSlowConsumer, detail, closeDiscard)
		return
	}
	opts := &s.m.opts
	now := s.m.now()
	if now >= s.heartbeatDeadline() {
		silent := time.Duration(now - s.lastHeard.Load())
		s.m.close(s, protocol.CloseHeartbeatTimeout, fmt.Sprintf("nothing heard for %v", silent.Round(time.Millisecond)), closeDiscard)
		return
	}
	if opts.IdleTimeout > 0 && now >= s.idleDeadline() {
		quiet := time.Duration(now - s.lastMessage())
		s.m.close(s, protocol.CloseIdle, fmt.Sprintf("no application message for %v", quiet.Round(time.Millisecond)), closeAfterQueue)
		return
	}
	if now >= s.nextPing {
		s.ping(now)
		s.nextPing = now + int64(opts.HeartbeatInterval)
	}
	s.updateHealth(now)
	s.schedule(s.nextPing)
}

// errCloseTimeout: the peer did not answer our close frame within the grace time.
var errCloseTimeout = fmt.Errorf("session: the peer did not finish the closing handshake in time")

// schedule sets the timer to the next deadline.
func (s *Session) schedule(nextPing int64) {
	opts := &s.m.opts
	next := min(nextPing, s.heartbeatDeadline())
	if opts.IdleTimeout > 0 {
		next = min(next, s.idleDeadline())
	}
	s.m.wheel.Schedule(&s.timer, s.m.start.Add(time.Duration(next)))
	// Another goroutine may have begun to close the session meanwhile. It has set
	// the same timer, and the line above has overwritten that.
	switch {
	case s.phase.Load() == phaseGone:
		s.m.wheel.Cancel(&s.timer)
	case !s.Open():
		s.scheduleGraceEnd()
	case s.overflowed.Load():
		s.m.wheel.Schedule(&s.timer, time.Now())
	}
}

// heartbeatDeadline returns the time at which the session is closed if nothing
// arrives before, in the Manager's time.
func (s *Session) heartbeatDeadline() int64 {
	return s.afterStall(s.lastHeard.Load() + int64(s.m.opts.HeartbeatTimeout))
}

// idleDeadline returns the time at which the session is closed if no application
// message is received or sent before, in the Manager's time.
func (s *Session) idleDeadline() int64 {
	return s.afterStall(s.lastMessage() + int64(s.m.opts.IdleTimeout))
}

// afterStall returns the later of deadline and one heartbeat interval after the
// last stall of this process. While the process neither read nor sent pings, a
// silent peer was not necessarily a dead one.
func (s *Session) afterStall(deadline int64) int64 {
	if stalled := s.m.wheel.stalled.Load(); stalled > 0 {
		deadline = max(deadline, stalled+int64(s.m.opts.HeartbeatInterval))
	}
	return deadline
}

// lastMessage returns the time of the last application message that was received
// or sent, in the Manager's time.
func (s *Session) lastMessage() int64 { return max(s.lastIn.Load(), s.lastOut.Load()) }

// ping sends a ping with the time of sending as its payload. The ping is urgent,
// so that a peer with a long queue still answers in time. The ping may enter a full
// queue, because a ping must not make a peer a slow consumer.
func (s *Session) ping(now int64) {
	var payload [8]byte
	binary.BigEndian.PutUint64(payload[:], uint64(now))
	f := NewFrame(wsframe.HeaderSize(len(payload)) + len(payload))
	f.Extend(func(b []byte) []byte { return wsframe.AppendFrame(b, wsframe.OpPing, payload[:]) })
	if s.send(f, true, true) == nil {
		s.unanswered.Add(1)
		s.Schedule()
	}
	f.Release()
}
