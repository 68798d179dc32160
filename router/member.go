package router

import (
	"bytes"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// member is the Router as its Bus sees it: what other nodes say comes in here.
// The bus calls one method at a time.
type member struct{ r *Router }

var _ federation.Member = member{}

// Join takes the router onto its bus. Bind comes first.
func (r *Router) Join() error {
	if err := r.bus.Join(member{r}); err != nil {
		return err
	}
	if r.bus.Self() != 0 {
		r.positions.start(r)
	}
	return nil
}

// Leave takes the router from its bus: the other nodes learn that it goes, and
// what still waits for them is refused. It comes when the devices and front ends
// have been told to go; the router then routes alone.
func (r *Router) Leave() {
	r.positions.stop()
	r.bus.Leave()
	r.failRemote(0, busDown)
	r.answering.Wait()
}

// failRemote ends the commands and queries that wait for a node, or with 0 for
// any.
func (r *Router) failRemote(node federation.NodeID, why ending) {
	r.failCommands(r.remotePending.takeAll(node), why)
	r.queries.gone(node)
}

// NodeJoined implements federation.Member.
func (m member) NodeJoined(node federation.NodeID, name string) { m.r.peers.setNode(node, name) }

// NodeLeft implements federation.Member: the node's devices are gone, and so is
// what waited for it.
func (m member) NodeLeft(node federation.NodeID, why federation.Departure) {
	m.r.registry.nodeLeft(node, why)
	m.r.failRemote(node, nodeGone)
}

func (g *registry) nodeLeft(node federation.NodeID, why federation.Departure) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.devices {
		if d.holder.remote != nil && d.holder.node == node {
			g.dropRemote(d, string(why))
			// When the node was there all the time, it will say the same again.
			d.holder.over = why == federation.NodeClosed
		}
		g.feed(d, node, false)
	}
	g.r.peers.removeNode(node)
}

// DeviceHeld implements federation.Member.
func (m member) DeviceHeld(node federation.NodeID, h federation.Holding) {
	g := &m.r.registry
	g.mu.Lock()
	before := g.entry(h.Device).holder.remote
	overtaken := g.holdRemote(node, h)
	d := g.devices[h.Device]
	if d.holder.remote != before && d.holder.interested && h.Epoch > g.made {
		// From here on everything is somebody's. What came before this node was
		// there is nobody's loss.
		m.r.lostBetweenNodes(d, d.inbound.Begin(node, &h.At))
	}
	g.mu.Unlock()
	if overtaken != nil {
		overtaken.Close(protocol.CloseReplaced, "the device connected to another node")
	}
}

// DeviceReleased implements federation.Member.
func (m member) DeviceReleased(node federation.NodeID, rel federation.Release) {
	g := &m.r.registry
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.devices[rel.Device]
	if d == nil {
		return
	}
	h := &d.holder
	if h.interested {
		// This node may hear of a holding only when the holding is over. Releases of
		// older holdings come again after an outage: those samples were accounted for.
		if h.newer(node, rel.Epoch) && rel.Epoch > g.made {
			m.r.lostBetweenNodes(d, d.inbound.Begin(node, &rel.Begin))
		}
		m.r.telemetryArrived(d, node, &federation.Batch{Device: d.id, Range: rel.End}, false)
	}
	if !h.is(node, rel.Epoch) {
		if h.newer(node, rel.Epoch) {
			h.epoch, h.node, h.over = rel.Epoch, node, true
		}
		return
	}
	g.dropRemote(d, rel.Reason)
	h.over = true
}

// DeviceOvertaken implements federation.Member. A connection that has only just
// come keeps its device with a greater epoch, once: what overtook it is older,
// was not known here, and its node's clock is ahead.
func (m member) DeviceOvertaken(device string, epoch, by uint64, first bool) {
	if s := m.r.registry.overtaken(device, epoch, by, first); s != nil {
		s.Close(protocol.CloseReplaced, "another node holds the device")
	}
}

