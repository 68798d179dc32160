package server

import (
	"time"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/session"
)

// eventCallbacks tell a listener of each session's begin and end.
type eventCallbacks struct {
	session.Callbacks
	events events.Listener
}

// OnConnect implements session.Callbacks.
func (c eventCallbacks) OnConnect(s *session.Session) {
	c.events.SessionBegan(beginOf(s))
	c.Callbacks.OnConnect(s)
}

// OnDisconnect implements session.Callbacks.
func (c eventCallbacks) OnDisconnect(s *session.Session, cause session.Cause) {
	c.events.SessionEnded(events.SessionEnded{
		SessionBegan: beginOf(s), Code: int(cause.Code), Reason: cause.Reason, Detail: cause.Detail, Duration: time.Since(s.ConnectedAt()),
	})
	c.Callbacks.OnDisconnect(s, cause)
}

func beginOf(s *session.Session) events.SessionBegan {
	i := s.Info()
	return events.SessionBegan{Session: s.ID(), Role: i.Role.String(), Name: i.Name, Remote: i.Remote, Credential: i.Credential}
}
