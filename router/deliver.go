package router

import (
	"bytes"
	"errors"
	"strconv"
	"sync"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// The way of a text message: routeText reads it, deliver finds its destination,
// and one function for each kind of destination gives it to those who are here
// and to other nodes. Messages of the HTTP API, of other nodes and of programs
// outside join at deliver.

var gatewayPrefix = []byte(protocol.GatewayPrefix)

// routeText routes one text message of a session by its envelope.
func (r *Router) routeText(s *session.Session, text []byte) {
	r.stats.TextIn.Add(1)
	var e protocol.Envelope
	if err := e.Parse(text); err != nil {
		r.refuse(s, protocol.ErrBadMessage, err.Error(), e.ID)
		return
	}
	if bytes.HasPrefix(e.Type, gatewayPrefix) {
		r.routeControl(s, &e)
		return
	}
	if fe, ok := s.Attachment().(*frontend); ok {
		r.routeFromFrontend(fe, &e)
	} else {
		r.routeFromDevice(s.Attachment().(*deviceConn), &e)
	}
}

// routeFromFrontend remembers the device that the last message was for: the next
// one is most often for the same.
func (r *Router) routeFromFrontend(fe *frontend, e *protocol.Envelope) {
	if e.Re != nil {
		fe.refuse(protocol.ErrNotAllowed, `field "re": only devices answer; leave it out`, e.ID)
		return
	}
	if fe.last != nil && string(e.Dst) == fe.last.Name() && fe.last.Open() {
		r.toDevice(fe, e, e.Dst, fe.last)
		return
	}
	dst, err := protocol.ParseDestination(e.Dst)
	if err != nil {
		fe.refuse(protocol.ErrBadMessage, err.Error(), e.ID)
		return
	}
	if dst.Kind == protocol.DstDevice {
		fe.last = r.manager.ByDeviceBytes(dst.Name)
	}
	r.deliver(fe, e, dst)
}

// routeFromDevice takes a device's answers out of the rest: they go to whoever
// asked, and what has no dst goes to all front ends.
func (r *Router) routeFromDevice(c *deviceConn, e *protocol.Envelope) {
	dst, err := protocol.ParseDestination(e.Dst)
	switch {
	case err != nil:
		c.refuse(protocol.ErrBadMessage, err.Error(), e.ID)
	case e.Re != nil:
		r.routeAnswer(c, e)
	case dst.Kind == protocol.DstNone:
		r.toFrontends(c, e)
	default:
		r.deliver(c, e, dst)
	}
}

// deliver gives a message to its destination. The sender is told what could not
// be delivered.
func (r *Router) deliver(from sender, e *protocol.Envelope, dst protocol.Destination) {
	switch dst.Kind {
	case protocol.DstDevice:
		r.toDevice(from, e, dst.Name, r.manager.ByDeviceBytes(dst.Name))
	case protocol.DstFrontends:
		r.toFrontends(from, e)
	case protocol.DstUser:
		r.toUser(from, e, dst.Name)
	case protocol.DstSession:
		id, err := uuid.ParseBytes(dst.Name)
		if err != nil {
			from.refuse(protocol.ErrNotFound, textNoSession, e.ID)
			return
		}
		r.toSession(from, e, id)
	default:
		from.refuse(protocol.ErrBadMessage, `field "dst": missing; name a device id, @frontends, @user/NAME or @session/UUID`, e.ID)
	}
}

// toDevice delivers a message to a device at most once: to is the device's
// session, nil when it is not connected here. An absent device is told of at
// once, and nothing is kept for it. A message with an id that is not itself an
// answer is a command and waits for the device's answer (command.go).
func (r *Router) toDevice(from sender, e *protocol.Envelope, name []byte, to *session.Session) {
	c := r.newCommand(from, e, name, to)
	fail := r.passToDevice(from, e, c, name, to)
	if fail == nil {
		return
	}
	if c != nil {
		c.tellEnd(string(fail.Code))
	}
	from.refuse(fail.Code, fail.Message, e.ID)
}

// passToDevice returns why a message was not delivered, if the sender is still to
// be told.
func (r *Router) passToDevice(from sender, e *protocol.Envelope, c *command, name []byte, to *session.Session) *protocol.Error {
	fail := from.mayCommand(name, to)
	if fail != nil {
		return fail
	}
	var node federation.NodeID
	if to == nil {
		if node, fail = r.nodeOf(from, name); fail != nil {
			return fail
		}
		if from.scope() == eachNode {
			return nil // that node was given the message, too
		}
	}
	if c != nil {
		if fail = r.beginCommand(c, e, to, node); fail != nil {
			return fail
		}
	}
	if to != nil {
		fail = r.passHere(from, e, c, to)
	} else {
		fail = r.passOn(from, e, c, name, node)
	}
	if fail == nil {
		if from.scope() == allNodes {
			r.stats.Commands.Add(1)
		}
		return nil
	}
	if c != nil && !c.leave() {
		return nil // the command's end came first, and its asker was told that
	}
	return fail
}

// nodeOf returns the node that holds a device which is not connected here, or
// why there is none.
func (r *Router) nodeOf(from sender, device []byte) (federation.NodeID, *protocol.Error) {
	if from.scope() == thisNode {
		return 0, deviceOffline(string(device))
	}
	if !r.bus.Up() {
		return 0, protocol.NewError(protocol.ErrUnavailable, "device "+string(device)+": it is not connected to this node, and the other nodes cannot be reached; the message was not delivered")
	}
	node, held := r.peers.holder(device)
	if !held {
		return 0, deviceOffline(string(device))
	}
	return node, nil
}

// passHere gives a message to a device that is connected here.
func (r *Router) passHere(from sender, e *protocol.Envelope, c *command, to *session.Session) *protocol.Error {
	sp := protocol.Splice{Src: from.source()}
	if c != nil && c.renamed() {
		sp.ID = c.wireID
	}
	if err := to.SendEnvelope(e, sp, e.Urgent, from.account()); err != nil {
		return notQueued(err, protocol.ErrDeviceOffline)
	}
	from.wake(to)
	return nil
}

// passOn gives a message to the node that holds its device.
func (r *Router) passOn(from sender, e *protocol.Envelope, c *command, name []byte, node federation.NodeID) *protocol.Error {
	text := scratches.Get().(*[]byte)
	defer giveScratch(text)
	*text = e.AppendSpliced((*text)[:0], protocol.Splice{Src: from.source()})
	msg := federation.Message{Kind: federation.KindToDevice, Urgent: e.Urgent, Name: string(name), ID: string(e.ID), Text: *text}
	if c != nil {
		msg.Kind, msg.Corr, msg.TimeoutMS = federation.KindCommand, c.number(), uint32(timeoutMS(e))
	} else if s := from.session(); s != nil {
		msg.Sender = s.ID()
	}
	if err := r.bus.Send(node, &msg); err != nil {
		return notSent(err)
	}
	return nil
}

// toFrontends gives a message to every front end on every node.
func (r *Router) toFrontends(from sender, e *protocol.Envelope) {
	f := spliced(e, from)
	defer f.Release()
	var to receipt
	to.sessions, to.flooded = sendAll(r.registry.frontends(), f, e.Urgent, from.session(), from.device())
	if from.scope() == allNodes && (r.peers.any() || !r.bus.Up()) {
		to.err = r.bus.SendAll(&federation.Message{
			Kind: federation.KindToFrontends, Corr: from.count(r.peers.all()), Urgent: e.Urgent, Device: from.device(), Text: wsframe.Payload(f.Wire()),
		})
	}
	from.delivered(to, e.ID)
}

// toUser gives a message to every session of a user on every node.
func (r *Router) toUser(from sender, e *protocol.Envelope, user []byte) {
	f := spliced(e, from)
	defer f.Release()
	to := receipt{user: user}
	to.sessions, to.flooded = sendAll(r.registry.user(user), f, e.Urgent, nil, from.device())
	switch from.scope() {
	case eachNode:
		to.nodes = len(r.peers.having(user))
	case allNodes:
		if to.err = federation.ErrDown; r.bus.Up() {
			to.nodes, to.err = r.sendToUser(from, e, f, user)
		}
	}
	from.delivered(to, e.ID)
}

// sendToUser gives a message to the nodes that have sessions of a user, and
// returns how many took it.
func (r *Router) sendToUser(from sender, e *protocol.Envelope, f *session.Frame, user []byte) (took int, err error) {
	nodes := r.peers.having(user)
	if len(nodes) == 0 {
		return 0, nil
	}
	msg := federation.Message{Kind: federation.KindToUser, Urgent: e.Urgent, Device: from.device(), Name: string(user), Text: wsframe.Payload(f.Wire())}
	msg.Corr = from.count(r.peers.named(nodes))
	for _, node := range nodes {
		if e := r.bus.Send(node, &msg); e != nil {
			r.queries.answered(msg.Corr, node, nil, 0)
			err = e
			continue
		}
		took++
	}
	return took, err
}

// toSession gives a message to one front end, wherever it is.
func (r *Router) toSession(from sender, e *protocol.Envelope, id uuid.UUID) {
	to := r.manager.Get(id)
	if node := federation.NodeOf(id); to == nil && node != r.bus.Self() && from.scope() != thisNode {
		r.toRemoteSession(from, e, id, node)
		return
	}
	if to == nil || to.Role() != session.RoleFrontend || from.device() != "" && !mayObserve(to, from.device()) {
		from.refuse(protocol.ErrNotFound, textNoSession, e.ID)
		return
	}
	if err := to.SendEnvelope(e, protocol.Splice{Src: from.source()}, e.Urgent, from.account()); err != nil {
		fail := notQueued(err, protocol.ErrNotFound)
		from.refuse(fail.Code, fail.Message, e.ID)
		return
	}
	from.wake(to)
}

func (r *Router) toRemoteSession(from sender, e *protocol.Envelope, id uuid.UUID, node federation.NodeID) {
	_, there := r.peers.name(node)
	switch {
	case !there && (r.bus.Up() || from.scope() == eachNode):
		from.refuse(protocol.ErrNotFound, textNoSession, e.ID)
		return
	case from.scope() == eachNode:
		return // that node was given the message, too
	}
	msg := federation.Message{
		Kind: federation.KindToSession, Urgent: e.Urgent, Session: id, Device: from.device(), ID: string(e.ID),
		Text: e.AppendSpliced(nil, protocol.Splice{Src: from.source()}),
	}
	if s := from.session(); s != nil {
		msg.Sender = s.ID()
	}
	if err := r.bus.Send(node, &msg); err != nil {
		fail := notSent(err)
		from.refuse(fail.Code, fail.Message, e.ID)
	}
}

// sendAll queues one frame for many front ends, but not for except, and leaves
// the writing to the flushers. It returns how many took the frame, and how many
// did not because too much of the same sender's waits there. A frame that comes
// from or speaks of a device is for those that may observe the device; device is
// "" for all others.
func sendAll(to []*session.Session, f *session.Frame, urgent bool, except *session.Session, device string) (took, flooded int) {
	for _, s := range to {
		if s == except || device != "" && !mayObserve(s, device) {
			continue
		}
		switch err := s.Send(f, urgent); {
		case err == nil:
			s.Schedule()
			took++
		case errors.Is(err, session.ErrSenderFlood):
			flooded++
		}
	}
	return took, flooded
}

// spliced returns the message with its true source as a frame, encoded once
// for all its receivers.
func spliced(e *protocol.Envelope, from sender) *session.Frame {
	sp := protocol.Splice{Src: from.source()}
	f := session.NewTextFrameFor(e.SplicedSize(sp))
	f.AppendEnvelope(e, sp)
	f.ChargeTo(from.account())
	return f
}

// scratches are buffers in which messages to other nodes are put together.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch bounds the buffers that are kept.
const maxScratch = 16 << 10

func giveScratch(b *[]byte) {
	if cap(*b) <= maxScratch {
		scratches.Put(b)
	}
}

// The reasons why a message is not delivered.

const textNoSession = "no front end has that session id; it may have reconnected under a new one"

func deviceOffline(device string) *protocol.Error {
	return protocol.NewError(protocol.ErrDeviceOffline, "device "+device+" is not connected; the message was not delivered and will not be")
}

// notQueued names the reason why a message could not be queued for its receiver;
// offline is the code of one that is not connected.
func notQueued(err error, offline protocol.ErrorCode) *protocol.Error {
	if errors.Is(err, session.ErrSenderFlood) {
		return protocol.NewError(protocol.ErrOverloaded, "the receiver's queue is full of messages of this sender; the message was not delivered; send fewer or smaller ones")
	}
	if errors.Is(err, session.ErrSlowConsumer) {
		return protocol.NewError(protocol.ErrOverloaded, "the receiver's queue is full; it is being disconnected and was not given this message")
	}
	return protocol.NewError(offline, "the receiver is not connected; it was not given this message")
}

// notSent names the reason why the bus did not take a message for one node.
func notSent(err error) *protocol.Error {
	if errors.Is(err, federation.ErrFull) {
		return protocol.NewError(protocol.ErrOverloaded, "too much waits to leave for other nodes; the message was not delivered")
	}
	return protocol.NewError(protocol.ErrUnavailable, "the node that it is for cannot be reached; the message was not delivered")
}

// failure returns what a sender must know of how far its message came, nil for
// nothing.
func (to receipt) failure() *protocol.Error {
	reached := to.sessions + to.nodes + to.flooded
	switch {
	case to.user != nil && reached == 0 && errors.Is(to.err, federation.ErrDown):
		return protocol.NewError(protocol.ErrUnavailable, "no session of that user is connected to this node, and the other nodes cannot be reached")
	case to.flooded > 0:
		return protocol.NewError(protocol.ErrOverloaded, "the queues of "+strconv.Itoa(to.flooded)+" front ends are full of messages of this sender; they were not given this message; send fewer or smaller ones")
	case errors.Is(to.err, federation.ErrFull):
		return protocol.NewError(protocol.ErrOverloaded, "too much waits to leave for other nodes; front ends connected to this one were given the message, others were not")
	case to.err != nil:
		return protocol.NewError(protocol.ErrUnavailable, "the other nodes cannot be reached; front ends connected to this one were given the message, others were not")
	case to.user != nil && reached == 0:
		return protocol.NewError(protocol.ErrNotFound, "no session of that user is connected")
	}
	return nil
}