// overtaken returns the session that has to go, nil for none.
func (g *registry) overtaken(device string, epoch, by uint64, first bool) *session.Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.devices[device]
	if d == nil || d.session == nil || !d.holder.is(g.bus.Self(), epoch) {
		return nil
	}
	s := d.session
	if c := s.Attachment().(*deviceConn); first && !c.raised {
		c.raised = true
		d.holder.epoch = max(d.holder.epoch, by)
		g.hold(d, s)
		return nil
	}
	reason := protocol.CloseReplaced.Name()
	g.takeOffline(d, reason)
	g.release(d, epoch, reason)
	return s
}

// UserChanged implements federation.Member.
func (m member) UserChanged(node federation.NodeID, user string, here bool) {
	m.r.peers.setUser(node, user, here)
}

// InterestChanged implements federation.Member.
func (m member) InterestChanged(node federation.NodeID, device string, wanted bool) {
	g := &m.r.registry
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.devices[device]
	if d == nil {
		if !wanted {
			return
		}
		d = g.entry(device)
	}
	g.feed(d, node, wanted)
	if wanted {
		g.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: d.outbound.Position()})
	}
}

// ReceiveTelemetry implements federation.Member.
func (m member) ReceiveTelemetry(from federation.NodeID, b *federation.Batch) {
	g := &m.r.registry
	g.mu.Lock()
	d := g.devices[b.Device]
	wanted := d != nil && d.holder.interested && d.stream != 0
	early := wanted && (d.holder.remote == nil || d.holder.node != from)
	g.mu.Unlock()
	if wanted {
		m.r.telemetryArrived(d, from, b, early)
	}
}

// BusChanged implements federation.Member.
func (m member) BusChanged(up bool) {
	if up {
		m.r.registry.tellPositions(true)
		return
	}
	m.r.failRemote(0, busDown)
}

// Receive implements federation.Member.
func (m member) Receive(from federation.NodeID, msg *federation.Message) {
	r := m.r
	switch msg.Kind {
	case federation.KindCommand, federation.KindToDevice, federation.KindToSession, federation.KindToUser, federation.KindToFrontends:
		r.deliverFrom(from, msg)
	case federation.KindAnswer:
		r.routeRemoteAnswer(from, msg)
	case federation.KindFailure:
		r.routeRemoteFailure(from, msg)
	case federation.KindCount, federation.KindResult:
		r.queries.answered(msg.Corr, from, append([]byte{}, msg.Text...), int(msg.Count))
	case federation.KindQuery:
		r.answerQuery(from, msg)
	}
}

// deliverFrom delivers a message of another node to those who are here.
func (r *Router) deliverFrom(node federation.NodeID, msg *federation.Message) {
	sender := &nodeSender{r: r, node: node, msg: msg}
	var e protocol.Envelope
	if err := e.Parse(msg.Text); err != nil {
		// A peer must be given messages only, whoever wrote to the bus.
		r.failTo(node, msg, protocol.ErrBadMessage, err.Error())
		return
	}
	sender.src = string(e.Src)
	switch msg.Kind {
	case federation.KindCommand, federation.KindToDevice:
		e.TimeoutMS = int(msg.TimeoutMS)
		r.toDevice(sender, &e, []byte(msg.Name), r.manager.ByDevice(msg.Name))
	case federation.KindToSession:
		r.toSession(sender, &e, msg.Session)
	case federation.KindToUser:
		r.toUser(sender, &e, []byte(msg.Name))
	case federation.KindToFrontends:
		r.toFrontends(sender, &e)
	}
}

// failTo tells the node of a message's sender why the message failed.
func (r *Router) failTo(node federation.NodeID, msg *federation.Message, code protocol.ErrorCode, message string) {
	if msg.Sender == (uuid.UUID{}) && msg.Corr == 0 {
		r.stats.countError(code)
		return
	}
	_ = r.bus.Send(node, &federation.Message{Kind: federation.KindFailure, Corr: msg.Corr, Session: msg.Sender, ID: msg.ID, Code: code, Text: []byte(message)})
}

