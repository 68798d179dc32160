package session

import "github.com/labgate/labgate/internal/wsframe"

// Callbacks receive the events of a Manager's sessions. An implementation that
// needs only some of them embeds NopCallbacks; one that extends another embeds
// that one, as server does with the router's.
type Callbacks interface {
	// Prepare makes the session's Attachment before any other goroutine can
	// find the session.
	Prepare(s *Session) any
	// OnConnect runs once for a session that was added, before its first
	// message.
	OnConnect(s *Session)
	// OnMessage receives each complete message, on the session's reading
	// goroutine. The payload is valid during the call only. An error is a
	// fault of the gateway, not of the peer: the session is closed with 1011.
	OnMessage(s *Session, op wsframe.Opcode, payload []byte) error
	// OnEndRead runs after the last message of a read event, on the session's
	// reading goroutine.
	OnEndRead(s *Session)
	// OnDisconnect runs once for each session that OnConnect saw, when the
	// session has left both indexes. The call may come before OnConnect has
	// returned, or even begun, and on any goroutine that ends a session: the
	// wheel's, a flusher's, or the transport's with the transport's locks held.
	// So OnDisconnect must neither block nor write; messages that it queues are
	// left to Schedule.
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
