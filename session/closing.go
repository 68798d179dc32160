package session

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
)

// Cause says why a session ended.
type Cause struct {
	// Code is the WebSocket close code; 1006 when no close frame was exchanged.
	Code protocol.CloseCode
	// Reason is the name of a close code, ReasonConnectionLost or
	// ReasonClosedByPeer. The log, the metrics and gateway.device_offline use it.
	Reason string
	// Detail is a text for the log only.
	Detail string
}

// Reasons of sessions that the gateway did not close.
const (
	ReasonConnectionLost = "connection_lost"
	ReasonClosedByPeer   = "closed_by_peer"
)

// closeMode says which queued messages are sent before the close frame.
type closeMode uint8

const (
	// closeAfterQueue sends urgent and control messages first.
	closeAfterQueue closeMode = iota
	// closeDiscard sends nothing: the peer does not read, or must not get anything
	// more.
	closeDiscard
	// closeAfterAll sends everything first, including telemetry and reports of
	// losses: the gateway shuts down, and the peer should lose nothing.
	closeAfterAll
)

// close removes s from the indexes and starts the closing handshake (RFC 6455
// section 7.1.2). The transport is closed when the peer's close frame has arrived,
// or after the grace time.
func (m *Manager) close(s *Session, code protocol.CloseCode, detail string, mode closeMode) {
	m.closeAs(s, Cause{Code: code, Reason: code.Name(), Detail: detail}, code, code.Name(), mode)
}

// closeAs does the same as close, with a close frame that differs from the cause.
func (m *Manager) closeAs(s *Session, cause Cause, code protocol.CloseCode, reason string, mode closeMode) {
	if !s.out.beginClose(code, reason, mode) {
		return
	}
	s.draining.Store(code == protocol.CloseGoingAway)
	s.graceEnd.Store(m.now() + int64(m.opts.CloseGrace))
	m.closing.add(s)
	m.unregister(s, cause)
	s.scheduleGraceEnd()
	s.Schedule()
}

// graceExpired reports whether the grace time of a closing session has ended.
// While the gateway shuts down, the grace time starts when the peer has received
// everything. Before that, only the end of Stop's context ends the session.
func (s *Session) graceExpired() bool {
	now := s.m.now()
	if now < s.graceEnd.Load() {
		return false
	}
	if !s.draining.Load() || !s.undelivered() {
		return true
	}
	s.graceEnd.Store(now + int64(s.m.opts.CloseGrace))
	return false
}

// finishTime is how long Finish may take at the end of the grace time.
const finishTime = 100 * time.Millisecond

// finishLate lets the session's writer finish the connection at the end of the
// grace time, once, and reports whether the writer does so. Finish could hold up the
// wheel, so the wheel only waits for finishTime, and then closes the transport.
func (s *Session) finishLate() bool {
	if _, ok := s.t.(Finisher); !ok || s.writer == nil || !s.closeSent.Load() || s.graceOver.Swap(true) {
		return false
	}
	s.graceEnd.Store(s.m.now() + int64(finishTime))
	s.scheduleGraceEnd()
	s.Schedule()
	return true
}

// undelivered reports whether bytes are still on their way to the peer, as far as
// the transport knows.
func (s *Session) undelivered() bool {
	if !s.closeSent.Load() || s.t.Buffered() > 0 {
		return true
	}
	a, ok := s.t.(Acknowledger)
	return ok && a.Unacknowledged() > 0
}

// scheduleGraceEnd sets the timer of a closing session to the end of its grace
// time.
func (s *Session) scheduleGraceEnd() {
	s.m.wheel.Schedule(&s.timer, s.m.start.Add(time.Duration(s.graceEnd.Load())))
}

// handlePeerClose answers a valid close frame with the peer's code (RFC 6455
// section 5.5.1). The answer leaves after the queued messages, because a peer that
// sends a message and then a close frame still expects the answer to the message.
// If the gateway has sent its close frame before, the closing handshake is
// complete.
func (m *Manager) handlePeerClose(s *Session, code uint16, reason string) {
	echo := protocol.CloseCode(code)
	if protocol.CloseCode(code) == protocol.CloseNoStatus {
		echo = protocol.CloseNormal
	}
	cause := Cause{Code: protocol.CloseCode(code), Reason: ReasonClosedByPeer, Detail: reason}
	m.closeAs(s, cause, echo, "", closeAfterQueue)
	s.Schedule()
}

// writeFailed ends a session whose write failed.
func (m *Manager) writeFailed(s *Session, err error) {
	m.stats.WriteErrors.Add(1)
	m.connectionEnded(s, err)
	_ = s.t.Close()
}

// connectionEnded ends a session whose connection has ended.
func (m *Manager) connectionEnded(s *Session, err error) {
	cause := Cause{Code: protocol.CloseAbnormal, Reason: ReasonConnectionLost}
	if err != nil && !errors.Is(err, io.EOF) {
		cause.Detail = err.Error()
	}
	s.out.drop()
	m.unregister(s, cause)
	if s.phase.Swap(phaseGone) == phaseGone {
		return
	}
	m.wheel.Cancel(&s.timer)
	m.closing.remove(s)
	if s.writer != nil {
		s.writer.stop()
	}
	m.transports.Add(-1)
	m.checkDrained()
}

// unregister removes s from both indexes and calls OnDisconnect, once.
func (m *Manager) unregister(s *Session, cause Cause) {
	if !s.phase.CompareAndSwap(phaseOpen, phaseClosing) {
		return
	}
	m.byID.remove(s.id)
	if s.info.Role == RoleDevice {
		m.devices.removeIf(s)
	}
	m.count.Add(-1)
	m.stats.countClose(cause.Reason)
	m.opts.Callbacks.OnDisconnect(s, cause)
}

// stopping reports whether Stop has begun.
func (m *Manager) stopping() bool {
	m.life.RLock()
	defer m.life.RUnlock()
	return m.stopped
}

// checkDrained lets Stop continue when the last connection has closed.
func (m *Manager) checkDrained() {
	if m.transports.Load() > 0 {
		return
	}
	if m.stopping() && m.transports.Load() == 0 {
		m.drainedOnce.Do(func() { close(m.drained) })
	}
}

// closingSessions holds the sessions that have left the indexes, but whose
// transports are still open. Stop ends these sessions too.
type closingSessions struct {
	// mu guards the map; a leaf.
	mu       sync.Mutex
	sessions map[*Session]struct{}
}

func (c *closingSessions) add(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.phase.Load() == phaseGone {
		return
	}
	if c.sessions == nil {
		c.sessions = make(map[*Session]struct{})
	}
	c.sessions[s] = struct{}{}
}

func (c *closingSessions) remove(s *Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

func (c *closingSessions) snapshot() []*Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*Session, 0, len(c.sessions))
	for s := range c.sessions {
		all = append(all, s)
	}
	return all
}