// checkText reports whether what another node sent is a message.
func (r *Router) checkText(text []byte) bool {
	var e protocol.Envelope
	if e.Parse(text) != nil {
		r.stats.countError(protocol.ErrBadMessage)
		return false
	}
	return true
}

// Undelivered implements federation.Member.
func (m member) Undelivered(to federation.NodeID, msg *federation.Message, certain bool) {
	text := "the node that it was for could not be reached; it was not delivered"
	if !certain {
		text = "the node that it was for went out of reach while it was under way; whether it was delivered is not known"
	}
	fail := federation.Message{Kind: federation.KindFailure, Corr: msg.Corr, Session: msg.Sender, ID: msg.ID, Code: protocol.ErrUnavailable, Text: []byte(text)}
	switch msg.Kind {
	case federation.KindCommand:
		m.r.routeRemoteFailure(to, &fail)
	case federation.KindToDevice, federation.KindToSession:
		fail.Corr = 0
		m.r.routeRemoteFailure(to, &fail)
	case federation.KindToUser, federation.KindToFrontends, federation.KindQuery:
		m.r.queries.answered(msg.Corr, to, nil, 0)
	}
}

// ReceiveExternal implements federation.Member.
func (m member) ReceiveExternal(text []byte) error {
	if err := m.r.routeExternal(text); err != nil {
		return err
	}
	return nil
}

// routeExternal routes a message of a program outside, which is nobody's
// command: there is no session that its answer could go to.
func (r *Router) routeExternal(text []byte) *protocol.Error {
	if len(text) > r.opts.MaxMessage {
		return protocol.NewError(protocol.ErrTooLarge, "the message is larger than the gateway's --max-message; send less")
	}
	var e protocol.Envelope
	if err := e.Parse(text); err != nil {
		return protocol.NewError(protocol.ErrBadMessage, err.Error())
	}
	switch {
	case bytes.HasPrefix(e.Type, gatewayPrefix):
		return protocol.NewError(protocol.ErrNotAllowed, `field "type": "gateway." types are the gateway's own`)
	case e.ID != nil || e.Re != nil:
		return protocol.NewError(protocol.ErrNotAllowed, `fields "id" and "re": nobody waits for an answer here; use POST /v1/devices/{id}/commands`)
	}
	dst, err := protocol.ParseDestination(e.Dst)
	if err != nil {
		return protocol.NewError(protocol.ErrBadMessage, err.Error())
	}
	var x externalSender
	r.deliver(&x, &e, dst)
	return x.err
}

// positionTeller tells the other nodes from time to time how far the devices
// are. Its timer is on the Manager's wheel.
type positionTeller struct {
	timer session.Timer
	r     *Router
	// stopped is guarded by registry.mu.
	stopped bool
}

// positionInterval is the time between two looks at which devices have moved on
// since other nodes were last told how far they are. A node that missed the last
// batch of a device which then fell silent learns of its loss by that.
const positionInterval = time.Second

func (t *positionTeller) start(r *Router) {
	t.r, t.timer.Owner = r, t
	t.Expire(time.Now())
}

func (t *positionTeller) stop() {
	if t.r == nil {
		return
	}
	t.r.registry.mu.Lock()
	t.stopped = true
	t.r.registry.mu.Unlock()
	t.r.manager.Wheel().Cancel(&t.timer)
}

// Expire runs on the wheel's goroutine.
func (t *positionTeller) Expire(time.Time) {
	t.r.registry.tellPositions(false)
	t.r.registry.mu.Lock()
	defer t.r.registry.mu.Unlock()
	if !t.stopped {
		t.r.manager.Wheel().Schedule(&t.timer, time.Now().Add(positionInterval))
	}
}

// tellPositions tells the other nodes how far the devices are whose telemetry
// they want: those that have moved of late, or all.
func (g *registry) tellPositions(all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for d := range g.fedElsewhere {
		if at, again := d.outbound.Repeat(); again || all {
			g.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: at})
		}
	}
}
