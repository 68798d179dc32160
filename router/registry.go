package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// registry has the devices, local and remote, and the front ends with their
// rights and subscriptions. Its methods are in registry.go, presence.go,
// subscription.go, rights.go, holder.go, welcome.go and status.go.
//
// mu guards every field that has no other note. mu also orders the notices: each
// front end gets the notices of a device in order, and no notice of a change that
// the list in its welcome includes already.
//
// Some changes walk over all devices with mu held. So no message and no telemetry
// may wait for mu: what routing reads has a lock of its own, or needs none.
type registry struct {
	// Static.
	r   *Router
	bus federation.Bus
	// createdMicros is the time at which the registry was created, in microseconds
	// since 1970. Holdings that began later have greater epochs.
	createdMicros uint64

	// Replaced under mu, read without it.
	everyone   atomic.Pointer[[]*session.Session] // all front ends
	allDevices receiverList                       // receivers of every device's telemetry
	// subscriptionSeq is odd while front ends move between allDevices and the
	// devices' lists of receivers. moving is held during that time, below mu; no
	// walk over all devices is made with moving held.
	subscriptionSeq atomic.Uint64
	moving          sync.Mutex

	// These have their own locks.
	users userIndex
	feeds remoteFeeds

	mu      sync.Mutex
	devices map[string]*device
	// online has the devices that are connected, here or to another node.
	online     map[*device]struct{}
	owners     map[string]*owner // by credential
	lastStream uint32
	measured   measuredDevices
	// listing is the encoded device list of the welcome; nil after a change.
	listing []byte
	// remoteInterest has the devices in whose telemetry other nodes are
	// interested.
	remoteInterest map[*device]struct{}
	interest       interest
	descriptions   descriptions
}

// device is the registry's entry for a device id. The device may be connected or
// not. registry.mu guards every field that has no other note.
type device struct {
	// Static.
	id string
	// outbound is the device's outbound position; nil on a single node. It has
	// its own lock.
	outbound *federation.Outbound
	// inbound is the device's inbound position. It has its own lock.
	inbound federation.Inbound

	// described is the description in force here, nil for none. Writers hold
	// registry.mu; readers need no lock.
	described   atomic.Pointer[describe.Described]
	description deviceDescription

	// stream is the number in the device's telemetry frames on this node: 0
	// until the device first connects, and static from then on.
	stream uint32
	// prepared is the time of the last Prepare for a session of the device.
	prepared time.Time
	// session is the newest connection here, nil while there is none.
	session *session.Session
	// receivers has the front ends that listed this device, and the bus while
	// other nodes are interested in the device. subscribers counts these front
	// ends.
	receivers   receiverList
	subscribers int
	holder      holder

	// counters need no lock.
	counters deviceCounters
	// offlineSince is the time at which the device last went offline on all nodes;
	// zero: never.
	offlineSince time.Time
	// lastSeen is the time at which something last arrived from the device on a
	// connection here that has ended, in milliseconds since 1970; 0: never.
	lastSeen int64
	// known: the device has connected, here or to another node. measured: the
	// gateway shows the device's metrics.
	known, measured bool
}

// online reports whether the device is connected, here or to another node. The
// caller holds registry.mu.
func (d *device) online() bool { return d.session != nil || d.holder.remote != nil }

const (
	// maxKnownDevices limits the entries in devices. At the limit, each new id
	// evicts an entry that is unwanted, if evictOne finds one.
	maxKnownDevices = 100_000
	// evictionScan bounds the entries that evictOne looks at. Without this
	// bound, a new id could cost a walk over all entries with mu held.
	evictionScan = 64
	// evictionGrace is the time after Prepare in which an entry is not evicted,
	// because its device may be about to connect. The Manager needs far less time
	// from Prepare to OnConnect.
	evictionGrace = time.Minute
)

func (g *registry) init(r *Router) {
	g.r, g.bus, g.createdMicros = r, r.bus, uint64(time.Now().UnixMicro())
	g.devices = make(map[string]*device)
	g.owners = make(map[string]*owner)
	g.online = make(map[*device]struct{})
	g.remoteInterest = make(map[*device]struct{})
	g.measured.limit = r.opts.DeviceMetrics
	for _, x := range r.opts.Receivers {
		g.allDevices.add(x)
	}
}

