package router

import (
	"slices"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// Which node holds a device, and which wants its telemetry. On a node alone the
// bus does nothing, and there is never a remote holder.

// holder is what is known of the node that holds a device. Guarded by
// registry.mu.
type holder struct {
	// epoch and node are the newest holding that is known, of this node or
	// another, whether it lasts or not; over says that it was given up, and that
	// only a newer one will be believed.
	epoch uint64
	node  federation.NodeID
	over  bool
	// remote is what the other node said that holds the device now; nil when
	// none does.
	remote *federation.Holding
	// wasRemote says that another node held the device last.
	wasRemote bool
	// interested says that this node has asked the others for the telemetry.
	interested bool
	// fed are the nodes that have asked this one.
	fed map[federation.NodeID]struct{}
}

// newer reports whether a holding is newer than the newest known.
func (h *holder) newer(node federation.NodeID, epoch uint64) bool {
	if epoch != h.epoch {
		return epoch > h.epoch
	}
	return node > h.node
}

// is reports whether a holding is the newest known.
func (h *holder) is(node federation.NodeID, epoch uint64) bool {
	return h.node == node && h.epoch == epoch
}

// hold says to the other nodes that the device is connected here, in place of
// whoever held it. The caller holds mu and has announced what went.
func (g *registry) hold(d *device, s *session.Session) {
	if d.outbound == nil {
		return
	}
	h := &d.holder
	h.epoch = max(h.epoch+1, uint64(time.Now().UnixMicro()))
	h.node, h.over, h.wasRemote = g.bus.Self(), false, false
	info := s.Info()
	g.bus.Hold(federation.Holding{Device: d.id, Epoch: h.epoch, Type: info.Type, Customer: info.Customer, Meta: info.Meta, At: d.outbound.Position()})
	g.updateInterest(d)
}

// release takes that back. The caller holds mu.
func (g *registry) release(d *device, epoch uint64, reason string) {
	if d.outbound == nil {
		return
	}
	if d.holder.is(g.bus.Self(), epoch) {
		d.holder.over = true
	}
	g.bus.Release(federation.Release{Device: d.id, Epoch: epoch, Reason: reason, End: d.outbound.Position()})
	g.updateInterest(d)
}

// holdRemote makes the device another node's, if that is news, and returns the
// session here that has to go. The caller holds mu.
func (g *registry) holdRemote(node federation.NodeID, held federation.Holding) *session.Session {
	d := g.entry(held.Device)
	h := &d.holder
	switch {
	case h.newer(node, held.Epoch):
	case h.is(node, held.Epoch) && h.remote == nil && !h.over:
	default:
		return nil
	}
	reason := protocol.CloseReplaced.Name()
	g.dropRemote(d, reason)
	overtaken := d.session
	if overtaken != nil {
		g.takeOffline(d, reason)
		g.bus.Release(federation.Release{Device: d.id, Epoch: h.epoch, Reason: reason, End: d.outbound.Position()})
	}
	g.numberStream(d)
	h.epoch, h.node, h.over, h.wasRemote = held.Epoch, node, false, true
	h.remote = &held
	g.r.peers.setHolder(d.id, node, true)
	g.changed(d)
	g.announce(protocol.TypeDeviceOnline, d, g.infoRemote(d), "connected")
	g.updateInterest(d)
	return overtaken
}

// dropRemote announces that the device's other holder is not it any longer. The
// caller holds mu.
func (g *registry) dropRemote(d *device, reason string) {
	if d.holder.remote == nil {
		return
	}
	g.announce(protocol.TypeDeviceOffline, d, g.infoRemote(d), reason)
	d.holder.remote = nil
	g.r.peers.setHolder(d.id, 0, false)
	g.changed(d)
}

// feed notes whether another node wants the device's telemetry. The caller
// holds mu.
func (g *registry) feed(d *device, node federation.NodeID, wanted bool) {
	h := &d.holder
	before := len(h.fed)
	if wanted {
		if h.fed == nil {
			h.fed = make(map[federation.NodeID]struct{})
		}
		h.fed[node] = struct{}{}
	} else {
		delete(h.fed, node)
	}
	switch {
	case before == 0 && len(h.fed) > 0:
		g.fedElsewhere[d] = struct{}{}
		d.receivers.add(busReceiver{g.r})
	case before > 0 && len(h.fed) == 0:
		delete(g.fedElsewhere, d)
		d.receivers.remove(busReceiver{g.r})
	}
}

// interest counts the front ends that want every device's telemetry.
type interest struct {
	// unlimited counts those that may have it, limited are those that may have
	// some.
	unlimited int
	limited   []*frontend
	// changes counts the changes of limited; seenAny and seenChanges are what
	// updateInterests saw last.
	changes     uint64
	seenAny     bool
	seenChanges uint64
}

// noteAllDevices notes that a front end wants every device's telemetry: n is 1,
// or not any longer: n is -1. The caller holds mu.
func (g *registry) noteAllDevices(fe *frontend, n int) {
	i := &g.interest
	switch {
	case fe.rights.Load() == nil:
		i.unlimited += n
		return
	case n > 0:
		i.limited = append(i.limited, fe)
	default:
		i.limited = without(i.limited, fe)
	}
	i.changes++
}

// updateInterests looks which devices of other nodes are wanted, after a change
// of who wants every device's telemetry. The caller holds mu.
func (g *registry) updateInterests() {
	i := &g.interest
	wanted := i.unlimited > 0
	if g.bus.Self() == 0 || wanted == i.seenAny && (wanted || i.changes == i.seenChanges) {
		return
	}
	i.seenAny, i.seenChanges = wanted, i.changes
	for _, d := range g.devices {
		g.updateInterest(d)
	}
}

// updateInterest asks the other nodes for the device's telemetry, or does so no
// longer, when that has changed: it is wanted while somebody here subscribes to
// it and it does not come here itself. A device that was listed is waited for, so
// that nothing is missed when it comes. The caller holds mu.
func (g *registry) updateInterest(d *device) {
	if d.outbound == nil {
		return
	}
	wanted := d.session == nil && (d.subscribers > 0 || d.holder.wasRemote && g.wantedByAny(d))
	if wanted == d.holder.interested {
		return
	}
	d.holder.interested = wanted
	d.inbound.Forget()
	g.bus.UpdateInterest(d.id, wanted)
}

// wantedByAny reports whether a front end that subscribes to everything may
// have the device's telemetry.
func (g *registry) wantedByAny(d *device) bool {
	i := &g.interest
	return i.unlimited > 0 || slices.ContainsFunc(i.limited, func(fe *frontend) bool { return fe.mayObserve(d.id) })
}
