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

// A command is a message to a device with an id. Its life:
//
//  1. newCommand makes the command, and tells the listener of events.
//  2. beginCommand enters the command into a pendingTable, which sets its
//     deadline: the table of the device's connection, or remotePending when
//     another node holds the device.
//  3. sendToDevice (deliver.go) passes the message to the device or its node.
//  4. The first of the endings below takes the command from its table. Only this
//     ending tells the asker and the listener of events.
//
// The endings, and the functions that handle them:
//
//	the answer                                routeAnswer, routeRemoteAnswer
//	the deadline                              command.Expire
//	the end of the device, its node, the bus  failCommands
//	a failure of the other node               routeRemoteFailure
//	the end of the asker                      frontend.dropCommands, Router.Command
//
// A command that is refused before step 2 is complete ends in toDevice
// (deliver.go).
//
// On the node that holds the device, a command of another node is an ordinary
// command whose asker is that node.

// command is one command on its way from its asker to the answer.
type command struct {
	timer session.Timer
	r     *Router
	table *pendingTable
	// wireID is the key in the table: the id that the device gets, or for a
	// remote device the number that the other node gets.
	wireID string
	// askedID is the asker's id for the command; device is the device's id.
	askedID, device string
	urgent          bool
	asker           asker
	// node is the node that holds the device, 0 for this node.
	node federation.NodeID
	// began is the time at which the command was made, by the Manager's clock.
	// kind is the message's type, and ordinal is the command's number in events.
	// All three are unset without a listener of events.
	began   time.Duration
	kind    string
	ordinal uint64
	// next and prev are the neighbours in the commandList; guarded by
	// commandList.mu.
	next, prev *command
}

// asker gets the outcome of a command: a front end, a request of the HTTP API,
// or another node.
type asker interface {
	// mayAsk returns nil, or the reason why the asker may not send another
	// command now.
	mayAsk(urgent bool) *protocol.Error
	// began counts a command that enters a table. False means that the asker has
	// ended. ended counts a command that leaves its table. The caller holds the
	// table's lock.
	began(c *command) bool
	ended(c *command)
	// answer passes the answer to the asker. The re of text is the asker's id for
	// the command.
	answer(text []byte, urgent bool)
	// fail tells the asker why there is no answer. Any goroutine may call
	// fail; of the router's locks the caller may hold registry.mu only.
	fail(code protocol.ErrorCode, message, id string)
	// identity describes the asker in events.
	identity() events.Asker
}

// newCommand returns a command for a message to a device, or nil when the
// message expects no answer. to is the device's session, nil when the device
// is not connected here.
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

// beginCommand enters a command into the table of the device's session to, or,
// when to is nil, into remotePending.
func (r *Router) beginCommand(c *command, e *protocol.Envelope, to *session.Session, node federation.NodeID) *protocol.Error {
	if fail := c.asker.mayAsk(c.urgent); fail != nil {
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

// timeoutMS returns the timeout of a command in milliseconds.
func timeoutMS(e *protocol.Envelope) int {
	if e.TimeoutMS == 0 {
		return protocol.DefaultTimeoutMS
	}
	return e.TimeoutMS
}

// routeAnswer passes a device's answer to the asker of the command only.
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
			from.flush(fe.s)
		}
		return
	}
	text := textBuffers.Get().(*[]byte)
	*text = e.AppendSpliced((*text)[:0], sp)
	c.asker.answer(*text, e.Urgent)
	putTextBuffer(text)
}

// routeRemoteAnswer passes the answer of a remote device to the asker of the
// command.
func (r *Router) routeRemoteAnswer(from federation.NodeID, msg *federation.Message) {
	c := r.remotePending.take(commandNumber(msg.Corr), from)
	switch {
	case c == nil: // the command has ended already, for example at its deadline
	case !r.checkText(msg.Text):
		c.fail(protocol.ErrUnavailable, "the answer of device "+c.device+" was damaged between the nodes")
	default:
		c.tellEnd(events.OutcomeAnswered)
		c.asker.answer(msg.Text, msg.Urgent)
	}
}

