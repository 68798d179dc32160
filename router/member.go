package router

import (
	"github.com/labgate/labgate/router/federation"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// member is the Router as its Bus sees it.
type member struct{ r *Router }

// Join takes the router onto its bus, if it has one. Bind comes first.
func (r *Router) Join() error {
	if r.bus == nil {
		return nil
	}
	if err := r.bus.Join(member{r}); err != nil {
		return err
	}
	r.teller.r, r.teller.timer.Owner = r, &r.teller
	r.teller.Expire(time.Now())
	return nil
}

// Leave takes the router from its bus, if it has one: the other nodes learn
// that it goes, and what still waits for them is refused. It comes when the
// devices and front ends have been told to go; the router then routes alone.
func (r *Router) Leave() {
	if r.bus == nil {
		return
	}
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	r.manager.Wheel().Cancel(&r.teller.timer)
	r.bus.Leave()
	r.busDown()
	r.answering.Wait()
}

// NodeJoined implements Member.
func (m member) NodeJoined(node federation.NodeID, name string) { m.r.others.setNode(node, name) }

// NodeLeft implements Member: the node's devices are gone, and so is what
// waited for it.
func (m member) NodeLeft(node federation.NodeID, why federation.Departure) {
	r := m.r
	r.mu.Lock()
	for _, d := range r.devices {
		sh := d.shared
		if sh.holder != nil && sh.node == node {
			r.dropHolder(d, string(why))
			// When the node was there all the time, it will say the same again.
			sh.over = why == federation.NodeClosed
		}
		r.setWanter(d, node, false)
	}
	r.others.removeNode(node)
	r.mu.Unlock()
	r.nodeGone(node)
}

// DeviceHeld implements Member.
func (m member) DeviceHeld(node federation.NodeID, h federation.Holding) {
	r := m.r
	r.mu.Lock()
	overtaken := r.deviceHeld(node, h)
	r.mu.Unlock()
	if overtaken != nil {
		overtaken.Close(protocol.CloseReplaced, "the device connected to another node")
	}
}

// deviceHeld makes the device another node's, if that is news, and returns the
// session here that has to go. The caller holds mu.
func (r *Router) deviceHeld(node federation.NodeID, h federation.Holding) *session.Session {
	d := r.deviceEntry(h.Device)
	sh := d.shared
	switch {
	case sh.newer(node, h.Epoch):
	case sh.is(node, h.Epoch) && sh.holder == nil && !sh.over:
	default:
		return nil
	}
	reason := protocol.CloseReplaced.Name()
	r.dropHolder(d, reason)
	overtaken := d.session
	if overtaken != nil {
		r.announce(protocol.TypeDeviceOffline, d, r.deviceInfo(d), reason)
		d.session = nil
		r.bus.Release(federation.Release{Device: d.id, Epoch: sh.epoch, Reason: reason, End: sh.outbound.Position()})
	}
	if d.stream == 0 {
		r.lastStream++
		d.stream = r.lastStream
	}
	sh.epoch, sh.node, sh.over, sh.foreign = h.Epoch, node, false, true
	sh.holder = &h
	r.others.setHolder(d.id, node, true)
	r.listing = nil
	r.announce(protocol.TypeDeviceOnline, d, r.foreignInfo(d), "connected")
	r.rewant(d)
	if sh.wanting && h.Epoch > r.born {
		// From here on everything is somebody's. What came before this node was
		// there is nobody's loss.
		if lost := sh.inbound.Begin(node, &h.At); len(lost) > 0 {
			r.reportLost(d, lost)
		}
	}
	return overtaken
}

// DeviceReleased implements Member.
func (m member) DeviceReleased(node federation.NodeID, rel federation.Release) {
	r := m.r
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[rel.Device]
	if d == nil {
		return
	}
	sh := d.shared
	if sh.wanting {
		r.telemetryArrived(d, node, &federation.Batch{Device: d.id, Range: rel.End}, false)
	}
	if !sh.is(node, rel.Epoch) {
		if sh.newer(node, rel.Epoch) {
			sh.epoch, sh.node, sh.over = rel.Epoch, node, true
		}
		return
	}
	r.dropHolder(d, rel.Reason)
	sh.over = true
}

// DeviceOvertaken implements Member. A connection that has only just come holds
// on to its device with a greater epoch, once: what overtook it is older, was
// not known here, and its node's clock is ahead.
func (m member) DeviceOvertaken(device string, epoch, by uint64, first bool) {
	r := m.r
	r.mu.Lock()
	d := r.devices[device]
	if d == nil || d.session == nil || !d.shared.is(r.bus.Self(), epoch) {
		r.mu.Unlock()
		return
	}
	s, sh := d.session, d.shared
	l := s.Attachment().(*link)
	if first && !l.raised {
		l.raised = true
		sh.epoch = max(sh.epoch, by)
		r.holdHere(d, s)
		r.mu.Unlock()
		return
	}
	reason := protocol.CloseReplaced.Name()
	r.announce(protocol.TypeDeviceOffline, d, r.deviceInfo(d), reason)
	d.session = nil
	r.listing = nil
	r.releaseHere(d, epoch, reason)
	r.mu.Unlock()
	s.Close(protocol.CloseReplaced, "another node holds the device")
}

// UserChanged implements Member.
func (m member) UserChanged(node federation.NodeID, user string, here bool) {
	m.r.others.setUser(node, user, here)
}

// WantChanged implements Member.
func (m member) WantChanged(node federation.NodeID, device string, wanted bool) {
	r := m.r
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.devices[device]
	if d == nil {
		if !wanted {
			return
		}
		d = r.deviceEntry(device)
	}
	r.setWanter(d, node, wanted)
	if wanted {
		r.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: d.shared.outbound.Position()})
	}
}

