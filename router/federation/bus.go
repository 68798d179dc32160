package federation

import (
	"errors"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
)

// Errors of a Bus.
var (
	// ErrDown: the bus cannot reach the other nodes.
	ErrDown = errors.New("router: other nodes cannot be reached")
	// ErrFull: more waits to leave for other nodes than the bus may hold.
	ErrFull = errors.New("router: too much waits to leave for other nodes")
	// ErrNodeGone: no such node is on the bus.
	ErrNodeGone = errors.New("router: no such node")
)

// NodeID names one run of a gateway: drawn at random when it starts, never 0.
// It stands, big-endian, in the first four bytes of the ids of its sessions, so
// that a session id says where its session is.
type NodeID uint32

// NodeOf returns the node that a session id was made on.
func NodeOf(session uuid.UUID) NodeID {
	return NodeID(uint32(session[0])<<24 | uint32(session[1])<<16 | uint32(session[2])<<8 | uint32(session[3]))
}

// Bus joins the routers of several nodes. It carries what they say to each
// other and keeps each informed of what the others hold; what that means is
// the router's business.
//
// None of the methods blocks, and none calls a Member back before it returns:
// they are called with the router's locks held. A text or a batch that is
// handed over may be reused when the method has returned.
//
// The state of a node (the devices it holds, the users it has, the devices
// whose telemetry it wants) reaches every node on the bus, in the order in
// which it changed, sooner or later: whoever missed something is told all of
// it again. Messages and telemetry are delivered at most once and may be lost;
// those of one node to another keep their order.
type Bus interface {
	// Join starts the bus, with m as its receiver. It fails when the bus is
	// misconfigured, not because other nodes cannot be reached yet.
	Join(m Member) error
	// Self returns this node's id.
	Self() NodeID
	// Up reports whether the other nodes can be reached, as far as is known.
	Up() bool
	// Stats returns the bus's counters.
	Stats() Stats

	// Hold says that this node holds a device from now on, in place of whatever
	// it said of that device before.
	Hold(h Holding)
	// Release says that this node does not hold the device any longer. It does
	// nothing to what is held with a greater epoch. Telemetry of the device that
	// waits leaves before it.
	Release(r Release)
	// User says that this node has sessions of the user, or has not any longer.
	User(user string, here bool)
	// Want says whether this node wants the telemetry of a device that another
	// node holds, or will hold.
	Want(device string, wanted bool)

	// Send gives a message to one node. It fails with ErrDown, ErrFull or
	// ErrNodeGone; then it was not and will not be delivered. When a message
	// that was accepted turns out to be undeliverable, or may be, Member.Undelivered says
	// so if that is known.
	Send(to NodeID, m *Message) error
	// SendAll gives a message to every other node. It fails like Send.
	SendAll(m *Message) error
	// SendTelemetry gives a batch to the nodes that want the device's telemetry.
	// What cannot be kept for them is dropped, oldest first. It does not block,
	// calls nobody on the Member, and keeps nothing of b.
	SendTelemetry(b *Batch)

	// Leave releases all that this node holds, tells the others that it goes,
	// and ends every goroutine of the bus. Nothing is called on the Member
	// afterwards.
	Leave()
}

// Member is a router on a Bus. A bus calls the methods one after another, never
// two at once. None of them blocks. What they are given is valid during the
// call only.
type Member interface {
	// NodeJoined says that another node is there. It comes before anything else
	// from that node.
	NodeJoined(node NodeID, name string)
	// NodeLeft says that a node is gone, with all that it held, had and wanted.
	NodeLeft(node NodeID, why Departure)
	// DeviceHeld says that a node holds a device. It may be said more than once.
	DeviceHeld(node NodeID, h Holding)
	// DeviceReleased takes that back. It may be said of a device that was never
	// said to be held, when it was released while this node was cut off.
	DeviceReleased(node NodeID, r Release)
	// DeviceOvertaken says that a device which this node holds with that epoch
	// is held by another with a greater one, by. first says that this was found
	// the moment Hold was called, with the bus up: the other was there before,
	// however great its epoch is.
	DeviceOvertaken(device string, epoch, by uint64, first bool)
	// UserChanged says whether a node has sessions of a user.
	UserChanged(node NodeID, user string, here bool)
	// WantChanged says whether a node wants the telemetry of a device.
	WantChanged(node NodeID, device string, wanted bool)
	// Receive takes a message of another node.
	Receive(from NodeID, m *Message)
	// Undelivered says that a message which Send accepted for the node was not
	// delivered and will not be. With certain false nobody knows: it was under
	// way when the way failed. Only Kind, Corr, Sender, ID and Name of m are set.
	Undelivered(to NodeID, m *Message, certain bool)
	// ReceiveTelemetry takes a batch of a device that this node wants. It may
	// overwrite the batch's Wire.
	ReceiveTelemetry(from NodeID, b *Batch)
	// ReceiveExternal takes a message that a program outside published: an
	// envelope with dst, type and payload. Every node is given it and delivers
	// what is its own. The error, an *Error, says why nobody can have it; it is
	// the same on every node, as far as each knows the others.
	ReceiveExternal(text []byte) error
	// BusChanged says that the other nodes cannot be reached any longer, or can
	// be again.
	BusChanged(up bool)
}

