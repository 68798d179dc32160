package router

import (
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// maxKnownDevices bounds the device ids whose stream numbers are remembered.
// Beyond it an id that is offline and unwanted is forgotten for each new one.
const maxKnownDevices = 100_000

const (
	// evictionScan bounds the entries that are looked at, in no order, for one
	// to forget: with hardly any to be found, each new id would cost a walk
	// over all of them with mu held.
	evictionScan = 64
	// evictionGrace keeps an entry whose device is connecting: it stays for
	// that long after the session was prepared, which is far longer than the
	// Manager takes from there to OnConnect.
	evictionGrace = time.Minute
)

// device is what the router knows of a device id, whether it is connected or
// not. Its stream number stays the same as long as the node runs.
type device struct {
	id string
	// stream is 0 until the device first connects; guarded by Router.mu until
	// then, static afterwards.
	stream uint32
	// prepared is when a connection of the device was last about to be added;
	// guarded by Router.mu.
	prepared time.Time
	// session is the newest connection, nil while offline; guarded by
	// Router.mu.
	session *session.Session
	// subscribers are the front ends that listed this device; replaced under
	// Router.mu, read without it.
	subscribers atomic.Pointer[[]*session.Session]
	// shared is nil when there is no bus. Static.
	shared *shared
}

// deviceFor returns the entry for a device that is about to connect.
func (r *Router) deviceFor(id string) *device {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.deviceEntry(id)
	d.prepared = time.Now()
	if d.stream == 0 {
		r.lastStream++
		d.stream = r.lastStream
	}
	return d
}

// deviceEntry returns the entry for id, made when there is none. The caller
// holds mu.
func (r *Router) deviceEntry(id string) *device {
	if d := r.devices[id]; d != nil {
		return d
	}
	if len(r.devices) >= maxKnownDevices {
		r.forgetDevice()
	}
	d := &device{id: id}
	if r.bus != nil {
		d.shared = new(shared)
	}
	d.subscribers.Store(new([]*session.Session))
	r.devices[id] = d
	return d
}

// forgetDevice makes room for a new entry, when one of those it looks at is
// offline and unwanted. The caller holds mu.
func (r *Router) forgetDevice() {
	looked := 0
	for id, d := range r.devices {
		if d.unwanted() && time.Since(d.prepared) > evictionGrace {
			if d.shared != nil && d.shared.wanting {
				r.bus.Want(id, false)
			}
			delete(r.devices, id)
			return
		}
		if looked++; looked >= evictionScan {
			return
		}
	}
}

// unwanted reports whether nobody has or wants the device, here or elsewhere.
// The caller holds Router.mu.
func (d *device) unwanted() bool {
	return d.session == nil && len(*d.subscribers.Load()) == 0 && (d.shared == nil || d.shared.holder == nil && len(d.shared.wanters) == 0)
}

// deviceConnected announces a device, which was welcomed when its session was
// prepared. Of two connections of one device that arrive together, the newer
// stays.
func (r *Router) deviceConnected(s *session.Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := s.Attachment().(*link).device
	// A session that ended meanwhile has run, or will run, deviceDisconnected;
	// that needs mu, so what is seen here is what it will see.
	open := s.Open()
	if old := d.session; old != nil {
		if old.Generation() > s.Generation() {
			return
		}
		r.announce(protocol.TypeDeviceOffline, d, r.deviceInfo(d), protocol.CloseReplaced.Name())
		if d.shared != nil && !open {
			r.releaseHere(d, d.shared.epoch, protocol.CloseReplaced.Name())
		}
	}
	d.session = nil
	r.listing = nil
	if !open {
		return
	}
	r.dropHolder(d, protocol.CloseReplaced.Name())
	d.session = s
	if d.shared != nil {
		r.holdHere(d, s)
	}
	r.announce(protocol.TypeDeviceOnline, d, r.deviceInfo(d), "connected")
}

// deviceDisconnected fails what waited for the device and announces that it
// is gone, unless a newer connection has taken its place.
func (r *Router) deviceDisconnected(s *session.Session, cause session.Cause) {
	l := s.Attachment().(*link)
	r.failPending(l)

	r.mu.Lock()
	defer r.mu.Unlock()
	d := l.device
	if d.session != s {
		return
	}
	r.announce(protocol.TypeDeviceOffline, d, r.deviceInfo(d), cause.Reason)
	d.session = nil
	r.listing = nil
	if d.shared != nil {
		r.releaseHere(d, d.shared.epoch, cause.Reason)
	}
}

// announce tells every front end that may observe it that a device came or
// went. The caller holds mu, so that each front end sees the notices of a
// device in order and none that its welcome has told already.
func (r *Router) announce(typ string, d *device, info protocol.DeviceInfo, reason string) {
	r.notify(*r.everyone.Load(), typ, d, info, reason)
}

// notify is announce for some front ends.
func (r *Router) notify(to []*session.Session, typ string, d *device, info protocol.DeviceInfo, reason string) {
	msg, err := protocol.NewMessage(typ, protocol.DeviceNotice{
		DeviceID: d.id, Stream: d.stream, Node: info.Node, Reason: reason,
		Type: info.Type, Customer: info.Customer, Meta: info.Meta,
	})
	if err != nil {
		// Only values that were checked at the handshake go in.
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

// sendAll queues one frame for many front ends, but not for except, and leaves
// the writing to the flushers. It returns how many took it. A frame that comes
// from or speaks of a device is for those that may observe it; device is ""
// for all others.
func sendAll(to []*session.Session, f *session.Frame, urgent bool, except *session.Session, device string) int {
	n := 0
	for _, s := range to {
		if s != except && (device == "" || mayObserve(s, device)) && s.Send(f, urgent) == nil {
			s.Schedule()
			n++
		}
	}
	return n
}
