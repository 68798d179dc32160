package router

import (
	"bytes"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// member is the Router as the federation.Member of its Bus. Everything that other
// nodes send enters here. The bus calls one method at a time.
type member struct{ r *Router }

var _ federation.Member = member{}

// Join joins the bus. Call Bind first.
func (r *Router) Join() error {
	if err := r.bus.Join(member{r}); err != nil {
		return err
	}
	if r.bus.Self() != 0 {
		r.positions.start(r)
	}
	return nil
}

// Leave leaves the bus. The other nodes learn that this node leaves, and
// commands and queries that still wait for them fail. Call Leave after the
// sessions were told to disconnect; from then on the router reaches local
// sessions only.
func (r *Router) Leave() {
	r.positions.stop()
	r.bus.Leave()
	r.failRemote(0, busDown)
	r.answering.Wait()
}

// failRemote fails the commands and queries that wait for a node, or with 0 for
// any other node.
func (r *Router) failRemote(node federation.NodeID, why ending) {
	r.failCommands(r.remotePending.takeAll(node), why)
	r.queries.abandonNode(node)
}

// NodeJoined implements federation.Member.
func (m member) NodeJoined(node federation.NodeID, name string) { m.r.peers.setNode(node, name) }

// NodeLeft implements federation.Member: the node's devices go offline, and
// the commands and queries that wait for the node fail.
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
			// A lost node may have been cut off only. Then the node repeats the
			// same holding, and this node must accept the holding.
			d.holder.over = why == federation.NodeClosed
		}
		g.recordInterest(d, node, false)
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
	if d.holder.remote != before && d.holder.interested && h.Epoch > g.createdMicros {
		// The holding began after this node had started. So this node reports every
		// sample of the holding that does not arrive as lost.
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
		// A node that was cut off may learn of a holding only at its release. After
		// an outage, nodes repeat the releases of older holdings, whose samples are
		// accounted for already.
		if h.newer(node, rel.Epoch) && rel.Epoch > g.createdMicros {
			m.r.lostBetweenNodes(d, d.inbound.Begin(node, &rel.Begin))
		}
		m.r.telemetryArrived(d, node, &federation.Batch{Device: d.id, Range: rel.End}, false)
	}
	switch {
	case h.is(node, rel.Epoch):
		g.dropRemote(d, rel.Reason)
		h.over = true
	case h.newer(node, rel.Epoch):
		g.releasedUnseen(d, node, rel.Epoch)
	}
}

// releasedUnseen records the end of a holding of another node that this node has
// not learned of, and that is newer than the known holding. The caller holds mu.
func (g *registry) releasedUnseen(d *device, node federation.NodeID, epoch uint64) {
	h := &d.holder
	g.dropRemote(d, protocol.CloseReplaced.Name())
	h.epoch, h.node, h.over = epoch, node, true
	g.feeds.update(d)
}

// DeviceOvertaken implements federation.Member. When first is true, the other
// node's holding is older than this node's new connection, and only a clock that
// is ahead gave it the greater epoch. Then this node holds the device again with
// a still greater epoch, once for each connection.
func (m member) DeviceOvertaken(device string, epoch, by uint64, first bool) {
	if s := m.r.registry.overtaken(device, epoch, by, first); s != nil {
		s.Close(protocol.CloseReplaced, "another node holds the device")
	}
}

// overtaken either raises the epoch of this node's holding, or ends the holding.
// It returns the session that the caller must close, nil for none.
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
	g.recordInterest(d, node, wanted)
	if wanted {
		g.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: d.outbound.Position()})
	}
}

// ReceiveTelemetry implements federation.Member.
func (m member) ReceiveTelemetry(from federation.NodeID, b *federation.Batch) {
	if f, wanted := m.r.registry.feeds.of(b.Device); wanted {
		m.r.telemetryArrived(f.dev, from, b, f.holder != from)
	}
}

// BusChanged implements federation.Member.
func (m member) BusChanged(up bool) {
	if up {
		g := &m.r.registry
		g.mu.Lock()
		defer g.mu.Unlock()
		g.sendPositions(true)
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

// deliverFrom delivers a message of another node to local sessions.
func (r *Router) deliverFrom(node federation.NodeID, msg *federation.Message) {
	sender := &nodeSender{r: r, node: node, msg: msg}
	var e protocol.Envelope
	if err := e.Parse(msg.Text); err != nil {
		// Any program may write to Redis, and sessions must get valid messages
		// only.
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

// failTo tells the node that sent a message why the message failed.
func (r *Router) failTo(node federation.NodeID, msg *federation.Message, code protocol.ErrorCode, message string) {
	if msg.Sender == (uuid.UUID{}) && msg.Corr == 0 {
		r.stats.countError(code)
		return
	}
	_ = r.bus.Send(node, &federation.Message{Kind: federation.KindFailure, Corr: msg.Corr, Session: msg.Sender, ID: msg.ID, Code: code, Text: []byte(message)})
}

// checkText reports whether a text from another node is a valid message.
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

// routeExternal routes an external message. An external message is never a
// command: no session could get the answer.
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

// positionReporter sends the outbound positions of devices to the other nodes at
// an interval. The timer is on the Manager's wheel.
type positionReporter struct {
	timer session.Timer
	r     *Router

	// mu guards stopped. The Wheel's lock may be taken below mu.
	mu      sync.Mutex
	stopped bool
}

// positionInterval is the time between two reports. When a device falls silent
// after a batch, a node that missed the batch learns of the loss from a report.
const positionInterval = time.Second

// positionRetry is the time until the next attempt at a report while the registry
// is busy.
const positionRetry = 10 * time.Millisecond

func (t *positionReporter) start(r *Router) {
	t.r, t.timer.Owner = r, t
	t.Expire(time.Now())
}

func (t *positionReporter) stop() {
	if t.r == nil {
		return
	}
	t.mu.Lock()
	t.stopped = true
	t.mu.Unlock()
	t.r.manager.Wheel().Cancel(&t.timer)
}

// Expire runs on the wheel's goroutine. It does not wait for the registry, because
// the deadlines of commands would wait too.
func (t *positionReporter) Expire(time.Time) {
	next := positionRetry
	if g := &t.r.registry; g.mu.TryLock() {
		g.sendPositions(false)
		g.mu.Unlock()
		next = positionInterval
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.r.manager.Wheel().Schedule(&t.timer, time.Now().Add(next))
	}
}

// sendPositions sends the outbound positions of devices in whose telemetry other
// nodes are interested. When all is false, it sends only the positions of devices
// that sent telemetry recently (federation.Outbound.Repeat). The caller holds mu.
func (g *registry) sendPositions(all bool) {
	for d := range g.remoteInterest {
		if at, again := d.outbound.Repeat(); again || all {
			g.bus.SendTelemetry(&federation.Batch{Device: d.id, Range: at})
		}
	}
}
