package router

import (
	"errors"
	"github.com/labgate/labgate/router/federation"
	"strconv"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// maxErrands bounds the commands of this node that wait for devices on other
// nodes.
const maxErrands = 65536

const (
	textUnavailable = "it is not connected to this node, and the other nodes cannot be reached; the message was not delivered"
	textNodeFull    = "too much waits to leave for other nodes; the message was not delivered"
	textNoSession   = "no front end has that session id; it may have reconnected under a new one"
)

// errands are the commands of this node's front ends and HTTP API that wait for
// devices on other nodes.
type errands struct {
	// mu guards the rest; above the wheel's, below nothing but Router.mu.
	mu   sync.Mutex
	last uint64
	// waiting finds them by the number that the other node knows, asked by what
	// the asker calls them.
	waiting map[uint64]*errand
	asked   map[errandName]*errand
}

type errandName struct {
	asker  *session.Session
	device string
	id     string
}

// errand is one of them. Whoever takes it out of the tables, be it the outcome,
// the deadline, or the end of the node or the bus, is the one to tell the asker.
type errand struct {
	timer session.Timer
	r     *Router
	corr  uint64
	node  federation.NodeID
	name  errandName
	// reply is where a request of the HTTP API waits, which has no asker.
	reply chan<- reply
}

// awayFromHere says why a device that is not connected here cannot be sent
// anything, or on which node it is.
func (r *Router) awayFromHere(device []byte) (federation.NodeID, *protocol.Error) {
	if r.bus == nil {
		return 0, protocol.NewError(protocol.ErrDeviceOffline, "device "+string(device)+" is not connected; the message was not delivered and will not be")
	}
	if !r.bus.Up() {
		return 0, protocol.NewError(protocol.ErrUnavailable, "device "+string(device)+": "+textUnavailable)
	}
	node, held := r.others.holder(device)
	if !held {
		return 0, protocol.NewError(protocol.ErrDeviceOffline, "device "+string(device)+" is not connected; the message was not delivered and will not be")
	}
	return node, nil
}

// routeElsewhere delivers a front end's message to a device on another node,
// under the same rules as routeToDevice.
func (r *Router) routeElsewhere(s *session.Session, fe *frontend, e *protocol.Envelope, name []byte) {
	node, fail := r.awayFromHere(name)
	if fail != nil {
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	text := scratches.Get().(*[]byte)
	defer giveScratch(text)
	*text = e.AppendSpliced((*text)[:0], protocol.Splice{Src: s.Source()})
	msg := federation.Message{Kind: federation.KindToDevice, Urgent: e.Urgent, Name: string(name), Text: *text}
	var c *errand
	if e.ID != nil {
		msg.ID = string(e.ID)
	}
	if e.ID != nil && e.Re == nil {
		if int(fe.pending.Load()) >= r.opts.MaxPending {
			r.refuse(s, protocol.ErrOverloaded, strconv.Itoa(r.opts.MaxPending)+" commands wait for an answer already; wait for some of them", e.ID)
			return
		}
		c = &errand{r: r, node: node, name: errandName{s, msg.Name, msg.ID}}
		if fail := c.enter(e.TimeoutMS); fail != nil {
			r.refuse(s, fail.Code, fail.Message, e.ID)
			return
		}
		msg.Kind, msg.Corr, msg.TimeoutMS = federation.KindCommand, c.corr, timeoutOf(e.TimeoutMS)
	} else {
		msg.Sender = s.ID()
	}
	if err := r.bus.Send(node, &msg); err != nil {
		if c != nil && !c.leave() {
			return
		}
		fail := notSent(err)
		r.refuse(s, fail.Code, fail.Message, e.ID)
		return
	}
	r.stats.Commands.Add(1)
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

// notSent names the reason why a bus did not take a message.
func notSent(err error) *protocol.Error {
	if errors.Is(err, federation.ErrFull) {
		return protocol.NewError(protocol.ErrOverloaded, textNodeFull)
	}
	return protocol.NewError(protocol.ErrUnavailable, "the node that it is for cannot be reached; the message was not delivered")
}

func timeoutOf(ms int) uint32 {
	if ms == 0 {
		ms = protocol.DefaultTimeoutMS
	}
	return uint32(ms)
}

// enter puts the errand into the tables and arms its deadline.
func (c *errand) enter(timeoutMS int) *protocol.Error {
	x := &c.r.errands
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.waiting) >= maxErrands {
		return protocol.NewError(protocol.ErrOverloaded, strconv.Itoa(maxErrands)+" commands wait for devices on other nodes already; try again later")
	}
	if x.asked[c.name] != nil {
		return protocol.NewError(protocol.ErrBadMessage, `field "id": a command with that id waits for this device's answer already; use a new one for each command`)
	}
	if x.waiting == nil {
		x.waiting, x.asked = make(map[uint64]*errand), make(map[errandName]*errand)
	}
	x.last++
	c.corr = x.last
	x.waiting[c.corr] = c
	if c.name.asker != nil {
		x.asked[c.name] = c
		c.name.asker.Attachment().(*frontend).pending.Add(1)
	}
	c.timer.Owner = c
	c.r.manager.Wheel().Schedule(&c.timer, time.Now().Add(time.Duration(timeoutOf(timeoutMS))*time.Millisecond))
	return nil
}

// take removes and returns the errand with that number, if it waits for that
// node, or nil.
func (x *errands) take(corr uint64, node federation.NodeID) *errand {
	x.mu.Lock()
	c := x.waiting[corr]
	if c == nil || c.node != node {
		x.mu.Unlock()
		return nil
	}
	x.remove(c)
	x.mu.Unlock()
	c.finish()
	return c
}

// takeAll removes and returns those that wait for a node, or for any with 0.
func (x *errands) takeAll(node federation.NodeID) []*errand {
	var all []*errand
	x.mu.Lock()
	for _, c := range x.waiting {
		if node == 0 || c.node == node {
			x.remove(c)
			all = append(all, c)
		}
	}
	x.mu.Unlock()
	for _, c := range all {
		c.finish()
	}
	return all
}

// remove takes c out of the tables. The caller holds mu.
func (x *errands) remove(c *errand) {
	delete(x.waiting, c.corr)
	if c.name.asker != nil {
		delete(x.asked, c.name)
	}
}

// leave takes the errand out of the tables. It reports false when somebody else
// has done so.
func (c *errand) leave() bool { return c.r.errands.take(c.corr, c.node) == c }

// finish does what ends every errand, once it is out of the tables.
func (c *errand) finish() {
	c.r.manager.Wheel().Cancel(&c.timer)
	if c.name.asker != nil {
		c.name.asker.Attachment().(*frontend).pending.Add(-1)
	}
}

// Expire ends an errand of which nothing was heard.
func (c *errand) Expire(time.Time) {
	if c.leave() {
		c.fail(protocol.ErrTimeout, "device "+c.name.device+" did not answer in time; whether it carried the command out is not known")
	}
}

// fail tells the asker why there will be no answer.
func (c *errand) fail(code protocol.ErrorCode, message string) {
	c.r.stats.countError(code)
	if c.name.asker == nil {
		c.reply <- reply{err: protocol.NewError(code, message)}
		return
	}
	if c.name.asker.SendError(code, message, c.name.id) == nil {
		c.name.asker.Schedule()
	}
}

// outcomeFrom takes the answer to a command, or why there is none.
func (r *Router) outcomeFrom(from federation.NodeID, msg *federation.Message) {
	if msg.Kind == federation.KindFailure && msg.Corr == 0 {
		r.stats.countError(msg.Code)
		if s := r.manager.Get(msg.Session); s != nil && s.SendError(msg.Code, string(msg.Text), msg.ID) == nil {
			s.Schedule()
		}
		return
	}
	c := r.errands.take(msg.Corr, from)
	if c == nil {
		return // its time was over
	}
	switch {
	case msg.Kind == federation.KindFailure:
		c.fail(msg.Code, string(msg.Text))
	case !r.checkText(msg):
		c.fail(protocol.ErrUnavailable, "the answer of device "+c.name.device+" did not survive its way between the nodes")
	case c.name.asker == nil:
		c.reply <- reply{text: append([]byte(nil), msg.Text...)}
	default:
		_ = r.giveText(c.name.asker, msg)
	}
}

// nodeGone ends what waits for a node that is gone.
func (r *Router) nodeGone(node federation.NodeID) {
	for _, c := range r.errands.takeAll(node) {
		c.fail(protocol.ErrDeviceDisconnected, "the node of device "+c.name.device+" went away before the answer came; whether the device carried the command out is not known")
	}
	r.gathers.nodeGone(node)
}

// busDown ends what waits for any other node.
func (r *Router) busDown() {
	for _, c := range r.errands.takeAll(0) {
		c.fail(protocol.ErrUnavailable, "the node of device "+c.name.device+" cannot be reached any longer; whether the device carried the command out is not known")
	}
	r.gathers.allGone()
}

// origin is the node whose command waits here for a device, and its number
// there.
type origin struct {
	node federation.NodeID
	corr uint64
}

// commandFrom delivers another node's command to a device here.
func (r *Router) commandFrom(from federation.NodeID, msg *federation.Message) {
	var e protocol.Envelope
	if err := e.Parse(msg.Text); err != nil {
		r.failFrom(from, msg, protocol.ErrBadMessage, err.Error())
		return
	}
	to := r.manager.ByDevice(msg.Name)
	if to == nil {
		r.failFrom(from, msg, protocol.ErrDeviceOffline, "device "+msg.Name+" is not connected; the message was not delivered and will not be")
		return
	}
	c := &command{r: r, link: to.Attachment().(*link), askedID: msg.ID, origin: &origin{from, msg.Corr}}
	if fail := c.enter(int(msg.TimeoutMS)); fail != nil {
		r.failFrom(from, msg, fail.Code, fail.Message)
		return
	}
	sp := protocol.Splice{Src: string(e.Src)}
	if c.renamed() {
		sp.ID = c.wireID
	}
	if err := to.SendEnvelope(&e, sp, msg.Urgent); err != nil {
		if c.leave() {
			code, message := sendFailure(err, protocol.ErrDeviceOffline)
			r.failFrom(from, msg, code, message)
		}
		return
	}
	to.Schedule()
}

// toDeviceFrom delivers a message that nobody waits for.
func (r *Router) toDeviceFrom(from federation.NodeID, msg *federation.Message) {
	to := r.manager.ByDevice(msg.Name)
	if to == nil {
		r.failFrom(from, msg, protocol.ErrDeviceOffline, "device "+msg.Name+" is not connected; the message was not delivered and will not be")
		return
	}
	if !r.checkText(msg) {
		return
	}
	if err := r.giveText(to, msg); err != nil {
		code, message := sendFailure(err, protocol.ErrDeviceOffline)
		r.failFrom(from, msg, code, message)
	}
}
