package router

import (
	"bytes"
	"github.com/labgate/labgate/router/federation"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

var gatewayPrefix = []byte(protocol.GatewayPrefix)

// routeText routes one text message by its envelope.
func (r *Router) routeText(s *session.Session, text []byte) {
	r.stats.TextIn.Add(1)
	var e protocol.Envelope
	if err := e.Parse(text); err != nil {
		r.refuse(s, protocol.ErrBadMessage, err.Error(), e.ID)
		return
	}
	if bytes.HasPrefix(e.Type, gatewayPrefix) {
		r.routeControl(s, &e)
		return
	}
	fe, _ := s.Attachment().(*frontend)
	if fe != nil && fe.last != nil && string(e.Dst) == fe.last.Name() && fe.last.Open() {
		r.routeToDevice(s, fe, &e, fe.last, e.Dst)
		return
	}
	dst, err := protocol.ParseDestination(e.Dst)
	if err != nil {
		r.refuse(s, protocol.ErrBadMessage, err.Error(), e.ID)
		return
	}
	if l, ok := s.Attachment().(*link); ok {
		if e.Re != nil {
			r.routeAnswer(s, l, &e)
			return
		}
		if dst.Kind == protocol.DstNone {
			dst.Kind = protocol.DstFrontends
		}
	}
	switch dst.Kind {
	case protocol.DstDevice:
		if fe == nil {
			r.refuse(s, protocol.ErrNotAllowed, `field "dst": a device cannot command another device; send to @frontends, @user/NAME or @session/UUID`, e.ID)
			return
		}
		fe.last = r.manager.ByDeviceBytes(dst.Name)
		r.routeToDevice(s, fe, &e, fe.last, dst.Name)
	case protocol.DstFrontends:
		f := spliced(&e, protocol.Splice{Src: s.Source()})
		sendAll(*r.everyone.Load(), f, e.Urgent, s, deviceOf(s))
		if r.bus != nil {
			r.toFrontendsElsewhere(s, &e, f)
		}
		f.Release()
	case protocol.DstUser:
		r.routeToUser(s, &e, dst.Name)
	case protocol.DstSession:
		r.routeToSession(s, &e, dst.Name)
	default:
		r.refuse(s, protocol.ErrBadMessage, `field "dst": missing; name a device id, @frontends, @user/NAME or @session/UUID`, e.ID)
	}
}

// routeControl handles the messages that are for the gateway itself.
func (r *Router) routeControl(s *session.Session, e *protocol.Envelope) {
	switch string(e.Type) {
	case protocol.TypeSubscribe:
		r.subscribe(s, e, true)
	case protocol.TypeUnsubscribe:
		r.subscribe(s, e, false)
	case protocol.TypeRenew:
		r.renew(s, e)
	default:
		r.refuse(s, protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own; only gateway.subscribe, gateway.unsubscribe and gateway.renew may be sent`, e.ID)
	}
}

func (r *Router) routeToUser(s *session.Session, e *protocol.Envelope, user []byte) {
	r.mu.Lock()
	to := r.users[string(user)]
	r.mu.Unlock()
	f := spliced(e, protocol.Splice{Src: s.Source()})
	n := sendAll(to, f, e.Urgent, nil, deviceOf(s))
	var fail *protocol.Error
	if r.bus != nil {
		n, fail = r.toUserElsewhere(s, e, f, user, n)
	}
	f.Release()
	switch {
	case fail != nil:
		r.refuse(s, fail.Code, fail.Message, e.ID)
	case n == 0:
		r.refuse(s, protocol.ErrNotFound, "no session of that user is connected", e.ID)
	}
}

func (r *Router) routeToSession(s *session.Session, e *protocol.Envelope, id []byte) {
	var to *session.Session
	parsed, err := uuid.ParseBytes(id)
	if err == nil {
		to = r.manager.Get(parsed)
	}
	if to == nil && err == nil && r.bus != nil && federation.NodeOf(parsed) != r.bus.Self() {
		r.toSessionElsewhere(s, e, parsed)
		return
	}
	if to == nil || to.Role() != session.RoleFrontend || s.Role() == session.RoleDevice && !mayObserve(to, s.Name()) {
		r.refuse(s, protocol.ErrNotFound, textNoSession, e.ID)
		return
	}
	if err := to.SendEnvelope(e, protocol.Splice{Src: s.Source()}, e.Urgent); err != nil {
		code, message := sendFailure(err, protocol.ErrNotFound)
		r.refuse(s, code, message, e.ID)
		return
	}
	s.Touch(to)
}

// spliced returns the message with its true source as a frame, encoded once
// for all its receivers.
func spliced(e *protocol.Envelope, sp protocol.Splice) *session.Frame {
	f := session.NewTextFrameFor(e.SplicedSize(sp))
	f.AppendEnvelope(e, sp)
	return f
}
