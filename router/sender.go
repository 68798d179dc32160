package router

import (
	"hash/maphash"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// sender is where a text message comes from: a front end, a device, a request
// of the HTTP API, another node on behalf of one of these, or a program outside
// that publishes on the bus. All that deliver.go must know of it is here.
type sender interface {
	// source is what the message carries as src.
	source() string
	// device is the id of the device that sends the message, "" for all others:
	// the messages of a device are for those only that may observe it.
	device() string
	// session is the session that sends the message, nil for all others: a
	// message to all front ends does not go back to it.
	session() *session.Session
	// account is charged for what waits of the message at its receivers; 0 for
	// devices, whose messages front ends have to keep up with.
	account() session.Account
	// scope says which nodes the message is for.
	scope() scope
	// mayCommand returns nil, or why the sender may not send to the device, which
	// is to if the device is connected here.
	mayCommand(device []byte, to *session.Session) *protocol.Error
	// asker returns who is told the answer to a command, nil for a sender that
	// cannot ask.
	asker() asker
	// wake has a queue flushed that a message was put into.
	wake(to *session.Session)
	// refuse tells the sender, while its message is handled, why the message
	// with that id was not delivered.
	refuse(code protocol.ErrorCode, message string, id []byte)
	// delivered tells the sender how far a message to many came.
	delivered(to receipt, id []byte)
	// count has the sender count the receivers on other nodes: it returns the
	// number that they answer with, 0 for a sender that does not count.
	count(nodes map[federation.NodeID]string) uint64
}

// scope says which nodes a message is for.
type scope uint8

const (
	// allNodes: the message came in here, and this node gives it to the others.
	allNodes scope = iota
	// thisNode: another node has given it to this one.
	thisNode
	// eachNode: every node was given it and delivers its part.
	eachNode
)

var accountSeed = maphash.MakeSeed()

// accountOf returns the account of a credential or, for a sender without one, of
// its source.
func accountOf(name string) session.Account {
	return session.Account(maphash.String(accountSeed, name) | 1)
}

// receipt says how far a message to many came.
type receipt struct {
	// sessions took the message here, nodes were given it.
	sessions, nodes int
	// flooded sessions did not take it: too much of the same sender's waits there.
	flooded int
	// err is why some node was not; federation.ErrDown or another error of a Bus.
	err error
	// user is whom the message is for, nil for all front ends.
	user []byte
}

// sessionSender is what front ends and devices have in common as senders. Its
// methods run on the session's reading goroutine.
type sessionSender struct {
	r *Router
	s *session.Session
}

func (p *sessionSender) source() string { return p.s.Source() }

func (p *sessionSender) session() *session.Session { return p.s }

func (p *sessionSender) scope() scope { return allNodes }

func (p *sessionSender) wake(to *session.Session) { p.s.FlushAfterRead(to) }

func (p *sessionSender) refuse(code protocol.ErrorCode, message string, id []byte) {
	p.r.refuse(p.s, code, message, id)
}

func (p *sessionSender) delivered(to receipt, id []byte) {
	if fail := to.failure(); fail != nil {
		p.refuse(fail.Code, fail.Message, id)
	}
}

func (p *sessionSender) count(map[federation.NodeID]string) uint64 { return 0 }

// frontend is the sender of a front end's messages.

func (fe *frontend) device() string { return "" }

func (fe *frontend) mayCommand(device []byte, to *session.Session) *protocol.Error {
	rights := fe.rights.Load()
	switch {
	case rights == nil:
		return nil
	case to != nil && (*rights).MayCommand(to.Name()), to == nil && (*rights).MayCommand(string(device)):
		return nil
	}
	return protocol.NewError(protocol.ErrNotAllowed, "this front end may not command device "+string(device)+"; the message was not delivered")
}

func (fe *frontend) asker() asker { return fe }

func (fe *frontend) account() session.Account { return fe.acct }

// deviceConn is the sender of a device's messages.

func (c *deviceConn) device() string { return c.s.Name() }

func (c *deviceConn) mayCommand([]byte, *session.Session) *protocol.Error {
	return protocol.NewError(protocol.ErrNotAllowed, `field "dst": a device cannot command another device; send to @frontends, @user/NAME or @session/UUID`)
}

func (c *deviceConn) asker() asker { return nil }

func (c *deviceConn) account() session.Account { return 0 }

// nodeSender is the sender of a message that another node has given to this
// one.
type nodeSender struct {
	r    *Router
	node federation.NodeID
	src  string
	// msg is what the other node said. After the call that it came with, only
	// Kind, Corr and ID are still valid.
	msg *federation.Message
}

func (n *nodeSender) source() string { return n.src }

func (n *nodeSender) device() string { return n.msg.Device }

func (n *nodeSender) session() *session.Session { return nil }

func (n *nodeSender) scope() scope { return thisNode }

// account goes by src: the credential is known to the sender's node only.
func (n *nodeSender) account() session.Account {
	if n.msg.Device != "" {
		return 0
	}
	return accountOf(n.src)
}

// mayCommand permits everything: the sender's node has looked.
func (n *nodeSender) mayCommand([]byte, *session.Session) *protocol.Error { return nil }

func (n *nodeSender) wake(to *session.Session) { to.Schedule() }

func (n *nodeSender) refuse(code protocol.ErrorCode, message string, _ []byte) {
	n.r.failTo(n.node, n.msg, code, message)
}

// delivered answers a node that counts.
func (n *nodeSender) delivered(to receipt, _ []byte) {
	if n.msg.Corr != 0 {
		_ = n.r.bus.Send(n.node, &federation.Message{Kind: federation.KindCount, Corr: n.msg.Corr, Count: uint32(to.sessions)})
	}
}

func (n *nodeSender) count(map[federation.NodeID]string) uint64 { return 0 }

// SourceBus is the src of messages that a program outside published on the bus.
const SourceBus = "@bus"

// externalSender is the sender of such a message. There is no session that an
// answer could go to; what is refused is told by the bus.
type externalSender struct {
	err *protocol.Error
}

func (x *externalSender) source() string { return SourceBus }

func (x *externalSender) device() string { return "" }

func (x *externalSender) session() *session.Session { return nil }

func (x *externalSender) scope() scope { return eachNode }

func (x *externalSender) account() session.Account { return accountOf(SourceBus) }

func (x *externalSender) mayCommand([]byte, *session.Session) *protocol.Error { return nil }

func (x *externalSender) asker() asker { return nil }

func (x *externalSender) wake(to *session.Session) { to.Schedule() }

func (x *externalSender) refuse(code protocol.ErrorCode, message string, _ []byte) {
	x.err = protocol.NewError(code, message)
}

func (x *externalSender) delivered(to receipt, _ []byte) { x.err = to.failure() }

func (x *externalSender) count(map[federation.NodeID]string) uint64 { return 0 }
