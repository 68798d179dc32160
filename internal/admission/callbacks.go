package admission

import "github.com/labgate/labgate/session"

// Callbacks returns session callbacks that give back a session's place and stop
// the timer of its credential when the session has ended, in front of next.
func (a *Admission) Callbacks(next session.Callbacks) session.Callbacks { return callbacks{next, a} }

type callbacks struct {
	session.Callbacks
	admission *Admission
}

// OnDisconnect implements session.Callbacks.
func (c callbacks) OnDisconnect(s *session.Session, cause session.Cause) {
	c.admission.SessionEnded(s.Info())
	if held := credentialOf(s); held != nil {
		c.admission.sessions.Wheel().Cancel(&held.timer)
	}
	c.Callbacks.OnDisconnect(s, cause)
}
