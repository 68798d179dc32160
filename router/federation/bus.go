package federation

import (
	"errors"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
)

// Errors of a Bus.
var (
	// ErrDown means that the other nodes cannot be reached.
	ErrDown = errors.New("federation: other nodes cannot be reached")
	// ErrFull means that the queue for other nodes is full.
	ErrFull = errors.New("federation: the queue for other nodes is full")
	// ErrNodeGone means that no such node is on the bus.
	ErrNodeGone = errors.New("federation: no such node")
)

// NodeID identifies one run of a gateway. It is drawn at random when the gateway
// starts, and is never 0. The first four bytes of each session id are the NodeID,
// big-endian, so a session id says which node has the session.
type NodeID uint32

// NodeOf returns the node of a session id.
func NodeOf(session uuid.UUID) NodeID {
	return NodeID(uint32(session[0])<<24 | uint32(session[1])<<16 | uint32(session[2])<<8 | uint32(session[3]))
}

// Bus joins the routers of several nodes. It carries messages and telemetry
// between them, and keeps each informed of the state of the others.
//
// No method but Leave blocks, and none calls the Member before it returns: a Member
// may call them with its locks held. A text or a batch may be reused when the
// method has returned.
//
// The state of a node is the devices that it holds, its users, and the devices in
// whose telemetry it is interested. Changes of it reach every node on the bus in
// order, sooner or later: a node that missed something is told the whole state
// again. Messages and telemetry are delivered at most once and may be lost; those
// from one node to another keep their order.
type Bus interface {
	// Join starts the bus, which calls m from then on. It fails when the bus is
	// misconfigured, not when other nodes cannot be reached yet.
	Join(m Member) error
	// Self returns this node's id.
	Self() NodeID
	// Up reports whether the other nodes can be reached, as far as the bus knows.
	Up() bool
	// Stats returns the bus's counters.
	Stats() Stats

	// Hold says that this node holds a device from now on. It replaces an earlier
	// holding of this node.
	Hold(h Holding)
	// Release says that this node does not hold the device any longer. It has no
	// effect when this node holds the device with a greater epoch. Queued telemetry
	// of the device is sent first.
	Release(r Release)
	// User says whether this node has sessions of the user.
	User(user string, here bool)
	// UpdateInterest says whether this node is interested in the telemetry of a
	// device that another node holds, or may hold later.
	UpdateInterest(device string, interested bool)

	// Send queues a message for one node. When it fails, with ErrDown, ErrFull or
	// ErrNodeGone, the message is never delivered. When the bus learns later that an
	// accepted message was not delivered, or perhaps was not, it calls
	// Member.Undelivered.
	Send(to NodeID, m *Message) error
	// SendAll queues a message for every other node. It fails like Send.
	SendAll(m *Message) error
	// SendTelemetry queues a batch for the nodes that are interested in the device's
	// telemetry. When the queue is full the oldest batches are dropped.
	SendTelemetry(b *Batch)

	// Leave releases all devices of this node, tells the others that the node
	// leaves, and ends every goroutine of the bus. The bus does not call the Member
	// afterwards.
	Leave()
}

// Member is a router on a Bus. The bus calls one method at a time, and no method
// blocks. Arguments are valid during the call only.
type Member interface {
	// NodeJoined says that another node has joined. It is the first call about that
	// node.
	NodeJoined(node NodeID, name string)
	// NodeLeft says that a node is gone, and with it all of its state.
	NodeLeft(node NodeID, why Departure)
	// DeviceHeld says that a node holds a device. The bus may repeat it.
	DeviceHeld(node NodeID, h Holding)
	// DeviceReleased says that a node does not hold a device any longer. The bus may
	// not have told of the holding before, if this node was cut off meanwhile.
	DeviceReleased(node NodeID, r Release)
	// DeviceOvertaken says that another node holds a device with the epoch by, which
	// is greater than the epoch with which this node holds it. first says that the
	// bus found that out right after Hold, while it was up: the other node held the
	// device before, and its greater epoch comes from a clock that is ahead.
	DeviceOvertaken(device string, epoch, by uint64, first bool)
	// UserChanged says whether a node has sessions of a user.
	UserChanged(node NodeID, user string, here bool)
	// InterestChanged says whether a node is interested in the telemetry of a
	// device. The bus repeats it when that node may have missed telemetry.
	InterestChanged(node NodeID, device string, interested bool)
	// Receive takes a message of another node.
	Receive(from NodeID, m *Message)
	// Undelivered says that a message which Send accepted was not and will not be
	// delivered. With certain false nobody knows whether it was: the bus failed
	// while the message was on its way. Only Kind, Corr, Sender, ID and Name of m are
	// set.
	Undelivered(to NodeID, m *Message, certain bool)
	// ReceiveTelemetry takes a batch of a device in whose telemetry this node is
	// interested. It may overwrite the batch's Wire.
	ReceiveTelemetry(from NodeID, b *Batch)
	// ReceiveExternal takes a message of another program: an envelope with dst, type
	// and payload. Every node receives it and delivers it to its own sessions. The
	// error, a *protocol.Error, says why the message is for nobody; it is the same on
	// every node, as far as each knows the others.
	ReceiveExternal(text []byte) error
	// BusChanged says whether the other nodes can be reached, when that has changed.
	BusChanged(up bool)
}

// Departure says why a node is gone.
type Departure string

// Departures of a node. They are the reason in gateway.device_offline for its
// devices.
const (
	// NodeClosed means that the node announced that it leaves.
	NodeClosed Departure = "going_away"
	// NodeLost means that nothing was heard of the node for the time to live.
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
	// At is the position of the device's telemetry when the device connected: a
	// range without samples.
	At Range
}

// Release says that a node does not hold a device any longer.
type Release struct {
	Device string
	Epoch  uint64
	// Reason is that of gateway.device_offline.
	Reason string
	// Begin is Holding.At of this holding: a node that was cut off may hear of the
	// holding only when it is over. The bus sets it.
	Begin Range
	// End is the position at the end of this holding's telemetry: a range without
	// samples.
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
	// KindToDevice: Text is a message for the device Name that expects no answer.
	// When it cannot be delivered, KindFailure goes to the session Sender, with ID.
	KindToDevice
	// KindAnswer: Text is the answer to the command Corr.
	KindAnswer
	// KindFailure: Code and Text say why there will be no answer to the command
	// Corr, or, with Corr 0, why the message ID of Session failed.
	KindFailure
	// KindToSession: Text is for the front end Session. Device is the sending device,
	// "" when the sender is none. When it cannot be delivered, KindFailure goes to
	// the session Sender, with ID.
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

// Message is a message from one node to another.
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
	// stream numbers are the sender's. It is empty when the batch only tells the
	// position.
	Wire []byte
}

// Stats are the counters of a bus since it was made.
type Stats struct {
	// Nodes is how many other nodes there are.
	Nodes int
	// Sent, SentBytes, Received and ReceivedBytes count messages and batches of
	// telemetry. Publishes counts the packets that carried what was sent.
	Sent, SentBytes, Received, ReceivedBytes, Publishes uint64
	// DroppedTelemetry counts batches that were dropped before they were sent. Lost
	// counts packets of other nodes that never arrived, Stale those that arrived too
	// late, and Malformed those that could not be read.
	DroppedTelemetry, Lost, Stale, Malformed uint64
	// IngressAccepted counts messages of other programs that were accepted, and
	// IngressRefused those that were refused, by reason.
	IngressAccepted uint64
	IngressRefused  map[string]uint64
	// Outages counts how often the bus went down, and OutageSeconds adds up for how
	// long.
	Outages       uint64
	OutageSeconds float64
}
