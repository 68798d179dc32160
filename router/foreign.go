package router

import (
	"bytes"
	"github.com/labgate/labgate/router/federation"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// SourceBus is the src of messages that a program outside published on the bus.
const SourceBus = "bus"

// ReceiveForeign implements Member. Such a message is nobody's command: there
// is no session that its answer could go to.
func (m member) ReceiveForeign(text []byte) error {
	if err := m.r.foreign(text); err != nil {
		return err
	}
	return nil
}

func (r *Router) foreign(text []byte) *protocol.Error {
	if len(text) > r.opts.MaxMessage {
		return protocol.NewError(protocol.ErrTooLarge, "the message is larger than the gateway's --max-message; send less")
	}
	var e protocol.Envelope
	if err := e.Parse(text); err != nil {
		return protocol.NewError(protocol.ErrBadMessage, err.Error())
	}
	switch {
	case bytes.HasPrefix(e.Type, gatewayPrefix):
		return protocol.NewError(protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own`)
	case e.ID != nil || e.Re != nil:
		return protocol.NewError(protocol.ErrNotAllowed, `fields "id" and "re": nobody waits for an answer here; use POST /v1/devices/{id}/commands`)
	}
	dst, err := protocol.ParseDestination(e.Dst)
	if err != nil {
		return protocol.NewError(protocol.ErrBadMessage, err.Error())
	}
	switch dst.Kind {
	case protocol.DstDevice:
		return r.foreignToDevice(&e, dst.Name)
	case protocol.DstFrontends:
		r.foreignToMany(&e, *r.everyone.Load())
	case protocol.DstUser:
		r.mu.Lock()
		to := r.users[string(dst.Name)]
		r.mu.Unlock()
		if r.foreignToMany(&e, to) == 0 && len(r.others.having(dst.Name)) == 0 {
			return protocol.NewError(protocol.ErrNotFound, "no session of that user is connected")
		}
	case protocol.DstSession:
		return r.foreignToSession(&e, dst.Name)
	default:
		return protocol.NewError(protocol.ErrBadMessage, `field "dst": missing; name a device id, @frontends, @user/NAME or @session/UUID`)
	}
	return nil
}

func (r *Router) foreignToDevice(e *protocol.Envelope, device []byte) *protocol.Error {
	to := r.manager.ByDeviceBytes(device)
	if to == nil {
		if _, held := r.others.holder(device); held {
			return nil
		}
		return protocol.NewError(protocol.ErrDeviceOffline, "device "+string(device)+" is not connected; the message was not delivered and will not be")
	}
	return r.foreignTo(to, e, protocol.ErrDeviceOffline)
}

func (r *Router) foreignToSession(e *protocol.Envelope, id []byte) *protocol.Error {
	parsed, err := uuid.ParseBytes(id)
	if err != nil {
		return protocol.NewError(protocol.ErrNotFound, textNoSession)
	}
	if to := r.manager.Get(parsed); to != nil && to.Role() == session.RoleFrontend {
		return r.foreignTo(to, e, protocol.ErrNotFound)
	}
	if _, there := r.others.name(federation.NodeOf(parsed)); there {
		return nil
	}
	return protocol.NewError(protocol.ErrNotFound, textNoSession)
}

func (r *Router) foreignTo(to *session.Session, e *protocol.Envelope, offline protocol.ErrorCode) *protocol.Error {
	if err := to.SendEnvelope(e, protocol.Splice{Src: SourceBus}, e.Urgent); err != nil {
		code, message := sendFailure(err, offline)
		return protocol.NewError(code, message)
	}
	to.Schedule()
	return nil
}

func (r *Router) foreignToMany(e *protocol.Envelope, to []*session.Session) int {
	f := spliced(e, protocol.Splice{Src: SourceBus})
	defer f.Release()
	return sendAll(to, f, e.Urgent, nil, "")
}
