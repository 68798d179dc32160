package session

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// firstPing draws a random point of the interval, so that sessions which came
// together do not ping together.
func (m *Manager) firstPing() int64 {
	return m.coarseNow() + rand.Int64N(int64(m.opts.HeartbeatInterval))
}

// Expire runs the session's deadlines: the heartbeat and idleness while it is
// open, the end of the grace time while it is closing.
func (s *Session) Expire(time.Time) {
	if !s.Open() {
		if s.phase.Load() == phaseGone {
			return
		}
		if !s.graceOver() {
			// Or it was armed for something else when the session began to close.
			s.armGrace()
			return
		}
		_ = s.t.Close()
		s.m.gone(s, errGrace)
		return
	}
	if s.overflowed.Load() {
		s.out.mu.Lock()
		detail := s.out.detail
		s.out.mu.Unlock()
		s.m.close(s, protocol.CloseSlowConsumer, detail, closeDiscard)
		return
	}
	opts := &s.m.opts
	now := s.m.coarseNow()
	if now >= s.silentBy() {
		silent := time.Duration(now - s.lastHeard.Load())
		s.m.close(s, protocol.CloseHeartbeatTimeout, fmt.Sprintf("nothing heard for %v", silent.Round(time.Millisecond)), closeDiscard)
		return
	}
	if opts.IdleTimeout > 0 && now >= s.idleBy() {
		quiet := time.Duration(now - s.lastMessage())
		s.m.close(s, protocol.CloseIdle, fmt.Sprintf("no application message for %v", quiet.Round(time.Millisecond)), closeAfterQueue)
		return
	}
	if now >= s.nextPing {
		s.ping(now)
		s.nextPing = now + int64(opts.HeartbeatInterval)
	}
	s.assess(now)
	s.schedule(s.nextPing)
}

// errGrace ends a closing handshake that the peer does not finish.
var errGrace = fmt.Errorf("session: the peer did not finish the closing handshake in time")

// schedule arms the timer for whichever deadline is next.
func (s *Session) schedule(nextPing int64) {
	opts := &s.m.opts
	next := min(nextPing, s.silentBy())
	if opts.IdleTimeout > 0 {
		next = min(next, s.idleBy())
	}
	s.m.wheel.Schedule(&s.timer, s.m.start.Add(time.Duration(next)))
	// Whoever began to close the session meanwhile armed the same timer, and
	// that has just been overwritten.
	switch {
	case s.phase.Load() == phaseGone:
		s.m.wheel.Cancel(&s.timer)
	case !s.Open():
		s.armGrace()
	case s.overflowed.Load():
		s.m.wheel.Schedule(&s.timer, time.Now())
	}
}

// silentBy returns when the session ends, in the Manager's time, if nothing is
// heard until then.
func (s *Session) silentBy() int64 {
	return s.spared(s.lastHeard.Load() + int64(s.m.opts.HeartbeatTimeout))
}

// idleBy is silentBy for application messages in either direction.
func (s *Session) idleBy() int64 { return s.spared(s.lastMessage() + int64(s.m.opts.IdleTimeout)) }

// spared returns deadline, or, after a stall of this process, the end of a
// heartbeat interval from then on if that is later: while the process neither
// read nor sent pings, a peer's silence proved nothing.
func (s *Session) spared(deadline int64) int64 {
	if stalled := s.m.wheel.stalled.Load(); stalled > 0 {
		deadline = max(deadline, stalled+int64(s.m.opts.HeartbeatInterval))
	}
	return deadline
}

// lastMessage returns when the last application message went in either
// direction, in the Manager's time.
func (s *Session) lastMessage() int64 { return max(s.lastIn.Load(), s.lastOut.Load()) }

// ping sends a ping that carries its own time of sending. It goes ahead of
// everything queued, so that a backlog is not taken for a dead peer, and is no
// reason to call the peer slow: there are few of them.
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
