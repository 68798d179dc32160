package router

import (
	"hash/maphash"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// sender is the source of a text message: a front end, a device, a request of
// the HTTP API, another node that forwards a message of one of these, or an
// external program that publishes on the bus. deliver.go uses sources through
// this interface only.
type sender interface {
	// source returns the src of the message.
	source() string
	// device returns the id of the sending device, "" when the sender is not a
	// device. Only front ends that may observe the device get its messages.
	device() string
	// session returns the sending session on this node, nil for none. A message
	// to all front ends is not sent back to this session.
	session() *session.Session
	// account returns the account that is charged for the message while the
	// message waits in queues. The account of a device is 0, which is never
	// charged.
	account() session.Account
	// origin says how the message came to this node.
	origin() origin
	// mayCommand returns nil, or the reason why the sender may not send to the
	// device. to is the device's session, nil when the device is not connected
	// here.
	mayCommand(device []byte, to *session.Session) *protocol.Error
	// asker returns the asker of the sender's commands, nil when the sender cannot
	// send commands.
	asker() asker
	// flush arranges that the messages that were queued for a session are written
	// soon: at once, at the end of the sender's read event, or by a flusher.
	flush(to *session.Session)
	// refuse reports to the sender that the message with this id was not
	// delivered, and why. The router calls refuse while it handles the message.
	refuse(code protocol.ErrorCode, message string, id []byte)
	// delivered reports to the sender which receivers got a message to a user or
	// to all front ends.
	delivered(to receipt, id []byte)
	// beginCount starts to count the sessions on other nodes that get the message.
	// It returns the number of the query, which the nodes repeat in their answers,
	// or 0 when the sender needs no count.
	beginCount(nodes map[federation.NodeID]string) uint64
}

// origin says how a message came to this node. The origin decides which node
// sends the message to other nodes.
type origin uint8

const (
	// originLocal: the message entered the gateway at this node. This node
	// delivers the message to its own sessions and sends it to other nodes.
	originLocal origin = iota
	// originNode: another node sent the message to this node. This node delivers
	// the message to its own sessions only.
	originNode
	// originBus: an external program published the message to all nodes. Each node
	// delivers the message to its own sessions only.
	originBus
)

var accountSeed = maphash.MakeSeed()

// accountOf returns the account of a credential or, for a sender without one, of
// its source.
func accountOf(name string) session.Account {
	return session.Account(maphash.String(accountSeed, name) | 1)
}

// receipt says which receivers got a message to a user or to all front ends.
type receipt struct {
	// sessions counts the local sessions that queued the message. nodes counts the
	// other nodes that got a message to a user.
	sessions, nodes int
	// flooded counts the local sessions that did not queue the message, because
	// their queues are full of messages of the same sender.
	flooded int
	// err is the error of the bus for a node that did not get the message, for
	// example federation.ErrDown; nil for none.
	err error
	// user is the user that the message is for, nil for all front ends.
	user []byte
}

// sessionSender has the methods of sender that front ends and devices share. The
// methods run on the session's reading goroutine.
type sessionSender struct {
	r *Router
	s *session.Session
}

func (p *sessionSender) source() string { return p.s.Source() }

func (p *sessionSender) session() *session.Session { return p.s }

func (p *sessionSender) origin() origin { return originLocal }

func (p *sessionSender) flush(to *session.Session) { p.s.FlushAfterRead(to) }

func (p *sessionSender) refuse(code protocol.ErrorCode, message string, id []byte) {
	p.r.refuse(p.s, code, message, id)
}

func (p *sessionSender) delivered(to receipt, id []byte) {
	if fail := to.failure(); fail != nil {
		p.refuse(fail.Code, fail.Message, id)
	}
}

func (p *sessionSender) beginCount(map[federation.NodeID]string) uint64 { return 0 }

// The methods of a front end as a sender.

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

// The methods of a device as a sender.

func (c *deviceConn) device() string { return c.s.Name() }

func (c *deviceConn) mayCommand([]byte, *session.Session) *protocol.Error {
	return protocol.NewError(protocol.ErrNotAllowed, `field "dst": a device cannot command another device; send to @frontends, @user/NAME or @session/UUID`)
}

func (c *deviceConn) asker() asker { return nil }

func (c *deviceConn) account() session.Account { return 0 }

// nodeSender is the sender of a message that another node sent to this node.
type nodeSender struct {
	r    *Router
	node federation.NodeID
	src  string
	// msg is the other node's message. After Member.Receive has returned, only
	// Kind, Corr and ID of msg are valid.
	msg *federation.Message
}

func (n *nodeSender) source() string { return n.src }

func (n *nodeSender) device() string { return n.msg.Device }

func (n *nodeSender) session() *session.Session { return nil }

func (n *nodeSender) origin() origin { return originNode }

// account derives the account from src, because only the sender's node knows the
// sender's credential.
func (n *nodeSender) account() session.Account {
	if n.msg.Device != "" {
		return 0
	}
	return accountOf(n.src)
}

// mayCommand permits everything: the sender's node has checked the sender's
// rights.
func (n *nodeSender) mayCommand([]byte, *session.Session) *protocol.Error { return nil }

func (n *nodeSender) flush(to *session.Session) { to.Schedule() }

func (n *nodeSender) refuse(code protocol.ErrorCode, message string, _ []byte) {
	n.r.failTo(n.node, n.msg, code, message)
}

// delivered reports the number of sessions to a node that counts them.
func (n *nodeSender) delivered(to receipt, _ []byte) {
	if n.msg.Corr != 0 {
		_ = n.r.bus.Send(n.node, &federation.Message{Kind: federation.KindCount, Corr: n.msg.Corr, Count: uint32(to.sessions)})
	}
}

func (n *nodeSender) beginCount(map[federation.NodeID]string) uint64 { return 0 }

// SourceBus is the src of messages that an external program published on the bus.
const SourceBus = "@bus"

// externalSender is the sender of an external message. No session can get an
// error for the message. The bus logs and counts err instead.
type externalSender struct {
	// err is the reason why the message was refused, nil for none.
	err *protocol.Error
}

func (x *externalSender) source() string { return SourceBus }

func (x *externalSender) device() string { return "" }

func (x *externalSender) session() *session.Session { return nil }

func (x *externalSender) origin() origin { return originBus }

func (x *externalSender) account() session.Account { return accountOf(SourceBus) }

func (x *externalSender) mayCommand([]byte, *session.Session) *protocol.Error { return nil }

func (x *externalSender) asker() asker { return nil }

func (x *externalSender) flush(to *session.Session) { to.Schedule() }

func (x *externalSender) refuse(code protocol.ErrorCode, message string, _ []byte) {
	x.err = protocol.NewError(code, message)
}

func (x *externalSender) delivered(to receipt, _ []byte) { x.err = to.failure() }

func (x *externalSender) beginCount(map[federation.NodeID]string) uint64 { return 0 }
