package router

import (
	"sync/atomic"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Reasons of the notices that a front end gets when its rights change.
const (
	reasonPermitted    = "permitted"
	reasonNotPermitted = "not_permitted"
)

// SetRights changes what a front end may do; nil permits everything. A device
// that it may observe from now on is announced to it as online, one that it
// may not any longer as offline, and is taken from its list of subscriptions.
func (r *Router) SetRights(s *session.Session, rights session.Rights) {
	fe, ok := s.Attachment().(*frontend)
	if !ok || rights == nil && fe.rights.Load() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.moves.Add(1)
	defer r.moves.Add(1)
	saw := make(map[*device]bool, len(r.devices))
	for _, d := range r.devices {
		saw[d] = fe.mayObserve(d.id)
	}
	if fe.all {
		remove(r.allOf(fe), s)
	}
	if rights == nil {
		fe.rights.Store(nil)
	} else {
		fe.rights.Store(&rights)
	}
	if fe.all {
		add(r.allOf(fe), s)
	}
	r.noteRights(s, fe, saw)
	r.subscribersChanged()
}

// noteRights tells a front end what it sees now and did not before, and the
// other way round. The caller holds mu.
func (r *Router) noteRights(s *session.Session, fe *frontend, saw map[*device]bool) {
	only := []*session.Session{s}
	for d, before := range saw {
		now := fe.mayObserve(d.id)
		info, online := r.deviceOnline(d)
		if online && now && !before {
			r.notify(only, protocol.TypeDeviceOnline, d, info, reasonPermitted)
		}
		if !before || now {
			continue
		}
		r.unlistDevice(s, fe, d.id)
		if online {
			r.notifyBlind(s, info)
		}
	}
}

// notifyBlind tells a front end that a device is gone which it may not observe
// any longer, and which announcements therefore pass over.
func (r *Router) notifyBlind(s *session.Session, info protocol.DeviceInfo) {
	msg, err := protocol.NewMessage(protocol.TypeDeviceOffline, protocol.DeviceNotice{
		DeviceID: info.DeviceID, Stream: info.Stream, Node: info.Node, Reason: reasonNotPermitted,
	})
	if err == nil && s.SendMessage(&msg, false) == nil {
		s.Schedule()
	}
}

// renew handles gateway.renew. The token in it goes to Options.Renew and
// nowhere else.
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
	expiry, fail := r.opts.Renew(s, want.Token)
	if fail != nil {
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	if e.ID == nil {
		return
	}
	msg, err := protocol.NewMessage(protocol.TypeRenewed, expiry)
	if err == nil {
		msg.Re = string(e.ID)
		err = s.SendMessage(&msg, false)
	}
	if err == nil {
		s.Touch(s)
	}
}

// allOf returns the list for a front end that wants every device's telemetry.
// The caller holds mu.
func (r *Router) allOf(fe *frontend) *atomic.Pointer[[]*session.Session] {
	if fe.rights.Load() == nil {
		return &r.telemetryAll
	}
	return &r.telemetrySome
}

func (fe *frontend) mayObserve(device string) bool {
	rights := fe.rights.Load()
	return rights == nil || (*rights).MayObserve(device)
}

// forbidden returns the first of the devices that the front end may not
// observe.
func (fe *frontend) forbidden(devices []string) (string, bool) {
	for _, id := range devices {
		if !fe.mayObserve(id) {
			return id, true
		}
	}
	return "", false
}

// mayObserve reports whether a front end's session may observe a device.
func mayObserve(s *session.Session, device string) bool {
	return s.Attachment().(*frontend).mayObserve(device)
}

// mayCommand reports whether the rights allow messages to a device, whose name
// is a string already where it is connected.
func mayCommand(rights session.Rights, to *session.Session, name []byte) bool {
	if to != nil {
		return rights.MayCommand(to.Name())
	}
	return rights.MayCommand(string(name))
}

// deviceOf returns the id of a session's device, "" for a front end.
func deviceOf(s *session.Session) string {
	if s.Role() == session.RoleDevice {
		return s.Name()
	}
	return ""
}
