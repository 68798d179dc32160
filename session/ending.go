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
	// Code is the WebSocket close code; 1006 when no close frame came.
	Code protocol.CloseCode
	// Reason is the closed vocabulary of the log field, the metric label and
	// gateway.device_offline: a close code's name, ReasonConnectionLost or
	// ReasonClosedByPeer.
	Reason string
	// Detail is for the log.
	Detail string
}

// Reasons for which no close code of ours was sent.
const (
	ReasonConnectionLost = "connection_lost"
	ReasonClosedByPeer   = "closed_by_peer"
	codeAbnormal         = protocol.CloseCode(1006)
)

type closeMode uint8

const (
	// closeAfterQueue sends urgent and control messages first.
	closeAfterQueue closeMode = iota
	// closeDiscard drops what is queued: the peer cannot or must not have it.
	closeDiscard
	// closeAfterAll sends all that is queued first, telemetry and the news of
	// what was lost too: the peer has done nothing, the gateway leaves.
	closeAfterAll
)

// close takes s out of the tables and starts the closing handshake (RFC 6455
// section 7.1.2). The transport is closed when the peer has answered, or after
// the grace time.
func (m *Manager) close(s *Session, code protocol.CloseCode, detail string, mode closeMode) {
	m.closeAs(s, Cause{Code: code, Reason: code.Name(), Detail: detail}, code, code.Name(), mode)
}

func (m *Manager) closeAs(s *Session, cause Cause, code protocol.CloseCode, reason string, mode closeMode) {
	if !s.out.shut(code, reason, mode) {
		return
	}
	s.patient.Store(code == protocol.CloseGoingAway)
	s.closeBy.Store(m.coarseNow() + int64(m.opts.CloseGrace))
	m.leaving.add(s)
	m.detach(s, cause)
	s.armGrace()
	s.Schedule()
}

// graceOver reports whether a closing session has had its time. For one that
// was closed because the gateway leaves, that begins when the peer has taken all
// that was on its way to it: until then only the end of Stop's context cuts it
// off.
func (s *Session) graceOver() bool {
	now := s.m.coarseNow()
	if now < s.closeBy.Load() {
		return false
	}
	if !s.patient.Load() || !s.onItsWay() {
		return true
	}
	s.closeBy.Store(now + int64(s.m.opts.CloseGrace))
	return false
}

// onItsWay reports whether the peer has not taken everything yet, as far as
// this side knows.
func (s *Session) onItsWay() bool {
	if !s.closeSent.Load() || s.t.Buffered() > 0 {
		return true
	}
	a, ok := s.t.(Acknowledger)
	return ok && a.Unacknowledged() > 0
}

// armGrace has the wheel look at a closing session when its grace time ends.
func (s *Session) armGrace() {
	s.m.wheel.Schedule(&s.timer, s.m.start.Add(time.Duration(s.closeBy.Load())))
}

// peerClosing answers a close frame with the peer's own code (RFC 6455 section
// 5.5.1), behind the messages that wait for it: it may have sent its close frame
// right behind a message and still wants the answer. Or it completes the
// handshake that we began.
func (m *Manager) peerClosing(s *Session, code uint16, reason string) {
	echo := protocol.CloseCode(code)
	if code == 1005 {
		echo = protocol.CloseNormal
	}
	cause := Cause{Code: protocol.CloseCode(code), Reason: ReasonClosedByPeer, Detail: reason}
	m.closeAs(s, cause, echo, "", closeAfterQueue)
	s.Schedule()
}

// lost ends a session whose write failed.
func (m *Manager) lost(s *Session, err error) {
	m.stats.WriteErrors.Add(1)
	m.gone(s, err)
	_ = s.t.Close()
}

// gone ends a session whose connection has ended.
func (m *Manager) gone(s *Session, err error) {
	cause := Cause{Code: codeAbnormal, Reason: ReasonConnectionLost}
	if err != nil && !errors.Is(err, io.EOF) {
		cause.Detail = err.Error()
	}
	s.out.drop()
	m.detach(s, cause)
	if s.phase.Swap(phaseGone) == phaseGone {
		return
	}
	m.wheel.Cancel(&s.timer)
	m.leaving.remove(s)
	if s.writer != nil {
		s.writer.stop()
	}
	m.transports.Add(-1)
	m.checkDrained()
}

// detach takes s out of both indexes, once.
func (m *Manager) detach(s *Session, cause Cause) {
	if !s.phase.CompareAndSwap(phaseOpen, phaseClosing) {
		return
	}
	m.byID.remove(s.id)
	if s.info.Role == RoleDevice {
		m.devices.removeIf(s)
	}
	m.count.Add(-1)
	m.stats.countClose(cause.Reason)
	m.opts.Logger.Debug().Stringer("session", s.id).Stringer("role", s.info.Role).Str("name", s.info.Name).Str("reason", cause.Reason).Int("code", int(cause.Code)).Str("detail", cause.Detail).Msg("session ended")
	m.opts.Callbacks.OnDisconnect(s, cause)
}

// stopping reports whether Stop has begun.
func (m *Manager) stopping() bool {
	m.life.RLock()
	defer m.life.RUnlock()
	return m.stopped
}

func (m *Manager) checkDrained() {
	if m.transports.Load() > 0 {
		return
	}
	if m.stopping() && m.transports.Load() == 0 {
		m.drainedOnce.Do(func() { close(m.drained) })
	}
}

// leaving keeps the sessions that have left the tables while their transports
// are still open, so that Stop can cut them off too.
type leaving struct {
	// mu guards the map; a leaf.
	mu       sync.Mutex
	sessions map[*Session]struct{}
}

func (l *leaving) add(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.phase.Load() == phaseGone {
		return
	}
	if l.sessions == nil {
		l.sessions = make(map[*Session]struct{})
	}
	l.sessions[s] = struct{}{}
}

func (l *leaving) remove(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, s)
}

func (l *leaving) snapshot() []*Session {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*Session, 0, len(l.sessions))
	for s := range l.sessions {
		all = append(all, s)
	}
	return all
}