// frontends returns all front ends. The caller must not change the list.
func (g *registry) frontends() []*session.Session {
	if p := g.everyone.Load(); p != nil {
		return *p
	}
	return nil
}

// changed updates online and listing after a device was connected or
// disconnected. The caller holds mu.
func (g *registry) changed(d *device) {
	g.listing = nil
	if d.online() {
		g.online[d] = struct{}{}
		g.measure(d)
	} else if _, was := g.online[d]; was {
		delete(g.online, d)
		d.offlineSince = time.Now()
	}
}

// prepare returns the entry of a device that is about to connect.
func (g *registry) prepare(id string) *device {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.entry(id)
	d.prepared = time.Now()
	g.numberStream(d)
	return d
}

// prepareOwner returns the owner for a front end's session, and counts the
// session; nil without a credential. releaseOwner must be called when the session
// ends.
func (g *registry) prepareOwner(credential string) *owner {
	if credential == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.owners[credential]
	if o == nil {
		o = new(owner)
		g.owners[credential] = o
	}
	o.sessions++
	return o
}

// releaseOwner subtracts a session from the owner, and removes the owner with its
// last session. The caller holds mu.
func (g *registry) releaseOwner(credential string) {
	if o := g.owners[credential]; o != nil {
		if o.sessions--; o.sessions <= 0 {
			delete(g.owners, credential)
		}
	}
}

// numberStream assigns a stream number to a device that has none. The caller
// holds mu.
func (g *registry) numberStream(d *device) {
	if d.stream == 0 {
		g.lastStream++
		d.stream = g.lastStream
		g.feeds.update(d)
	}
}

// entry returns the entry for id, and creates the entry if necessary. The caller
// holds mu.
func (g *registry) entry(id string) *device {
	if d := g.devices[id]; d != nil {
		return d
	}
	if len(g.devices) >= maxKnownDevices {
		g.evictOne()
	}
	d := &device{id: id}
	if g.bus.Self() != 0 {
		d.outbound = new(federation.Outbound)
	}
	g.devices[id] = d
	return d
}

// evictOne removes one unwanted entry, if it finds one among the first
// evictionScan entries. The caller holds mu.
func (g *registry) evictOne() {
	looked := 0
	for id, d := range g.devices {
		if d.unwanted() && time.Since(d.prepared) > evictionGrace {
			if d.holder.interested {
				g.bus.UpdateInterest(id, false)
			}
			g.unmeasure(d)
			g.feeds.remove(id)
			g.forgetDescription(d)
			delete(g.devices, id)
			return
		}
		if looked++; looked >= evictionScan {
			return
		}
	}
}

// unwanted reports whether the device is offline on every node, is not measured,
// and has no receivers in its list. The caller holds mu.
func (d *device) unwanted() bool {
	return !d.online() && len(d.receivers.load()) == 0 && !d.measured
}

// info describes a device that is connected, here or to another node. The
// caller holds mu.
func (g *registry) info(d *device) (_ protocol.DeviceInfo, online bool) {
	switch {
	case d.session != nil:
		return g.infoHere(d), true
	case d.holder.remote != nil:
		return g.infoRemote(d), true
	}
	return protocol.DeviceInfo{}, false
}

// infoHere describes a device that is connected here. The caller holds mu.
func (g *registry) infoHere(d *device) protocol.DeviceInfo {
	info := d.session.Info()
	return protocol.DeviceInfo{DeviceID: d.id, Stream: d.stream, Node: g.r.opts.Node, Type: info.Type, Customer: info.Customer, Meta: info.Meta, DescriptionVersion: versionOf(d.described.Load())}
}

// infoRemote describes a device that another node holds. The caller holds mu.
func (g *registry) infoRemote(d *device) protocol.DeviceInfo {
	h := d.holder.remote
	name, _ := g.r.peers.name(d.holder.node)
	return protocol.DeviceInfo{DeviceID: d.id, Stream: d.stream, Node: name, Type: h.Type, Customer: h.Customer, Meta: h.Meta, DescriptionVersion: h.Description}
}
