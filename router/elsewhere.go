package router

import (
	"errors"
	"github.com/labgate/labgate/router/federation"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Text for front ends on other nodes.

const (
	textOthersMissed = "the other nodes cannot be reached; front ends connected to this one were given the message, others were not"
	textOthersFull   = "too much waits to leave for other nodes; front ends connected to this one were given the message, others were not"
)

// toFrontendsElsewhere gives a message to the front ends of all other nodes. f
// is the message as a frame.
func (r *Router) toFrontendsElsewhere(s *session.Session, e *protocol.Envelope, f *session.Frame) {
	if !r.others.any() && r.bus.Up() {
		return
	}
	err := r.bus.SendAll(&federation.Message{Kind: federation.KindToFrontends, Urgent: e.Urgent, Device: deviceOf(s), Text: textOf(f)})
	if err != nil {
		fail := missed(err)
		r.refuse(s, fail.Code, fail.Message, e.ID)
	}
}

// toUserElsewhere gives a message to the sessions of a user on other nodes. n
// of those here were given it; it returns how many sessions or nodes were in
// all, or what the sender must know.
func (r *Router) toUserElsewhere(s *session.Session, e *protocol.Envelope, f *session.Frame, user []byte, n int) (int, *protocol.Error) {
	if !r.bus.Up() {
		if n > 0 {
			return n, missed(federation.ErrDown)
		}
		return 0, protocol.NewError(protocol.ErrUnavailable, "no session of that user is connected to this node, and the other nodes cannot be reached")
	}
	msg := federation.Message{Kind: federation.KindToUser, Urgent: e.Urgent, Device: deviceOf(s), Name: string(user), Text: textOf(f)}
	var fail *protocol.Error
	for _, node := range r.others.having(user) {
		if err := r.bus.Send(node, &msg); err != nil {
			fail = missed(err)
			continue
		}
		n++
	}
	return n, fail
}

// toSessionElsewhere gives a message to a front end on another node.
func (r *Router) toSessionElsewhere(s *session.Session, e *protocol.Envelope, id uuid.UUID) {
	node := federation.NodeOf(id)
	if _, there := r.others.name(node); !there && r.bus.Up() {
		r.refuse(s, protocol.ErrNotFound, textNoSession, e.ID)
		return
	}
	msg := federation.Message{
		Kind: federation.KindToSession, Urgent: e.Urgent, Session: id, Sender: s.ID(), Device: deviceOf(s), ID: string(e.ID),
		Text: e.AppendSpliced(nil, protocol.Splice{Src: s.Source()}),
	}
	if err := r.bus.Send(node, &msg); err != nil {
		fail := notSent(err)
		r.refuse(s, fail.Code, fail.Message, e.ID)
	}
}

// missed names the reason why front ends on other nodes were not given a
// message that those here were given.
func missed(err error) *protocol.Error {
	if errors.Is(err, federation.ErrFull) {
		return protocol.NewError(protocol.ErrOverloaded, textOthersFull)
	}
	return protocol.NewError(protocol.ErrUnavailable, textOthersMissed)
}

// textOf returns the message in a frame of one text message (RFC 6455 section
// 5.2).
func textOf(f *session.Frame) []byte {
	wire := f.Wire()
	switch wire[1] {
	case 126:
		return wire[4:]
	case 127:
		return wire[10:]
	}
	return wire[2:]
}
