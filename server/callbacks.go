package server

import (
	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// callbacks returns the one chain of session callbacks. Each is in front of the
// one above it: the last in this list is called first.
func (s *Server) callbacks() session.Callbacks {
	var c session.Callbacks = s.router
	if s.opts.DebugEcho {
		c = echoCallbacks{c}
	}
	if s.wrapCallbacks != nil {
		c = s.wrapCallbacks(c)
	}
	c = s.admission.Callbacks(c)
	if s.opts.Events != nil {
		c = eventCallbacks{c, s.opts.Events}
	}
	return recoverCallbacks{c, s.panics}
}

// recoverCallbacks keep a panic at either end of a session from reaching the
// goroutine that runs it: a poller's, a flusher's, the wheel's. Those of messages
// end where the event loop reads.
type recoverCallbacks struct {
	session.Callbacks
	panics *panics.Recoverer
}

// OnConnect implements session.Callbacks.
func (c recoverCallbacks) OnConnect(s *session.Session) {
	if !c.panics.Run(s, func() { c.Callbacks.OnConnect(s) }) {
		s.Fail(protocol.CloseInternal, "internal error")
	}
}

// OnDisconnect implements session.Callbacks.
func (c recoverCallbacks) OnDisconnect(s *session.Session, cause session.Cause) {
	c.panics.Run(s, func() { c.Callbacks.OnDisconnect(s, cause) })
}
