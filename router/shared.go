package router

import (
	"github.com/labgate/labgate/router/federation"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// shared is what the router of a node among several knows of a device beyond
// its own sessions. Guarded by Router.mu, except where it says otherwise.
type shared struct {
	// epoch and node are the newest holding that is known, of this node or
	// another, whether it lasts or not; over says that it was given up, and that
	// only a newer one will be believed.
	epoch uint64
	node  federation.NodeID
	over  bool
	// holder is what the other node said that holds the device now; nil when
	// none does.
	holder *federation.Holding
	// foreign says that another node held the device last.
	foreign bool
	// wanting says that this node has asked the others for the telemetry.
	wanting bool
	// wanters are the nodes that have asked this one.
	wanters map[federation.NodeID]struct{}
	// wanted is whether there are any; read without a lock.
	wanted atomic.Bool
	// outbound is how far the telemetry is that came here; its own lock.
	outbound federation.Outbound
	// inbound is how far that is which came from other nodes; its own lock.
	inbound federation.Inbound
}

// newer reports whether a holding is newer than the newest known.
func (sh *shared) newer(node federation.NodeID, epoch uint64) bool {
	if epoch != sh.epoch {
		return epoch > sh.epoch
	}
	return node > sh.node
}

// is reports whether a holding is the newest known.
func (sh *shared) is(node federation.NodeID, epoch uint64) bool {
	return sh.node == node && sh.epoch == epoch
}

// others is what the router knows of the other nodes. Its lock is a leaf; it is
// changed with Router.mu held.
type others struct {
	mu sync.RWMutex
	// names has every node that is there.
	names map[federation.NodeID]string
	// holders finds the node that holds a device.
	holders map[string]federation.NodeID
	// users finds the nodes that have sessions of a user.
	users map[string][]federation.NodeID
}

func newOthers() others {
	return others{names: make(map[federation.NodeID]string), holders: make(map[string]federation.NodeID), users: make(map[string][]federation.NodeID)}
}

// holder returns the node that holds a device.
func (o *others) holder(device []byte) (federation.NodeID, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	id, ok := o.holders[string(device)]
	return id, ok
}

// having returns the nodes that have sessions of a user.
func (o *others) having(user []byte) []federation.NodeID {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return slices.Clone(o.users[string(user)])
}

// name returns a node's name and whether it is there.
func (o *others) name(node federation.NodeID) (string, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	name, ok := o.names[node]
	return name, ok
}

// all returns the names of all other nodes.
func (o *others) all() map[federation.NodeID]string {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return maps.Clone(o.names)
}

// any reports whether there is another node.
func (o *others) any() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return len(o.names) > 0
}

func (o *others) setHolder(device string, node federation.NodeID, holds bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if holds {
		o.holders[device] = node
	} else {
		delete(o.holders, device)
	}
}

// setUser notes whether a node has sessions of a user. The lists are replaced.
func (o *others) setUser(node federation.NodeID, user string, here bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(o.users[user]), func(n federation.NodeID) bool { return n == node })
	if here {
		left = append(left, node)
	}
	if len(left) == 0 {
		delete(o.users, user)
	} else {
		o.users[user] = left
	}
}

func (o *others) setNode(node federation.NodeID, name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names[node] = name
}

// removeNode forgets a node and its users.
func (o *others) removeNode(node federation.NodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.names, node)
	for user, nodes := range o.users {
		if !slices.Contains(nodes, node) {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(nodes), func(n federation.NodeID) bool { return n == node })
		if len(left) == 0 {
			delete(o.users, user)
		} else {
			o.users[user] = left
		}
	}
}

// Nodes returns the names of the other nodes that are there.
func (r *Router) Nodes() map[federation.NodeID]string { return r.others.all() }

// HeldElsewhere reports whether another node holds a device.
func (r *Router) HeldElsewhere(device string) bool {
	if r.bus == nil {
		return false
	}
	_, held := r.others.holder([]byte(device))
	return held
}

// holdHere says to the other nodes that the device is connected here, in place
// of whoever held it. The caller holds mu and has announced what went.
func (r *Router) holdHere(d *device, s *session.Session) {
	sh := d.shared
	sh.epoch = max(sh.epoch+1, uint64(time.Now().UnixMicro()))
	sh.node, sh.over, sh.foreign = r.bus.Self(), false, false
	info := s.Info()
	r.bus.Hold(federation.Holding{Device: d.id, Epoch: sh.epoch, Type: info.Type, Customer: info.Customer, Meta: info.Meta, At: sh.outbound.Position()})
	r.rewant(d)
}

// releaseHere takes that back. The caller holds mu.
func (r *Router) releaseHere(d *device, epoch uint64, reason string) {
	sh := d.shared
	if sh.is(r.bus.Self(), epoch) {
		sh.over = true
	}
	r.bus.Release(federation.Release{Device: d.id, Epoch: epoch, Reason: reason, End: sh.outbound.Position()})
	r.rewant(d)
}

// dropHolder announces that the device's other holder is not it any longer. The
// caller holds mu.
func (r *Router) dropHolder(d *device, reason string) {
	if d.shared == nil || d.shared.holder == nil {
		return
	}
	r.announce(protocol.TypeDeviceOffline, d, r.foreignInfo(d), reason)
	d.shared.holder = nil
	r.others.setHolder(d.id, 0, false)
	r.listing = nil
}

// foreignInfo describes a device that another node holds. The caller holds mu.
func (r *Router) foreignInfo(d *device) protocol.DeviceInfo {
	h := d.shared.holder
	name, _ := r.others.name(d.shared.node)
	return protocol.DeviceInfo{DeviceID: d.id, Stream: d.stream, Node: name, Type: h.Type, Customer: h.Customer, Meta: h.Meta}
}

// rewant asks the other nodes for the device's telemetry, or does so no longer,
// when that has changed: it is wanted while somebody here subscribes to it and
// it does not come here itself. A device that was listed is waited for, so that
// nothing is missed when it comes. The caller holds mu.
func (r *Router) rewant(d *device) {
	sh := d.shared
	if sh == nil {
		return
	}
	want := d.session == nil && (len(*d.subscribers.Load()) > 0 || sh.foreign && r.wantsAny(d))
	if want == sh.wanting {
		return
	}
	sh.wanting = want
	sh.inbound.Forget()
	r.bus.Want(d.id, want)
}

// wantsAny reports whether a front end that subscribes to everything may have
// the device's telemetry.
func (r *Router) wantsAny(d *device) bool {
	if len(*r.telemetryAll.Load()) > 0 {
		return true
	}
	return slices.ContainsFunc(*r.telemetrySome.Load(), func(s *session.Session) bool { return mayObserve(s, d.id) })
}

// subscribersChanged looks which devices of other nodes are wanted, after the
// lists of those that want everything may have changed. The caller holds mu.
func (r *Router) subscribersChanged() {
	if r.bus == nil {
		return
	}
	anyAll, some := len(*r.telemetryAll.Load()) > 0, r.telemetrySome.Load()
	if anyAll == r.sawAll && (anyAll || some == r.sawSome) {
		return
	}
	r.sawAll, r.sawSome = anyAll, some
	for _, d := range r.devices {
		r.rewant(d)
	}
}
