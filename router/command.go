package router

import (
	"github.com/labgate/labgate/router/federation"
	"strconv"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// link is the router's state of one device connection.
type link struct {
	// Static.
	session *session.Session
	device  *device

	// Owned by the device's reading goroutine: the telemetry of the current
	// read event, and how large such a batch has been of late.
	batch     *session.Frame
	batchHint int
	framesIn  uint64
	samplesIn uint64
	// raised says that this connection has held on to its device once already;
	// guarded by Router.mu.
	raised bool

	// mu guards the pending commands, by the id that the device knows, and
	// those of them that the device knows under another id than the asker's.
	mu      sync.Mutex
	pending map[string]*command
	renamed map[askedAs]*command
	closed  bool
}

// askedAs is what a front end called a command.
type askedAs struct {
	asker *session.Session
	id    string
}

// maxLinkPending bounds the commands that wait for one device. MaxPending does
// not: what a front end asked outlives it, and it may connect again and again.
const maxLinkPending = 16384

func newLink(s *session.Session, d *device) *link { return &link{session: s, device: d} }

// command is one command that waits for its device's answer. Whoever takes it
// out of the link's table, be it the answer, the deadline or the device's end,
// is the one to tell the asker: it is told once.
type command struct {
	timer session.Timer
	r     *Router
	link  *link
	// wireID is the id that the device knows, askedID the asker's own.
	wireID, askedID string
	// asker is the front end to answer, or nil for a request of the HTTP API,
	// which waits on reply, and for a command of another node.
	asker *session.Session
	reply chan<- reply
	// origin is set when another node waits for the answer.
	origin *origin
}

// reply is the outcome of a command for the HTTP API.
type reply struct {
	text []byte
	err  *protocol.Error
}

// routeToDevice delivers a front end's message to the device that it names, at
// most once: an absent device, to is nil, is told of at once, and nothing is
// kept for it. A message with an id that is not itself an answer becomes a
// pending command.
func (r *Router) routeToDevice(s *session.Session, fe *frontend, e *protocol.Envelope, to *session.Session, name []byte) {
	if rights := fe.rights.Load(); rights != nil && !mayCommand(*rights, to, name) {
		r.refuse(s, protocol.ErrNotAllowed, "this front end may not command device "+string(name)+"; the message was not delivered", e.ID)
		return
	}
	if to == nil {
		r.routeElsewhere(s, fe, e, name)
		return
	}
	sp := protocol.Splice{Src: s.Source()}
	var c *command
	if e.ID != nil && e.Re == nil {
		if int(fe.pending.Load()) >= r.opts.MaxPending {
			r.refuse(s, protocol.ErrOverloaded, strconv.Itoa(r.opts.MaxPending)+" commands wait for an answer already; wait for some of them", e.ID)
			return
		}
		c = &command{r: r, link: to.Attachment().(*link), askedID: string(e.ID), asker: s}
		if err := c.enter(e.TimeoutMS); err != nil {
			r.refuse(s, err.Code, err.Message, e.ID)
			return
		}
		fe.pending.Add(1)
		if c.renamed() {
			sp.ID = c.wireID
		}
	}
	if err := to.SendEnvelope(e, sp, e.Urgent); err != nil {
		if c != nil && !c.leave() {
			// The device's end came first and has told the asker.
			return
		}
		code, message := sendFailure(err, protocol.ErrDeviceOffline)
		r.refuse(s, code, message, e.ID)
		return
	}
	r.stats.Commands.Add(1)
	s.Touch(to)
}

// routeAnswer gives a device's answer to whoever asked, and to nobody else.
func (r *Router) routeAnswer(s *session.Session, l *link, e *protocol.Envelope) {
	c := l.take(e.Re)
	if c == nil {
		r.refuse(s, protocol.ErrNotFound, `field "re": no command with that id waits for an answer; it was answered before, or its time is over`, e.ID)
		return
	}
	r.stats.Answers.Add(1)
	sp := protocol.Splice{Src: s.Source()}
	if c.renamed() {
		sp.Re = c.askedID
	}
	if c.origin != nil {
		text := scratches.Get().(*[]byte)
		*text = e.AppendSpliced((*text)[:0], sp)
		_ = r.bus.Send(c.origin.node, &federation.Message{Kind: federation.KindAnswer, Corr: c.origin.corr, Urgent: e.Urgent, Text: *text})
		giveScratch(text)
		return
	}
	if c.asker == nil {
		c.reply <- reply{text: e.AppendSpliced(nil, sp)}
		return
	}
	if c.asker.SendEnvelope(e, sp, e.Urgent) == nil {
		s.Touch(c.asker)
	}
}

// enter puts the command into its link's table and arms its deadline. Two
// askers may use the same id at the same time; the device then sees the
// second under another one.
func (c *command) enter(timeoutMS int) *protocol.Error {
	if timeoutMS == 0 {
		timeoutMS = protocol.DefaultTimeoutMS
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return protocol.NewError(protocol.ErrDeviceOffline, "device "+l.device.id+" is not connected; the message was not delivered and will not be")
	}
	if len(l.pending) >= maxLinkPending {
		return protocol.NewError(protocol.ErrOverloaded, strconv.Itoa(maxLinkPending)+" commands wait for device "+l.device.id+" already; try again later")
	}
	if l.asked(c) {
		return protocol.NewError(protocol.ErrBadMessage, `field "id": a command with that id waits for this device's answer already; use a new one for each command`)
	}
	c.wireID = c.askedID
	for l.pending[c.wireID] != nil {
		var b [16]byte
		c.wireID = string(strconv.AppendUint(append(b[:0], '~'), c.r.commandID.Add(1), 36))
	}
	if l.pending == nil {
		l.pending = make(map[string]*command)
	}
	l.pending[c.wireID] = c
	if c.renamed() && c.asker != nil {
		if l.renamed == nil {
			l.renamed = make(map[askedAs]*command)
		}
		l.renamed[askedAs{c.asker, c.askedID}] = c
	}
	c.timer.Owner = c
	c.r.manager.Wheel().Schedule(&c.timer, time.Now().Add(time.Duration(timeoutMS)*time.Millisecond))
	return nil
}

// asked reports whether c's asker waits for a command with the same id
// already. The requests of the HTTP API are askers of their own, each. The
// caller holds mu.
func (l *link) asked(c *command) bool {
	if c.asker == nil {
		return false
	}
	if other := l.pending[c.askedID]; other != nil && other.asker == c.asker && other.askedID == c.askedID {
		return true
	}
	return l.renamed[askedAs{c.asker, c.askedID}] != nil
}

// remove takes c out of the tables. The caller holds mu.
func (l *link) remove(c *command) {
	delete(l.pending, c.wireID)
	if c.renamed() {
		delete(l.renamed, askedAs{c.asker, c.askedID})
	}
}

// renamed reports whether the device knows the command under another id than
// its asker.
func (c *command) renamed() bool { return c.wireID != c.askedID }

// leave takes the command out of the table. It reports false when somebody
// else has done so.
func (c *command) leave() bool {
	l := c.link
	l.mu.Lock()
	if l.pending[c.wireID] != c {
		l.mu.Unlock()
		return false
	}
	l.remove(c)
	l.mu.Unlock()
	c.finish()
	return true
}

// take removes and returns the pending command with the id that the device
// answers, or nil.
func (l *link) take(wireID []byte) *command {
	l.mu.Lock()
	c := l.pending[string(wireID)]
	if c != nil {
		l.remove(c)
	}
	l.mu.Unlock()
	if c != nil {
		c.finish()
	}
	return c
}

// finish does what ends every command, once it is out of the table.
func (c *command) finish() {
	c.r.manager.Wheel().Cancel(&c.timer)
	if c.asker != nil {
		c.asker.Attachment().(*frontend).pending.Add(-1)
	}
}

// Expire ends a command whose device was silent.
func (c *command) Expire(time.Time) {
	if c.leave() {
		c.fail(protocol.ErrTimeout, "device "+c.link.device.id+" did not answer in time; whether it carried the command out is not known")
	}
}

// failPending ends everything that waits for a device which is gone.
func (r *Router) failPending(l *link) {
	l.mu.Lock()
	pending := l.pending
	l.pending, l.renamed, l.closed = nil, nil, true
	l.mu.Unlock()
	for _, c := range pending {
		c.finish()
		c.fail(protocol.ErrDeviceDisconnected, "device "+l.device.id+" went away before it answered; whether it carried the command out is not known")
	}
}

// fail tells the asker why there will be no answer. It may run on any
// goroutine, with no lock of the router's held but mu.
func (c *command) fail(code protocol.ErrorCode, message string) {
	if c.origin != nil {
		_ = c.r.bus.Send(c.origin.node, &federation.Message{Kind: federation.KindFailure, Corr: c.origin.corr, Code: code, Text: []byte(message)})
		return
	}
	c.r.stats.countError(code)
	if c.asker == nil {
		c.reply <- reply{err: protocol.NewError(code, message)}
		return
	}
	if c.asker.SendError(code, message, c.askedID) == nil {
		c.asker.Schedule()
	}
}