// setWanter notes whether a node wants the device's telemetry. The caller holds
// mu.
func (r *Router) setWanter(d *device, node federation.NodeID, wanted bool) {
	sh := d.shared
	if wanted {
		if sh.wanters == nil {
			sh.wanters = make(map[federation.NodeID]struct{})
		}
		sh.wanters[node] = struct{}{}
		r.wantedElsewhere[d] = struct{}{}
	} else {
		delete(sh.wanters, node)
		if len(sh.wanters) == 0 {
			delete(r.wantedElsewhere, d)
		}
	}
	sh.wanted.Store(len(sh.wanters) > 0)
}

// ReceiveTelemetry implements Member.
func (m member) ReceiveTelemetry(from federation.NodeID, b *federation.Batch) {
	r := m.r
	r.mu.Lock()
	d := r.devices[b.Device]
	wanting := d != nil && d.shared.wanting && d.stream != 0
	early := wanting && (d.shared.holder == nil || d.shared.node != from)
	r.mu.Unlock()
	if wanting {
		r.telemetryArrived(d, from, b, early)
	}
}

// BusChanged implements Member.
func (m member) BusChanged(up bool) {
	if up {
		m.r.tellPositions(true)
		return
	}
	m.r.busDown()
}

// Receive implements Member.
func (m member) Receive(from federation.NodeID, msg *federation.Message) {
	r := m.r
	switch msg.Kind {
	case federation.KindCommand:
		r.commandFrom(from, msg)
	case federation.KindToDevice:
		r.toDeviceFrom(from, msg)
	case federation.KindToSession:
		r.toSessionFrom(from, msg)
	case federation.KindToUser:
		r.mu.Lock()
		to := r.users[msg.Name]
		r.mu.Unlock()
		r.toManyFrom(from, msg, to)
	case federation.KindToFrontends:
		r.toManyFrom(from, msg, *r.everyone.Load())
	case federation.KindAnswer, federation.KindFailure:
		r.outcomeFrom(from, msg)
	case federation.KindCount, federation.KindResult:
		r.gathered(from, msg)
	case federation.KindQuery:
		r.queryFrom(from, msg)
	}
}

// Undelivered implements Member.
func (m member) Undelivered(to federation.NodeID, msg *federation.Message, certain bool) {
	text := "the node that it was for could not be reached; it was not delivered"
	if !certain {
		text = "the node that it was for went out of reach while it was under way; whether it was delivered is not known"
	}
	fail := federation.Message{Kind: federation.KindFailure, Corr: msg.Corr, Session: msg.Sender, ID: msg.ID, Code: protocol.ErrUnavailable, Text: []byte(text)}
	switch msg.Kind {
	case federation.KindCommand:
		m.r.outcomeFrom(to, &fail)
	case federation.KindToDevice, federation.KindToSession:
		fail.Corr = 0
		m.r.outcomeFrom(to, &fail)
	case federation.KindToUser, federation.KindToFrontends, federation.KindQuery:
		m.r.gathers.answered(msg.Corr, to, nil, 0)
	}
}

// toSessionFrom gives a message to a front end here.
func (r *Router) toSessionFrom(from federation.NodeID, msg *federation.Message) {
	to := r.manager.Get(msg.Session)
	if to == nil || to.Role() != session.RoleFrontend || msg.Device != "" && !mayObserve(to, msg.Device) {
		r.failFrom(from, msg, protocol.ErrNotFound, textNoSession)
		return
	}
	if err := r.giveText(to, msg); err != nil {
		code, message := sendFailure(err, protocol.ErrNotFound)
		r.failFrom(from, msg, code, message)
	}
}

// toManyFrom gives a message to front ends here, and says how many took it when
// that is asked.
func (r *Router) toManyFrom(from federation.NodeID, msg *federation.Message, to []*session.Session) {
	n := 0
	if r.checkText(msg) {
		f := session.NewTextFrame(msg.Text)
		n = sendAll(to, f, msg.Urgent, nil, msg.Device)
		f.Release()
	}
	if msg.Corr != 0 {
		_ = r.bus.Send(from, &federation.Message{Kind: federation.KindCount, Corr: msg.Corr, Count: uint32(n)})
	}
}

// giveText queues a message of another node for one peer here.
func (r *Router) giveText(to *session.Session, msg *federation.Message) error {
	f := session.NewTextFrame(msg.Text)
	defer f.Release()
	if err := to.Send(f, msg.Urgent); err != nil {
		return err
	}
	to.Schedule()
	return nil
}

// checkText reports whether what another node sent is a message: a peer must
// not be given anything else, whoever wrote to the bus.
func (r *Router) checkText(msg *federation.Message) bool {
	var e protocol.Envelope
	if e.Parse(msg.Text) != nil {
		r.stats.countError(protocol.ErrBadMessage)
		return false
	}
	return true
}

// failFrom tells the node of a message's sender why it failed.
func (r *Router) failFrom(from federation.NodeID, msg *federation.Message, code protocol.ErrorCode, message string) {
	if msg.Sender == (uuid.UUID{}) && msg.Corr == 0 {
		r.stats.countError(code)
		return
	}
	_ = r.bus.Send(from, &federation.Message{Kind: federation.KindFailure, Corr: msg.Corr, Session: msg.Sender, ID: msg.ID, Code: code, Text: []byte(message)})
}
