package router

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// A command is a message with an id, for a device. Its life: newCommand makes it
// and tells the listener of events that it has begun; beginCommand enters it into
// the pendingTable of the device's connection or, when another node holds the
// device, into that of remote commands, and arms its deadline; toDevice passes it
// on; then one of five things ends it, and only the first that takes it out of
// the table tells the asker and the listener:
//
//	the answer       routeAnswer, routeRemoteAnswer
//	the deadline     command.Expire
//	the device's end, its node's or the bus's   failCommands
//	a failure of the other node                 routeRemoteFailure
//	the asker's end                             frontend.leaveCommands, Router.Command
//
// A command that is refused before it is in a table ends in toDevice.
//
// On the node that holds the device a command of another node is an ordinary
// command whose asker is that node.

// command is one command that waits for its device's answer.
type command struct {
	timer session.Timer
	r     *Router
	table *pendingTable
	// wireID is the id in the table: the one that the device knows, or for a
	// device on another node the number that the other node knows.
	wireID string
	// askedID is what the asker calls the command, device what it is for.
	askedID, device string
	urgent          bool
	asker           asker
	// node is where the device is, 0 for here.
	node federation.NodeID
	// began is when it was read, by the Manager's clock; kind is its type, ordinal
	// its number in events. All are unset without a listener.
	began   time.Duration
	kind    string
	ordinal uint64
	// next and prev are its neighbours in commandList; guarded by that.
	next, prev *command
}

// asker is who is told the outcome of a command: a front end, a request of the
// HTTP API, or another node.
type asker interface {
	// mayAsk returns nil, or why the asker may not have one more command waiting.
	mayAsk() *protocol.Error
	// began notes that a command waits, or returns false because the asker has
	// ended; ended notes that it does not wait any longer. Both are called with
	// the table's lock held.
	began(c *command) bool
	ended(c *command)
	// answer gives the answer, with re as the asker knows it.
	answer(text []byte, urgent bool)
	// fail says why there will be no answer. It may run on any goroutine, with no
	// lock of the router's held but registry.mu.
	fail(code protocol.ErrorCode, message, id string)
	// identity says who asks, for events.
	identity() events.Asker
}

// newCommand returns the command that a message for the device is, or nil for any
// other message. to is the device's session if it is connected here.
func (r *Router) newCommand(from sender, e *protocol.Envelope, device []byte, to *session.Session) *command {
	if e.ID == nil || e.Re != nil {
		return nil
	}
	asker := from.asker()
	if asker == nil {
		return nil
	}
	c := &command{r: r, urgent: e.Urgent, asker: asker}
	c.timer.Owner = c
	if to != nil {
		c.device = to.Name()
	} else {
		c.device = string(device)
	}
	if r.opts.Events == nil {
		c.askedID = string(e.ID)
		return c
	}
	c.askedID, c.kind = stringsOf(e.ID, e.Type)
	c.began, c.ordinal = r.manager.Now(), r.lastOrdinal.Add(1)
	r.opts.Events.CommandBegan(c.event())
	return c
}

// beginCommand enters a command into its table: that of the device's session,
// which is to, or that of the commands for devices on other nodes.
func (r *Router) beginCommand(c *command, e *protocol.Envelope, to *session.Session, node federation.NodeID) *protocol.Error {
	if fail := c.asker.mayAsk(); fail != nil {
		return fail
	}
	c.node = node
	if to != nil {
		c.table = &to.Attachment().(*deviceConn).pending
	} else {
		c.table = &r.remotePending
	}
	return c.table.enter(c, time.Now().Add(time.Duration(timeoutMS(e))*time.Millisecond))
}

// timeoutMS returns how long a command may take.
func timeoutMS(e *protocol.Envelope) int {
	if e.TimeoutMS == 0 {
		return protocol.DefaultTimeoutMS
	}
	return e.TimeoutMS
}

// routeAnswer gives a device's answer to whoever asked, and to nobody else.
func (r *Router) routeAnswer(from *deviceConn, e *protocol.Envelope) {
	c := from.pending.take(e.Re, 0)
	if c == nil {
		from.refuse(protocol.ErrNotFound, `field "re": no command with that id waits for an answer; it was answered before, its time is over, or its asker has left`, e.ID)
		return
	}
	r.stats.Answers.Add(1)
	c.tellEnd(events.OutcomeAnswered)
	sp := protocol.Splice{Src: from.source()}
	if c.renamed() {
		sp.Re = c.askedID
	}
	if fe, ok := c.asker.(*frontend); ok {
		// A front end's queue takes the envelope without another copy.
		if fe.s.SendEnvelope(e, sp, e.Urgent, from.account()) == nil {
			from.wake(fe.s)
		}
		return
	}
	text := scratches.Get().(*[]byte)
	*text = e.AppendSpliced((*text)[:0], sp)
	c.asker.answer(*text, e.Urgent)
	giveScratch(text)
}

// routeRemoteAnswer gives the answer of a device on another node to whoever
// asked.
func (r *Router) routeRemoteAnswer(from federation.NodeID, msg *federation.Message) {
	c := r.remotePending.take(commandNumber(msg.Corr), from)
	switch {
	case c == nil: // its time was over
	case !r.checkText(msg.Text):
		c.fail(protocol.ErrUnavailable, "the answer of device "+c.device+" did not survive its way between the nodes")
	default:
		c.tellEnd(events.OutcomeAnswered)
		c.asker.answer(msg.Text, msg.Urgent)
	}
}