// Departure says why a node is gone.
type Departure string

// Departures of a node; they are the reason with which its devices go.
const (
	// NodeClosed: it said that it leaves.
	NodeClosed Departure = "going_away"
	// NodeLost: nothing was heard of it for the time to live.
	NodeLost Departure = "node_lost"
)

// Holding says that a node holds a device.
type Holding struct {
	Device string
	// Epoch orders the holdings of a device: of two, the one with the greater
	// epoch is newer, and of two equal ones that of the greater node. It starts
	// at the microseconds since 1970 and only grows.
	Epoch uint64
	// Type, Customer and Meta describe the device.
	Type, Customer string
	Meta           map[string]string
	// At is where the device's telemetry stood when it came: a batch without
	// frames.
	At Range
}

// Release says that a node does not hold a device any longer.
type Release struct {
	Device string
	Epoch  uint64
	// Reason is that of gateway.device_offline.
	Reason string
	// End is the end of the telemetry that came with this holding: a batch
	// without frames.
	End Range
}

// Kind says what a Message is.
type Kind uint8

// Kinds of messages between nodes, with the fields that each uses beside Kind.
const (
	// KindCommand: Text is a command for the device Name, from a front end or
	// the HTTP API. Corr is the asker's number for it, ID the asker's id,
	// TimeoutMS what is left of its time. KindAnswer or KindFailure comes back.
	KindCommand Kind = iota + 1
	// KindToDevice: Text is a message for the device Name that nobody waits for.
	// When it cannot be delivered, KindFailure goes to the session Sender, with
	// ID.
	KindToDevice
	// KindAnswer: Text is the answer to the command Corr.
	KindAnswer
	// KindFailure: Code and Text say why there will be no answer to the command
	// Corr, or, with Corr 0, why the message ID of Session failed.
	KindFailure
	// KindToSession: Text is for the front end Session. Device is the sending
	// device, "" for others. When it cannot be delivered, KindFailure goes to the
	// session Sender, with ID.
	KindToSession
	// KindToUser: Text is for the sessions of the user Name; Device as above.
	// With Corr, KindCount comes back.
	KindToUser
	// KindToFrontends: Text is for every front end; Device and Corr as above.
	KindToFrontends
	// KindCount: Count sessions took the message Corr.
	KindCount
	// KindQuery: Name says what is asked, ID of what. KindResult comes back.
	KindQuery
	// KindResult: Text is the answer to the query Corr.
	KindResult
)

// Message is what one node says to another.
type Message struct {
	Kind      Kind
	Urgent    bool
	TimeoutMS uint32
	Count     uint32
	Corr      uint64
	Session   uuid.UUID
	Sender    uuid.UUID
	Name      string
	ID        string
	Device    string
	Code      protocol.ErrorCode
	Text      []byte
}

// Batch is telemetry of one device on its way to other nodes.
type Batch struct {
	Device string
	Range  Range
	// Wire holds complete unmasked WebSocket frames (RFC 6455 section 5.2), one
	// telemetry frame each, in the order of their samples, without a gap. Their
	// stream numbers are the sender's. It is empty when the batch only says how
	// far the device is.
	Wire []byte
}

// Stats counts what a bus did since it was made.
type Stats struct {
	// Nodes is how many other nodes are there.
	Nodes int
	// Sent, SentBytes, Received, ReceivedBytes count messages and telemetry
	// batches; Publishes the round trips' commands that carried them.
	Sent, SentBytes, Received, ReceivedBytes, Publishes uint64
	// DroppedTelemetry counts batches that had to give way before they left;
	// Lost counts packets of other nodes that never came; Stale those that came
	// too late to be acted upon; Malformed those that could not be read.
	DroppedTelemetry, Lost, Stale, Malformed uint64
	// IngressAccepted counts messages of other programs that were accepted, IngressRefused
	// those that were not, by reason.
	IngressAccepted uint64
	IngressRefused  map[string]uint64
	// Outages counts the times that the bus went down; OutageSeconds adds up
	// how long it was.
	Outages       uint64
	OutageSeconds float64
}
