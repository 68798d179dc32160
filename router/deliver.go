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

// This file routes text messages. routeText parses a message of a session, and
// deliver chooses a function by the kind of the destination: toDevice,
// toFrontends, toUser or toSession. That function delivers the message to local
// sessions and sends it to other nodes. Messages of the HTTP API and of external
// programs enter at deliver, messages of other nodes at Router.deliverFrom.

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

// routeFromFrontend routes a message of a front end. It remembers the device of
// the last message, because the next message is most often for the same device.
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

// routeFromDevice routes a message of a device. An answer goes to the asker of
// its command. Any other message without a dst goes to all front ends.
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

// deliver delivers a message to its destination. When that fails, the sender gets
// an error.
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

// toDevice delivers a message to a device at most once. to is the device's
// session, nil when the device is not connected here. For a device that no node
// holds, the sender gets an error at once, and the message is not kept. A message
// with an id and without re is a command: the command waits for the device's
// answer (command.go).
func (r *Router) toDevice(from sender, e *protocol.Envelope, name []byte, to *session.Session) {
	c := r.newCommand(from, e, name, to)
	fail := r.sendToDevice(from, e, c, name, to)
	if fail == nil {
		return
	}
	if c != nil {
		c.tellEnd(string(fail.Code))
	}
	from.refuse(fail.Code, fail.Message, e.ID)
}

// sendToDevice sends a message to a device, here or through the device's node. It
// returns the error that the caller must pass to the sender, nil for none.
func (r *Router) sendToDevice(from sender, e *protocol.Envelope, c *command, name []byte, to *session.Session) *protocol.Error {
	fail := from.mayCommand(name, to)
	if fail != nil {
		return fail
	}
	var node federation.NodeID
	if to != nil {
		if fail = checkCommand(e, to); fail != nil {
			return fail
		}
	} else {
		if node, fail = r.nodeOf(from, name); fail != nil {
			return fail
		}
		if from.origin() == originBus {
			return nil // the device's node got the message too, and delivers it
		}
	}
	if c != nil {
		if fail = r.beginCommand(c, e, to, node); fail != nil {
			return fail
		}
	}
	if to != nil {
		fail = r.sendLocal(from, e, c, to)
	} else {
		fail = r.sendRemote(from, e, c, name, node)
	}
	if fail == nil {
		if from.origin() == originLocal {
			r.stats.Commands.Add(1)
		}
		return nil
	}
	if c != nil && !c.takeFromTable() {
		return nil // the command has ended meanwhile, and its asker knows the outcome
	}
	return fail
}

