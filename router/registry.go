package router

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// registry knows who is there and who wants what: devices, here or on other
// nodes, front ends, their rights and subscriptions. Its methods stand in
// registry.go, presence.go, subscription.go, rights.go and holder.go.
//
// mu guards everything but what says otherwise, and orders what front ends are
// told: each sees the notices of a device in order, and none that its welcome
// has told already.
type registry struct {
	// Static.
	r   *Router
	bus federation.Bus
	// made is when the registry was made, in microseconds since 1970: the epochs
	// of devices that came since are greater.
	made uint64

	// Replaced under mu, read without it.
	everyone   atomic.Pointer[[]*session.Session] // all front ends
	allDevices receiverList                       // who wants every device's telemetry
	// subscriptionSeq is odd while front ends move between allDevices and the
	// devices' lists of receivers.
	subscriptionSeq atomic.Uint64

	mu      sync.Mutex
	devices map[string]*device
	// online are those of them that are connected, here or to another node.
	online     map[*device]struct{}
	users      map[string][]*session.Session
	owners     map[string]*owner // by credential
	lastStream uint32
	measured   measuredDevices
	// listing is the encoded device list of the welcome; nil when it must be
	// made anew.
	listing []byte
	// fedElsewhere are the devices whose telemetry other nodes want.
	fedElsewhere map[*device]struct{}
	interest     interest
}

// device is what the registry knows of a device id, whether the device is
// connected or not. Guarded by registry.mu, except where it says otherwise.
type device struct {
	// Static.
	id string
	// outbound is how far the telemetry is that came here, for other nodes; nil
	// on a node alone. It has a lock of its own.
	outbound *federation.Outbound
	// inbound is how far the telemetry is that came from other nodes; it has a
	// lock of its own.
	inbound federation.Inbound

	// stream is 0 until the device first connects, and static from then on: it
	// stays the same as long as the node runs.
	stream uint32
	// prepared is when a connection of the device was last about to be added.
	prepared time.Time
	// session is the newest connection here, nil while there is none.
	session *session.Session
	// receivers want this device's telemetry: front ends that listed it, of which
	// there are subscribers, and the bus while other nodes want it.
	receivers   receiverList
	subscribers int
	holder      holder

	// counters are counted without mu.
	counters deviceCounters
	// offlineSince is when the device went offline everywhere; zero: never.
	offlineSince time.Time
	// lastSeen is when the device was last heard before its last connection here
	// ended, in milliseconds since 1970; 0: never.
	lastSeen int64
	// known: the device has connected, here or to another node. measured: its
	// metrics are shown.
	known, measured bool
}

// online reports whether the device is connected, here or to another node. The
// caller holds registry.mu.
func (d *device) online() bool { return d.session != nil || d.holder.remote != nil }

const (
	// maxKnownDevices bounds the device ids whose stream numbers are remembered.
	// Beyond it an id that is offline and unwanted is forgotten for each new one.
	maxKnownDevices = 100_000
	// evictionScan bounds the entries that are looked at, in no order, for one
	// to forget: with hardly any to be found, each new id would cost a walk
	// over all of them with mu held.
	evictionScan = 64
	// evictionGrace keeps an entry whose device is connecting: it stays for
	// that long after the session was prepared, which is far longer than the
	// Manager takes from there to OnConnect.
	evictionGrace = time.Minute
)

func (g *registry) init(r *Router) {
	g.r, g.bus, g.made = r, r.bus, uint64(time.Now().UnixMicro())
	g.devices, g.users = make(map[string]*device), make(map[string][]*session.Session)
	g.owners = make(map[string]*owner)
	g.online = make(map[*device]struct{})
	g.fedElsewhere = make(map[*device]struct{})
	g.measured.limit = r.opts.DeviceMetrics
	for _, x := range r.opts.Receivers {
		g.allDevices.add(x)
	}
}

// frontends returns all front ends. The list must not be changed.
func (g *registry) frontends() []*session.Session {
	if p := g.everyone.Load(); p != nil {
		return *p
	}
	return nil
}

// changed notes that a device came or went. The caller holds mu.
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

// user returns the sessions of a user. The list must not be changed.
func (g *registry) user(name []byte) []*session.Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.users[string(name)]
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

// prepareOwner returns the owner of a front end's session, nil for one without a
// credential. The session's end takes it back.
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

// releaseOwner takes that back. The caller holds mu.
func (g *registry) releaseOwner(credential string) {
	if o := g.owners[credential]; o != nil {
		if o.sessions--; o.sessions <= 0 {
			delete(g.owners, credential)
		}
	}
}

// numberStream gives a device its stream number, if it has none. The caller
// holds mu.
func (g *registry) numberStream(d *device) {
	if d.stream == 0 {
		g.lastStream++
		d.stream = g.lastStream
	}
}

// entry returns the entry for id, made when there is none. The caller holds mu.
func (g *registry) entry(id string) *device {
	if d := g.devices[id]; d != nil {
		return d
	}
	if len(g.devices) >= maxKnownDevices {
		g.forgetOne()
	}
	d := &device{id: id}
	if g.bus.Self() != 0 {
		d.outbound = new(federation.Outbound)
	}
	g.devices[id] = d
	return d
}

// forgetOne makes room for a new entry, when one of those it looks at is
// offline and unwanted. The caller holds mu.
func (g *registry) forgetOne() {
	looked := 0
	for id, d := range g.devices {
		if d.unwanted() && time.Since(d.prepared) > evictionGrace {
			if d.holder.interested {
				g.bus.UpdateInterest(id, false)
			}
			g.unmeasure(d)
			delete(g.devices, id)
			return
		}
		if looked++; looked >= evictionScan {
			return
		}
	}
}

// unwanted reports whether nobody has or wants the device, here or elsewhere, and
// its metrics are not shown. The caller holds mu.
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
	return protocol.DeviceInfo{DeviceID: d.id, Stream: d.stream, Node: g.r.opts.Node, Type: info.Type, Customer: info.Customer, Meta: info.Meta}
}

// infoRemote describes a device that another node holds. The caller holds mu.
func (g *registry) infoRemote(d *device) protocol.DeviceInfo {
	h := d.holder.remote
	name, _ := g.r.peers.name(d.holder.node)
	return protocol.DeviceInfo{DeviceID: d.id, Stream: d.stream, Node: name, Type: h.Type, Customer: h.Customer, Meta: h.Meta}
}
