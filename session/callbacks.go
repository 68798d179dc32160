package session

import "github.com/labgate/labgate/internal/wsframe"

// Callbacks receive the events of a Manager's sessions. An implementation that
// needs only some of the methods embeds NopCallbacks. An implementation that
// extends other Callbacks embeds these, as package server does with the router.
type Callbacks interface {
	// Prepare makes the session's Attachment before any other goroutine can
	// find the session.
	Prepare(s *Session) any
	// OnConnect runs once for each added session, before the session's first
	// message.
	OnConnect(s *Session)
	// OnMessage receives each complete message, on the session's reading
	// goroutine. The payload is valid during the call only. An error is a fault of
	// the gateway, not of the peer, and closes the session with 1011.
	OnMessage(s *Session, op wsframe.Opcode, payload []byte) error
	// OnEndRead runs after the last message of a read event, on the session's
	// reading goroutine.
	OnEndRead(s *Session)
	// OnDisconnect runs once for each added session, when the session has left
	// both indexes. OnDisconnect may run before OnConnect has returned, or even
	// begun. It runs on any goroutine that ends a session: the wheel's, a flusher's,
	// or the transport's with the transport's locks held. So OnDisconnect must
	// neither block nor write. To send messages that it queues, it calls Schedule.
	OnDisconnect(s *Session, cause Cause)
}

// NopCallbacks are Callbacks that do nothing.
type NopCallbacks struct{}

// Prepare implements Callbacks: the session has no attachment.
func (NopCallbacks) Prepare(*Session) any { return nil }

// OnConnect implements Callbacks.
func (NopCallbacks) OnConnect(*Session) {}

// OnMessage implements Callbacks: the message is dropped.
func (NopCallbacks) OnMessage(*Session, wsframe.Opcode, []byte) error { return nil }

// OnEndRead implements Callbacks.
func (NopCallbacks) OnEndRead(*Session) {}

// OnDisconnect implements Callbacks.
func (NopCallbacks) OnDisconnect(*Session, Cause) {}
