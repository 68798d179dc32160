package router

import (
	"fmt"
	"slices"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	// maxSubscriptions bounds the devices that one front end may list.
	maxSubscriptions = protocol.MaxSubscriptionDevices
	// devicesPerMessage is the number of devices in a subscription that count as
	// one message of the front end's rate. Each device costs entries in shared
	// tables, and messages to other nodes.
	devicesPerMessage = 2
)

// subscribe handles gateway.subscribe and gateway.unsubscribe. The answer to a
// request with an id is the resulting subscription.
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
	if !r.charge(s, e, len(want.Devices)) {
		return
	}
	holds, fail := r.registry.subscribe(fe, want, on)
	if fail != nil {
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	answerControl(s, e, protocol.TypeSubscribed, holds)
}

// subscribe applies a request and returns the resulting subscription.
func (g *registry) subscribe(fe *frontend, want protocol.Subscription, on bool) (protocol.Subscription, *protocol.Error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.updateInterests()
	g.beginMove()
	defer g.endMove()
	if id, forbidden := fe.forbidden(want.Devices); on && forbidden {
		return protocol.Subscription{}, protocol.NewError(protocol.ErrNotAllowed, `field "payload.devices": this front end may not observe device `+id+`; leave it out`)
	}
	switch {
	case !fe.s.Open():
	case on && want.Telemetry == protocol.TelemetryAll:
		g.unsubscribeAll(fe)
		g.subscribeAll(fe)
	case on:
		// A list replaces "all", but is added to an earlier list.
		if fe.all || want.Telemetry == protocol.TelemetryNone {
			g.unsubscribeAll(fe)
		}
		if n := fe.countWith(want.Devices); n > maxSubscriptions {
			return protocol.Subscription{}, protocol.NewError(protocol.ErrBadMessage, fmt.Sprintf(`field "payload.devices": %d devices with those listed before, at most %d allowed; use "telemetry":"all"`, n, maxSubscriptions))
		}
		for _, id := range want.Devices {
			g.listDevice(fe, id)
		}
	case want.Telemetry != "":
		g.unsubscribeAll(fe)
	case fe.all:
		return protocol.Subscription{}, protocol.NewError(protocol.ErrBadMessage, `field "payload.devices": everything is subscribed, nothing is listed; subscribe to the devices that are wanted instead`)
	default:
		for _, id := range want.Devices {
			g.unlistDevice(fe, id)
		}
	}
	return fe.subscription(), nil
}

// beginMove begins a change after which the lists of receivers are valid together
// only; endMove ends the change. The caller holds mu.
func (g *registry) beginMove() {
	g.moving.Lock()
	g.subscriptionSeq.Add(1)
}

func (g *registry) endMove() {
	g.subscriptionSeq.Add(1)
	g.moving.Unlock()
}

// subscribeAll subscribes a front end to all devices that it may observe. The
// caller holds mu.
func (g *registry) subscribeAll(fe *frontend) {
	fe.all = true
	g.allDevices.add(fe.receiver())
	g.recordAllDevices(fe, 1)
}

// unsubscribeAll removes a front end from every list of receivers. The caller
// holds mu.
func (g *registry) unsubscribeAll(fe *frontend) {
	if fe.all {
		fe.all = false
		g.allDevices.remove(fe.receiver())
		g.recordAllDevices(fe, -1)
	}
	for id := range fe.listed {
		g.unlistDevice(fe, id)
	}
}

// listDevice subscribes a front end to one device. The caller holds mu.
func (g *registry) listDevice(fe *frontend, id string) {
	if fe.listed[id] != nil {
		return
	}
	if fe.listed == nil {
		fe.listed = make(map[string]*device)
	}
	d := g.entry(id)
	fe.listed[id] = d
	d.receivers.add(liveReceiver{fe.s})
	d.subscribers++
	g.updateInterest(d)
}

// unlistDevice ends the subscription of a front end to one device. The caller
// holds mu.
func (g *registry) unlistDevice(fe *frontend, id string) {
	d := fe.listed[id]
	if d == nil {
		return
	}
	delete(fe.listed, id)
	d.receivers.remove(liveReceiver{fe.s})
	d.subscribers--
	g.updateInterest(d)
	// The entry of a device that never connected is removed with its last
	// receiver.
	if d.stream == 0 && d.unwanted() {
		delete(g.devices, id)
	}
}

// receivers returns the receivers of a device's telemetry: every has the receivers
// of all devices, some the receivers of this device only. Both lists are from the
// same moment, so a front end that moves from one list to the other gets each
// batch exactly once.
func (g *registry) receivers(d *device) (every, some []Receiver) {
	before := g.subscriptionSeq.Load()
	every, some = g.allDevices.load(), d.receivers.load()
	if before&1 == 0 && g.subscriptionSeq.Load() == before {
		return every, some
	}
	g.moving.Lock()
	defer g.moving.Unlock()
	return g.allDevices.load(), d.receivers.load()
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

// countWith returns the length of the list after ids are added to it. ids may
// contain listed devices and duplicates.
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

func (fe *frontend) subscription() protocol.Subscription {
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
