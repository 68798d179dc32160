package router

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// maxSubscriptions bounds the devices that one front end may list.
const maxSubscriptions = protocol.MaxSubscriptionDevices

// frontend is the router's state of one front end's session.
type frontend struct {
	// last is the device that a message was for, for the next one: owned by the
	// reading goroutine.
	last *session.Session
	// pending counts its commands that wait for an answer.
	pending atomic.Int32
	// rights are what it may do, nil for everything; replaced under Router.mu,
	// read without it.
	rights atomic.Pointer[session.Rights]
	// all and listed are its subscription; guarded by Router.mu. With all set
	// the list is empty.
	all    bool
	listed map[string]*device
}

func newFrontend(rights session.Rights) *frontend {
	fe := &frontend{}
	if rights != nil {
		fe.rights.Store(&rights)
	}
	return fe
}

func (r *Router) frontendConnected(s *session.Session) {
	fe := s.Attachment().(*frontend)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.Open() {
		return
	}
	if err := r.welcomeFrontend(s); err != nil {
		return
	}
	add(&r.everyone, s)
	if user := s.Name(); user != "" {
		r.users[user] = append(r.users[user], s)
		if r.bus != nil && len(r.users[user]) == 1 {
			r.bus.User(user, true)
		}
	}
	if s.Info().Telemetry != protocol.TelemetryNone {
		fe.all = true
		add(r.allOf(fe), s)
		r.subscribersChanged()
	}
}

func (r *Router) frontendDisconnected(s *session.Session) {
	fe := s.Attachment().(*frontend)
	r.mu.Lock()
	defer r.mu.Unlock()
	remove(&r.everyone, s)
	r.unsubscribeAll(s, fe)
	if user := s.Name(); user != "" {
		left := without(r.users[user], s)
		if len(left) > 0 {
			r.users[user] = left
		} else if r.users[user] != nil {
			delete(r.users, user)
			if r.bus != nil {
				r.bus.User(user, false)
			}
		}
	}
	r.subscribersChanged()
}

// subscribe handles gateway.subscribe and gateway.unsubscribe. What holds
// afterwards is the answer when the request had an id.
func (r *Router) subscribe(s *session.Session, e *protocol.Envelope, on bool) {
	fe, ok := s.Attachment().(*frontend)
	if !ok {
		r.refuse(s, protocol.ErrNotAllowed, "a device receives no telemetry; connect as a front end to subscribe", e.ID)
		return
	}
	want, err := protocol.ParseSubscription(e.Payload)
	if err != nil {
		r.refuse(s, protocol.ErrBadMessage, err.Error(), e.ID)
		return
	}
	r.mu.Lock()
	holds, fail := r.changeSubscription(s, fe, want, on)
	r.subscribersChanged()
	r.mu.Unlock()
	if fail != nil {
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	if e.ID == nil {
		return
	}
	msg, err := protocol.NewMessage(protocol.TypeSubscribed, holds)
	if err == nil {
		msg.Re = string(e.ID)
		err = s.SendMessage(&msg, false)
	}
	if err == nil {
		s.Touch(s)
	}
}

// changeSubscription applies a request and returns what holds afterwards. The
// caller holds mu.
func (r *Router) changeSubscription(s *session.Session, fe *frontend, want protocol.Subscription, on bool) (protocol.Subscription, *protocol.Error) {
	r.moves.Add(1)
	defer r.moves.Add(1)
	if id, forbidden := fe.forbidden(want.Devices); on && forbidden {
		return protocol.Subscription{}, protocol.NewError(protocol.ErrNotAllowed, `field "payload.devices": this front end may not observe device `+id+`; leave it out`)
	}
	switch {
	case !s.Open():
	case on && want.Telemetry == protocol.TelemetryAll:
		r.unsubscribeAll(s, fe)
		fe.all = true
		add(r.allOf(fe), s)
	case on:
		// A list narrows "all" down; it is added to a list.
		if fe.all || want.Telemetry == protocol.TelemetryNone {
			r.unsubscribeAll(s, fe)
		}
		if n := fe.countWith(want.Devices); n > maxSubscriptions {
			return protocol.Subscription{}, protocol.NewError(protocol.ErrBadMessage, fmt.Sprintf(`field "payload.devices": %d devices with those listed before, at most %d allowed; use "telemetry":"all"`, n, maxSubscriptions))
		}
		for _, id := range want.Devices {
			r.listDevice(s, fe, id)
		}
	case want.Telemetry != "":
		r.unsubscribeAll(s, fe)
	case fe.all:
		return protocol.Subscription{}, protocol.NewError(protocol.ErrBadMessage, `field "payload.devices": everything is subscribed, nothing is listed; subscribe to the devices that are wanted instead`)
	default:
		for _, id := range want.Devices {
			r.unlistDevice(s, fe, id)
		}
	}
	return r.subscription(fe), nil
}

// countWith returns how many devices would be listed with those in ids, which
// may be listed already, or name one twice.
func (fe *frontend) countWith(ids []string) int {
	n := len(fe.listed) + len(ids)
	if n <= maxSubscriptions {
		return n
	}
	fresh := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if fe.listed[id] == nil {
			fresh[id] = struct{}{}
		}
	}
	return len(fe.listed) + len(fresh)
}

func (r *Router) subscription(fe *frontend) protocol.Subscription {
	if fe.all {
		return protocol.Subscription{Telemetry: protocol.TelemetryAll}
	}
	if len(fe.listed) == 0 {
		return protocol.Subscription{Telemetry: protocol.TelemetryNone}
	}
	sub := protocol.Subscription{Devices: make([]string, 0, len(fe.listed))}
	for id := range fe.listed {
		sub.Devices = append(sub.Devices, id)
	}
	slices.Sort(sub.Devices)
	return sub
}

func (r *Router) listDevice(s *session.Session, fe *frontend, id string) {
	if fe.listed[id] != nil {
		return
	}
	if fe.listed == nil {
		fe.listed = make(map[string]*device)
	}
	d := r.deviceEntry(id)
	fe.listed[id] = d
	add(&d.subscribers, s)
	r.rewant(d)
}

func (r *Router) unlistDevice(s *session.Session, fe *frontend, id string) {
	d := fe.listed[id]
	if d == nil {
		return
	}
	delete(fe.listed, id)
	remove(&d.subscribers, s)
	r.rewant(d)
	// An id that never connected needs no entry once nobody waits for it.
	if d.stream == 0 && d.unwanted() {
		delete(r.devices, id)
	}
}

func (r *Router) unsubscribeAll(s *session.Session, fe *frontend) {
	if fe.all {
		fe.all = false
		remove(r.allOf(fe), s)
	}
	for id := range fe.listed {
		r.unlistDevice(s, fe, id)
	}
}

// add puts s at the end of a list. Readers of the old list see its old length
// only, so growing in place does not disturb them: a storm of connections costs
// one copy per doubling.
func add(list *atomic.Pointer[[]*session.Session], s *session.Session) {
	grown := append(*list.Load(), s)
	list.Store(&grown)
}

func remove(list *atomic.Pointer[[]*session.Session], s *session.Session) {
	old := *list.Load()
	if !slices.Contains(old, s) {
		return
	}
	left := without(old, s)
	list.Store(&left)
}

// without returns a copy of list without s: readers may still use the old one.
func without(list []*session.Session, s *session.Session) []*session.Session {
	left := make([]*session.Session, 0, len(list))
	for _, other := range list {
		if other != s {
			left = append(left, other)
		}
	}
	return left
}
