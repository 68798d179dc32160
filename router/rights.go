package router

import (
	"reflect"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// Reasons of the notices that a front end gets when its rights change.
const (
	reasonPermitted    = "permitted"
	reasonNotPermitted = "not_permitted"
)

// SetRights changes what a front end may do; nil permits everything. Connected
// devices that the front end may observe from now on are announced to it as
// online. Devices that it may not observe any longer are announced as offline,
// and removed from its subscription.
func (r *Router) SetRights(s *session.Session, rights session.Rights) {
	fe, ok := s.Attachment().(*frontend)
	if !ok || rights == nil && fe.rights.Load() == nil {
		return
	}
	if before := fe.rights.Load(); before != nil && reflect.DeepEqual(*before, rights) {
		return // most renewals bring the same rights
	}
	r.registry.setRights(fe, rights)
}

func (g *registry) setRights(fe *frontend, rights session.Rights) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.updateInterests()
	fe.owner.spend(g.r.manager.Now(), len(g.online)+len(fe.listed))
	before := fe.rights.Load()
	g.replaceRights(fe, rights)
	g.announceRights(fe, before)
}

// replaceRights stores the rights of a front end, and adapts its subscription to
// them. The caller holds mu.
func (g *registry) replaceRights(fe *frontend, rights session.Rights) {
	g.beginMove()
	defer g.endMove()
	all := fe.all
	if all {
		g.unsubscribeAll(fe)
	}
	if rights == nil {
		fe.rights.Store(nil)
	} else {
		fe.rights.Store(&rights)
	}
	if all {
		g.subscribeAll(fe)
	}
	for id := range fe.listed {
		if !fe.mayObserve(id) {
			g.unlistDevice(fe, id)
		}
	}
}

// announceRights announces to a front end the devices that its new rights show or
// hide. before are the rights that it had. The caller holds mu.
func (g *registry) announceRights(fe *frontend, before *session.Rights) {
	only := []*session.Session{fe.s}
	for d := range g.online {
		saw, sees := permitObserve(before, d.id), fe.mayObserve(d.id)
		if saw == sees {
			continue
		}
		info, _ := g.info(d)
		if sees {
			g.notify(only, protocol.TypeDeviceOnline, d, info, reasonPermitted)
		} else {
			notifyHidden(fe.s, info)
		}
	}
}

// notifyHidden announces a device as offline to a front end that may no longer
// observe the device. notify does not send notices to such a front end.
func notifyHidden(s *session.Session, info protocol.DeviceInfo) {
	msg, err := protocol.NewMessage(protocol.TypeDeviceOffline, protocol.DeviceNotice{
		DeviceID: info.DeviceID, Stream: info.Stream, Node: info.Node, Reason: reasonNotPermitted,
	})
	if err == nil && s.SendMessage(&msg, false) == nil {
		s.Schedule()
	}
}
