package router

import (
	"maps"
	"slices"
	"strings"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// control handles one type of message to the gateway itself, on the reading
// goroutine of the session that sent it.
type control func(s *session.Session, e *protocol.Envelope)

// controlTable lists the messages to the gateway by type. Package protocol
// declares their payloads, and the payloads of the gateway's own messages.
func (r *Router) controlTable() map[string]control {
	return map[string]control{
		protocol.TypeSubscribe:   func(s *session.Session, e *protocol.Envelope) { r.subscribe(s, e, true) },
		protocol.TypeUnsubscribe: func(s *session.Session, e *protocol.Envelope) { r.subscribe(s, e, false) },
		protocol.TypeRenew:       r.renew,
		protocol.TypeDescribe:    r.describe,
	}
}

// routeControl handles a message to the gateway.
func (r *Router) routeControl(s *session.Session, e *protocol.Envelope) {
	if handle := r.controls[string(e.Type)]; handle != nil {
		// Only the copy escapes to the heap; the envelopes of all other
		// messages stay on the stack.
		own := *e
		handle(s, &own)
		return
	}
	known := strings.Join(slices.Sorted(maps.Keys(r.controls)), ", ")
	r.refuse(s, protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own; only `+known+` may be sent`, e.ID)
}

// answerControl answers a message to the gateway, if it has an id.
func answerControl(s *session.Session, e *protocol.Envelope, typ string, payload any) {
	if e.ID == nil {
		return
	}
	msg, err := protocol.NewMessage(typ, payload)
	if err != nil {
		return // impossible: every payload of package protocol can be encoded
	}
	msg.Re = string(e.ID)
	if s.SendMessage(&msg, false) == nil {
		s.FlushAfterRead(s)
	}
}

// renew handles gateway.renew. The router passes the token to Options.Renew only,
// and never logs or repeats the token.
func (r *Router) renew(s *session.Session, e *protocol.Envelope) {
	want, err := protocol.ParseRenewal(e.Payload)
	if err != nil {
		r.refuse(s, protocol.ErrBadMessage, err.Error(), e.ID)
		return
	}
	if r.opts.Renew == nil {
		r.refuse(s, protocol.ErrNotAllowed, "this gateway renews no credentials; connect again with the new one", e.ID)
		return
	}
	if !r.charge(s, e, renewalCost) {
		return
	}
	expiry, fail := r.opts.Renew(s, want.Token)
	if fail != nil {
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	answerControl(s, e, protocol.TypeRenewed, expiry)
}
