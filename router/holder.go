package router

import (
	"slices"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// This file has the state of holdings and interests: which node holds a
// device, and which nodes are interested in its telemetry. On a single node
// the bus does nothing, and no device has a remote holder.

// holder has this node's knowledge of which node holds a device, and of which
// nodes are interested in its telemetry. Guarded by registry.mu.
type holder struct {
	// epoch and node identify the newest known holding, of this node or another.
	// over: this holding has ended, and the router accepts only newer holdings.
	epoch uint64
	node  federation.NodeID
	over  bool
	// at is the position of the telemetry when this node's holding began.
	at federation.Range
	// remote is the holding of another node that holds the device now; nil when no
	// other node holds the device.
	remote *federation.Holding
	// wasRemote: the last known holder was another node.
	wasRemote bool
	// interested: this node has told the others that it is interested in the
	// telemetry.
	interested bool
	// interestedNodes are the other nodes that are interested in the
	// telemetry.
	interestedNodes map[federation.NodeID]struct{}
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

// hold tells the other nodes that this node holds the device from now on. Before
// the call, the caller announces the end of the device's earlier connection. The
// caller holds mu.
func (g *registry) hold(d *device, s *session.Session) {
	if d.outbound == nil {
		return
	}
	h := &d.holder
	h.epoch = max(h.epoch+1, uint64(time.Now().UnixMicro()))
	h.node, h.over, h.wasRemote = g.bus.Self(), false, false
	h.at = d.outbound.Position()
	g.announceHolding(d, s)
	g.updateInterest(d)
}

// holdAgain tells the other nodes that a device which this node holds has another
// description. The caller holds mu.
func (g *registry) holdAgain(d *device) {
	if d.outbound != nil && d.session != nil {
		g.announceHolding(d, d.session)
	}
}

func (g *registry) announceHolding(d *device, s *session.Session) {
	info := s.Info()
	g.bus.Hold(federation.Holding{
		Device: d.id, Epoch: d.holder.epoch, Type: info.Type, Customer: info.Customer, Meta: info.Meta, At: d.holder.at,
		Description: versionOf(d.described.Load()),
	})
}

// release tells the other nodes that this node no longer holds the device. The
// caller holds mu.
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

// holdRemote records that another node holds the device, if this holding is newer
// than the known holding. It returns the device's local session, nil for none; the
// caller must close the session. The caller holds mu.
func (g *registry) holdRemote(node federation.NodeID, held federation.Holding) *session.Session {
	d := g.entry(held.Device)
	h := &d.holder
	switch {
	case h.newer(node, held.Epoch):
	case h.is(node, held.Epoch) && h.remote == nil && !h.over:
	case h.is(node, held.Epoch) && h.remote != nil:
		g.describeRemote(d, held.Description)
		return nil
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
	g.forgetDescription(d)
	g.numberStream(d)
	h.epoch, h.node, h.over, h.wasRemote = held.Epoch, node, false, true
	h.remote = &held
	g.r.peers.setHolder(d.id, node, true)
	g.changed(d)
	g.announce(protocol.TypeDeviceOnline, d, g.infoRemote(d), "connected")
	g.updateInterest(d)
	g.feeds.update(d)
	return overtaken
}

// describeRemote records which version the description of a remote device has. The
// caller holds mu.
func (g *registry) describeRemote(d *device, version string) {
	if d.holder.remote.Description == version {
		return
	}
	d.holder.remote.Description = version
	g.listing = nil
	var now *string
	if version != "" {
		now = &version
	}
	g.announceDescription(d, now)
}

// dropRemote ends the holding of another node, if there is one, and announces
// the device as offline. The caller holds mu.
func (g *registry) dropRemote(d *device, reason string) {
	if d.holder.remote == nil {
		return
	}
	g.announce(protocol.TypeDeviceOffline, d, g.infoRemote(d), reason)
	d.holder.remote = nil
	g.r.peers.setHolder(d.id, 0, false)
	g.feeds.update(d)
	g.changed(d)
}

// recordInterest records whether another node is interested in the device's
// telemetry. The caller holds mu.
func (g *registry) recordInterest(d *device, node federation.NodeID, wanted bool) {
	h := &d.holder
	before := len(h.interestedNodes)
	if wanted {
		if h.interestedNodes == nil {
			h.interestedNodes = make(map[federation.NodeID]struct{})
		}
		h.interestedNodes[node] = struct{}{}
	} else {
		delete(h.interestedNodes, node)
	}
	switch {
	case before == 0 && len(h.interestedNodes) > 0:
		g.remoteInterest[d] = struct{}{}
		d.receivers.add(busReceiver{g.r})
	case before > 0 && len(h.interestedNodes) == 0:
		delete(g.remoteInterest, d)
		d.receivers.remove(busReceiver{g.r})
	}
}

// interest has the front ends that subscribe to all devices.
type interest struct {
	// unlimited counts the front ends that may observe every device. limited has
	// the other front ends.
	unlimited int
	limited   []*frontend
	// changes counts the changes of limited. seenAny and seenChanges are from the
	// last call of updateInterests: whether unlimited was above 0, and the value
	// of changes.
	changes     uint64
	seenAny     bool
	seenChanges uint64
}

// recordAllDevices records that a front end subscribes to all devices (n is 1), or
// that this subscription has ended (n is -1). The caller holds mu.
func (g *registry) recordAllDevices(fe *frontend, n int) {
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

// updateInterests updates the interest in every device after a change of the
// front ends that subscribe to all devices. The caller holds mu.
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

// updateInterest tells the other nodes when this node's interest in a device's
// telemetry has changed. This node is interested while a front end here subscribes
// to the device and the device is not connected here. A listed device may even be
// offline, so that this node misses no telemetry when the device connects to
// another node. The caller holds mu.
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
	g.feeds.update(d)
	g.bus.UpdateInterest(d.id, wanted)
}

// wantedByAny reports whether a front end that subscribes to all devices may
// observe the device.
func (g *registry) wantedByAny(d *device) bool {
	i := &g.interest
	return i.unlimited > 0 || slices.ContainsFunc(i.limited, func(fe *frontend) bool { return fe.mayObserve(d.id) })
}