// routeRemoteFailure passes an error of another node to the asker of a command.
// When Corr is 0, the message was not a command, and its sender gets the error.
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

// Expire ends a command at its deadline, on the wheel's goroutine.
func (c *command) Expire(time.Time) {
	if c.takeFromTable() {
		c.fail(protocol.ErrTimeout, "device "+c.device+" did not answer in time; whether it carried the command out is not known")
	}
}

// ending is the reason why several commands end without an answer.
type ending struct {
	code          protocol.ErrorCode
	before, after string // around the device's name
}

var (
	deviceGone = ending{protocol.ErrDeviceDisconnected, "device ", " went away before it answered; whether it carried the command out is not known"}
	nodeGone   = ending{protocol.ErrDeviceDisconnected, "the node of device ", " went away before the answer came; whether the device carried the command out is not known"}
	busDown    = ending{protocol.ErrUnavailable, "the node of device ", " cannot be reached any longer; whether the device carried the command out is not known"}
)

// failCommands fails commands that the caller has taken from a table.
func (r *Router) failCommands(all []*command, why ending) {
	for _, c := range all {
		c.fail(why.code, why.before+c.device+why.after)
	}
}

// takeFromTable takes the command from its table. False means that another
// goroutine took the command before, and that goroutine tells the asker and the
// listener of events.
func (c *command) takeFromTable() bool { return c.table.takeIf(c) }

// fail tells the asker and the listener of events why there is no answer.
func (c *command) fail(code protocol.ErrorCode, message string) {
	c.tellEnd(string(code))
	c.asker.fail(code, message, c.askedID)
}

// renamed reports whether the command's id at the device differs from the
// asker's id.
func (c *command) renamed() bool { return c.wireID != c.askedID }

// number returns the number of a remote command.
func (c *command) number() uint64 { return binary.BigEndian.Uint64([]byte(c.wireID)) }

// commandNumber returns the wireID of a remote command with that number.
func commandNumber(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// The methods of a front end as an asker.

func (fe *frontend) mayAsk(urgent bool) *protocol.Error {
	if most := fe.r.opts.MaxPending; fe.commands.len() >= most {
		return protocol.NewError(protocol.ErrOverloaded, strconv.Itoa(most)+" commands wait for an answer already; wait for some of them")
	}
	most := fe.r.maxOwnerPending()
	if !urgent {
		most -= most / urgentDivisor
	}
	if fe.owner != nil && int(fe.owner.waiting.Load()) >= most {
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

// dropCommands takes the commands of a front end that has ended from their tables.
func (fe *frontend) dropCommands() {
	for c := fe.commands.close(); c != nil; c = fe.commands.first() {
		if c.takeFromTable() {
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

// Another node as an asker.

// nodeAsker is the asker of a command from another node: that node, and the
// command's number there.
type nodeAsker struct {
	r    *Router
	node federation.NodeID
	corr uint64
	// src is the asker at that node, and name is the node's name; both are
	// unset without a listener of events.
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

// mayAsk permits everything: the asker's node checks the asker's limits, and
// the device's table has a limit.
func (n *nodeAsker) mayAsk(bool) *protocol.Error { return nil }

func (n *nodeAsker) began(*command) bool { return true }

func (n *nodeAsker) ended(*command) {}

func (n *nodeAsker) answer(text []byte, urgent bool) {
	_ = n.r.bus.Send(n.node, &federation.Message{Kind: federation.KindAnswer, Corr: n.corr, Urgent: urgent, Text: text})
}

// fail does not count the error; the asker's node does.
func (n *nodeAsker) fail(code protocol.ErrorCode, message, _ string) {
	_ = n.r.bus.Send(n.node, &federation.Message{Kind: federation.KindFailure, Corr: n.corr, Code: code, Text: []byte(message)})
}