// nodeOf returns the node that holds a remote device, or an error when no node
// holds the device or the other nodes cannot be reached. A message of another node
// gets an error too, because this node does not forward it.
func (r *Router) nodeOf(from sender, device []byte) (federation.NodeID, *protocol.Error) {
	if from.origin() == originNode {
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

// sendLocal queues a message for a device that is connected here.
func (r *Router) sendLocal(from sender, e *protocol.Envelope, c *command, to *session.Session) *protocol.Error {
	sp := protocol.Splice{Src: from.source()}
	if c != nil && c.renamed() {
		sp.ID = c.wireID
	}
	if err := to.SendEnvelope(e, sp, e.Urgent, from.account()); err != nil {
		return notQueued(err, protocol.ErrDeviceOffline)
	}
	from.flush(to)
	return nil
}

// sendRemote sends a message to the node that holds the device.
func (r *Router) sendRemote(from sender, e *protocol.Envelope, c *command, name []byte, node federation.NodeID) *protocol.Error {
	text := textBuffers.Get().(*[]byte)
	defer putTextBuffer(text)
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

// toFrontends delivers a message to every front end on every node.
func (r *Router) toFrontends(from sender, e *protocol.Envelope) {
	f := splicedFrame(e, from)
	defer f.Release()
	var to receipt
	to.sessions, to.flooded = sendAll(r.registry.frontends(), f, e.Urgent, from.session(), from.device())
	if from.origin() == originLocal && (r.peers.any() || !r.bus.Up()) {
		to.err = r.bus.SendAll(&federation.Message{
			Kind: federation.KindToFrontends, Corr: from.beginCount(r.peers.all()), Urgent: e.Urgent, Device: from.device(), Text: wsframe.Payload(f.Wire()),
		})
	}
	from.delivered(to, e.ID)
}

// toUser delivers a message to every session of a user on every node.
func (r *Router) toUser(from sender, e *protocol.Envelope, user []byte) {
	f := splicedFrame(e, from)
	defer f.Release()
	to := receipt{user: user}
	to.sessions, to.flooded = sendAll(r.registry.users.of(user), f, e.Urgent, nil, from.device())
	switch from.origin() {
	case originBus:
		to.nodes = len(r.peers.nodesWithUser(user))
	case originLocal:
		if to.err = federation.ErrDown; r.bus.Up() {
			to.nodes, to.err = r.sendToUser(from, e, f, user)
		}
	}
	from.delivered(to, e.ID)
}

// sendToUser sends a message to the nodes that have sessions of a user. It returns
// the number of nodes for which the bus accepted the message, and the last error.
func (r *Router) sendToUser(from sender, e *protocol.Envelope, f *session.Frame, user []byte) (took int, err error) {
	nodes := r.peers.nodesWithUser(user)
	if len(nodes) == 0 {
		return 0, nil
	}
	msg := federation.Message{Kind: federation.KindToUser, Urgent: e.Urgent, Device: from.device(), Name: string(user), Text: wsframe.Payload(f.Wire())}
	msg.Corr = from.beginCount(r.peers.namesOf(nodes))
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

// toSession delivers a message to the front end with a session id, on any node.
func (r *Router) toSession(from sender, e *protocol.Envelope, id uuid.UUID) {
	to := r.manager.Get(id)
	if node := federation.NodeOf(id); to == nil && node != r.bus.Self() && from.origin() != originNode {
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
	from.flush(to)
}

// toRemoteSession sends a message to the node of a front end's session.
func (r *Router) toRemoteSession(from sender, e *protocol.Envelope, id uuid.UUID, node federation.NodeID) {
	_, there := r.peers.name(node)
	switch {
	case !there && (r.bus.Up() || from.origin() == originBus):
		from.refuse(protocol.ErrNotFound, textNoSession, e.ID)
		return
	case from.origin() == originBus:
		return // the session's node got the message too, and delivers it
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

// sendAll queues one frame for many front ends, without the session except, and
// leaves the writing to the flushers. device is the device that the frame comes
// from or is about, "" for none; front ends that may not observe the device do
// not get the frame. took counts the sessions that queued the frame. flooded
// counts the sessions whose queue is full of messages of the same sender.
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

// splicedFrame returns a frame with the message and the sender's src. The frame
// is encoded once for all receivers.
func splicedFrame(e *protocol.Envelope, from sender) *session.Frame {
	sp := protocol.Splice{Src: from.source()}
	f := session.NewTextFrameFor(e.SplicedSize(sp))
	f.AppendEnvelope(e, sp)
	f.ChargeTo(from.account())
	return f
}

// textBuffers is a pool of buffers for texts that are sent to other nodes or to
// askers.
var textBuffers = sync.Pool{New: func() any { return new([]byte) }}

// maxTextBuffer bounds the buffers that the pool keeps, in bytes.
const maxTextBuffer = 16 << 10

func putTextBuffer(b *[]byte) {
	if cap(*b) <= maxTextBuffer {
		textBuffers.Put(b)
	}
}

// The errors of messages that were not delivered.

const textNoSession = "no front end has that session id; it may have reconnected under a new one"

func deviceOffline(device string) *protocol.Error {
	return protocol.NewError(protocol.ErrDeviceOffline, "device "+device+" is not connected; the message was not delivered and will not be")
}

// notQueued returns the sender's error for a message that the receiver's session
// did not queue. offline is the code when the receiver is not connected.
func notQueued(err error, offline protocol.ErrorCode) *protocol.Error {
	if errors.Is(err, session.ErrSenderFlood) {
		return protocol.NewError(protocol.ErrOverloaded, "the receiver's queue is full of messages of this sender; the message was not delivered; send fewer or smaller ones")
	}
	if errors.Is(err, session.ErrSlowConsumer) {
		return protocol.NewError(protocol.ErrOverloaded, "the receiver's queue is full; it is being disconnected and was not given this message")
	}
	return protocol.NewError(offline, "the receiver is not connected; it was not given this message")
}

// notSent returns the sender's error for a message to one node that the bus did
// not accept.
func notSent(err error) *protocol.Error {
	if errors.Is(err, federation.ErrFull) {
		return protocol.NewError(protocol.ErrOverloaded, "too much waits to leave for other nodes; the message was not delivered")
	}
	return protocol.NewError(protocol.ErrUnavailable, "the node that it is for cannot be reached; the message was not delivered")
}

// failure returns the sender's error for a message to a user or to all front ends
// that some receivers did not get, nil for none.
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
