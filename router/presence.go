package router

import (
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// This file handles devices and front ends that connect and disconnect.

// deviceConnected announces a device as online. Prepare has queued the device's
// welcome already. When two connections of one device begin at the same time,
// the newer connection remains.
func (g *registry) deviceConnected(c *deviceConn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d, s := c.dev, c.s
	// The session may have ended already. Then deviceDisconnected has run for the
	// session, or waits for mu and undoes the changes of this call.
	open := s.Open()
	replaced := protocol.CloseReplaced.Name()
	if old := d.session; old != nil {
		if old.Generation() > s.Generation() {
			return
		}
		g.announce(protocol.TypeDeviceOffline, d, g.infoHere(d), replaced)
		if !open {
			g.release(d, d.holder.epoch, replaced)
		}
	}
	d.clearSession()
	g.changed(d)
	if !open {
		return
	}
	g.dropRemote(d, replaced)
	d.session = s
	g.readDescriptionFile(d, s)
	g.changed(d)
	g.hold(d, s)
	g.announce(protocol.TypeDeviceOnline, d, g.infoHere(d), "connected")
}

// deviceDisconnected announces a device as offline, unless the device has a
// newer connection.
func (g *registry) deviceDisconnected(c *deviceConn, cause session.Cause) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := c.dev
	if d.session != c.s {
		return
	}
	g.takeOffline(d, cause.Reason)
	g.release(d, d.holder.epoch, cause.Reason)
}

// takeOffline announces a device that was connected here as offline. The
// caller holds mu.
func (g *registry) takeOffline(d *device, reason string) {
	g.announce(protocol.TypeDeviceOffline, d, g.infoHere(d), reason)
	d.clearSession()
	g.changed(d)
}

// clearSession removes the session from a device that has one. The caller holds
// registry.mu.
func (d *device) clearSession() {
	if d.session != nil {
		d.lastSeen = lastHeard(d.session.Health()).UnixMilli()
		d.session = nil
	}
}

// frontendConnected sends a front end its welcome and makes its first
// subscription.
func (g *registry) frontendConnected(fe *frontend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := fe.s
	if !s.Open() {
		return
	}
	if err := g.welcomeFrontend(fe); err != nil {
		return
	}
	// append may write behind the old list. Readers of the old list do not see the
	// new element, see receiverList.add.
	grown := append(g.frontends(), s)
	g.everyone.Store(&grown)
	if user := s.Name(); user != "" {
		if g.users.add(user, s) {
			g.bus.User(user, true)
		}
	}
	if s.Info().Telemetry != protocol.TelemetryNone {
		g.subscribeAll(fe)
		g.updateInterests()
	}
}

// frontendDisconnected removes a front end from every list.
func (g *registry) frontendDisconnected(fe *frontend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := fe.s
	left := without(g.frontends(), s)
	g.everyone.Store(&left)
	g.unsubscribeAll(fe)
	g.releaseOwner(s.Info().Credential)
	if user := s.Name(); user != "" {
		if g.users.remove(user, s) {
			g.bus.User(user, false)
		}
	}
	g.updateInterests()
}

// announce sends a notice that a device is online or offline to every front
// end that may observe the device. The caller holds mu.
func (g *registry) announce(typ string, d *device, info protocol.DeviceInfo, reason string) {
	g.notify(g.frontends(), typ, d, info, reason)
}

// notify sends such a notice to some front ends. The caller holds mu.
func (g *registry) notify(to []*session.Session, typ string, d *device, info protocol.DeviceInfo, reason string) {
	msg, err := protocol.NewMessage(typ, protocol.DeviceNotice{
		DeviceID: d.id, Stream: d.stream, Node: info.Node, Reason: reason,
		Type: info.Type, Customer: info.Customer, Meta: info.Meta, DescriptionVersion: info.DescriptionVersion,
	})
	if err != nil {
		// Impossible: the handshake has checked all these values.
		return
	}
	text, err := msg.Append(nil)
	if err != nil {
		return
	}
	f := session.NewTextFrame(text)
	sendAll(to, f, false, nil, d.id)
	f.Release()
}