// routeRemoteFailure tells whoever asked why there will be no answer from
// another node; with the number 0 it is about a message that nobody waits for.
func (r *Router) routeRemoteFailure(from federation.NodeID, msg *federation.Message) {
	if msg.Corr == 0 {
		r.stats.countError(msg.Code)
		if s := r.manager.Get(msg.Session); s != nil && s.SendError(msg.Code, string(msg.Text), msg.ID) == nil {
			s.Schedule()
		}
		return
	}
	if c := r.remotePending.take(commandNumber(msg.Corr), from); c != nil {
		c.fail(msg.Code, string(msg.Text))
	}
}

// Expire ends a command whose device was silent, on the wheel's goroutine.
func (c *command) Expire(time.Time) {
	if c.leave() {
		c.fail(protocol.ErrTimeout, "device "+c.device+" did not answer in time; whether it carried the command out is not known")
	}
}

// ending is why commands end before their answer.
type ending struct {
	code          protocol.ErrorCode
	before, after string // around the device's name
}

var (
	deviceGone = ending{protocol.ErrDeviceDisconnected, "device ", " went away before it answered; whether it carried the command out is not known"}
	nodeGone   = ending{protocol.ErrDeviceDisconnected, "the node of device ", " went away before the answer came; whether the device carried the command out is not known"}
	busDown    = ending{protocol.ErrUnavailable, "the node of device ", " cannot be reached any longer; whether the device carried the command out is not known"}
)

// failCommands tells the askers of commands that were taken out of a table.
func (r *Router) failCommands(all []*command, why ending) {
	for _, c := range all {
		c.fail(why.code, why.before+c.device+why.after)
	}
}

// leave takes the command out of its table. It reports false when somebody else
// has done so, and has told the asker and the listener of events.
func (c *command) leave() bool { return c.table.takeIf(c) }

// fail tells the asker why there will be no answer.
func (c *command) fail(code protocol.ErrorCode, message string) {
	c.tellEnd(string(code))
	c.asker.fail(code, message, c.askedID)
}

// renamed reports whether the device knows the command under another id than
// its asker.
func (c *command) renamed() bool { return c.wireID != c.askedID }

// number returns the number of a remote command.
func (c *command) number() uint64 { return binary.BigEndian.Uint64([]byte(c.wireID)) }

// commandNumber returns the id under which a remote command is in its table.
func commandNumber(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// A front end asks.

func (fe *frontend) mayAsk() *protocol.Error {
	if most := fe.r.opts.MaxPending; fe.commands.len() >= most {
		return protocol.NewError(protocol.ErrOverloaded, strconv.Itoa(most)+" commands wait for an answer already; wait for some of them")
	}
	if most := fe.r.maxOwnerPending(); fe.owner != nil && int(fe.owner.waiting.Load()) >= most {
		return protocol.NewError(protocol.ErrOverloaded, strconv.Itoa(most)+" commands of sessions with this credential wait for an answer already; wait for some of them")
	}
	return nil
}

func (fe *frontend) began(c *command) bool {
	if !fe.commands.add(c) {
		return false
	}
	if fe.owner != nil {
		fe.owner.waiting.Add(1)
	}
	return true
}

func (fe *frontend) ended(c *command) {
	fe.commands.remove(c)
	if fe.owner != nil {
		fe.owner.waiting.Add(-1)
	}
}

// leaveCommands takes the front end's commands out of their tables: it has
// ended, and nobody waits for the answers.
func (fe *frontend) leaveCommands() {
	for c := fe.commands.close(); c != nil; c = fe.commands.first() {
		if c.leave() {
			c.tellEnd(events.OutcomeAskerGone)
		}
	}
}

func (fe *frontend) identity() events.Asker {
	return events.Asker{Source: fe.s.Source(), Session: fe.s.ID(), Remote: fe.s.Info().Remote, Credential: fe.s.Info().Credential}
}

func (fe *frontend) answer(text []byte, urgent bool) {
	f := session.NewTextFrame(text)
	if fe.s.Send(f, urgent) == nil {
		fe.s.Schedule()
	}
	f.Release()
}

func (fe *frontend) fail(code protocol.ErrorCode, message, id string) {
	fe.r.stats.countError(code)
	if fe.s.SendError(code, message, id) == nil {
		fe.s.Schedule()
	}
}

// Another node asks.

// nodeAsker is the node of whoever asked, with the number of the command there.
type nodeAsker struct {
	r    *Router
	node federation.NodeID
	corr uint64
	// src is whoever asked, name the node's; unset without a listener of events.
	src, name string
}

func (n *nodeSender) asker() asker {
	if n.msg.Kind != federation.KindCommand {
		return nil
	}
	a := &nodeAsker{r: n.r, node: n.node, corr: n.msg.Corr}
	if n.r.opts.Events != nil {
		a.src = n.src
		a.name, _ = n.r.peers.name(n.node)
	}
	return a
}

func (n *nodeAsker) identity() events.Asker { return events.Asker{Source: n.src, Node: n.name} }

// mayAsk permits everything: the asker's node has looked, and the table of the
// device is bounded.
func (n *nodeAsker) mayAsk() *protocol.Error { return nil }

func (n *nodeAsker) began(*command) bool { return true }

func (n *nodeAsker) ended(*command) {}

func (n *nodeAsker) answer(text []byte, urgent bool) {
	_ = n.r.bus.Send(n.node, &federation.Message{Kind: federation.KindAnswer, Corr: n.corr, Urgent: urgent, Text: text})
}

// fail leaves it to the asker's node to count the error.
func (n *nodeAsker) fail(code protocol.ErrorCode, message, _ string) {
	_ = n.r.bus.Send(n.node, &federation.Message{Kind: federation.KindFailure, Corr: n.corr, Code: code, Text: []byte(message)})
}
