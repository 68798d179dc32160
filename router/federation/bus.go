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

// NodeID identifies one run of a gateway. The gateway draws a random NodeID when
// it starts, never 0. The first four bytes of each session id are the NodeID,
// big-endian, so a session id says which node has the session.
type NodeID uint32

// NodeOf returns the node of a session id.
func NodeOf(session uuid.UUID) NodeID {
	return NodeID(uint32(session[0])<<24 | uint32(session[1])<<16 | uint32(session[2])<<8 | uint32(session[3]))
}

// Bus connects the routers of several nodes. The bus carries messages and
// telemetry between the nodes, and reports the state of each node to all others.
//
// Only Leave blocks. No method calls the Member before the method returns, so a
// Member may call the methods with its locks held. The caller may reuse a text or
// a batch when the method has returned.
//
// The state of a node is the devices that the node holds, its users, and the
// devices in whose telemetry the node is interested. Changes of the state reach
// every node on the bus, in order and eventually: a node that missed a change gets
// the whole state again. Messages and telemetry are delivered at most once and may
// be lost. Messages and telemetry from one node to another keep their order.
type Bus interface {
	// Join starts the bus, which calls m from then on. Join fails when the bus is
	// misconfigured, but not when the other nodes cannot be reached yet.
	Join(m Member) error
	// Self returns this node's id.
	Self() NodeID
	// Up reports whether the other nodes can be reached, as far as the bus knows.
	Up() bool
	// Stats returns the bus's counters.
	Stats() Stats

	// Hold announces that this node holds a device from now on. The holding
	// replaces an earlier holding of this node. With the epoch of the earlier
	// holding only Description may have changed.
	Hold(h Holding)
	// Release announces that this node no longer holds the device. The bus sends
	// the device's queued telemetry first. Release has no effect when this node
	// holds the device with a greater epoch.
	Release(r Release)
	// User announces whether this node has sessions of the user.
	User(user string, here bool)
	// UpdateInterest announces whether this node is interested in the telemetry of
	// a device that another node holds, or may hold later.
	UpdateInterest(device string, interested bool)

	// Send queues a message for one node. When Send fails, with ErrDown, ErrFull or
	// ErrNodeGone, the message is never delivered. When Send has accepted a message
	// and the bus learns later that the message was not delivered, or may not have
	// been delivered, the bus calls Member.Undelivered.
	Send(to NodeID, m *Message) error
	// SendAll queues a message for every other node. SendAll fails like Send.
	SendAll(m *Message) error
	// SendTelemetry queues a batch for the nodes that are interested in the device's
	// telemetry. When the queue is full, the bus drops the oldest batches.
	SendTelemetry(b *Batch)

	// Leave releases all devices of this node, tells the other nodes that this node
	// leaves, and ends every goroutine of the bus. After Leave, the bus does not
	// call the Member.
	Leave()
}

// Member is a router on a Bus. The bus calls one method at a time, and no method
// blocks. Arguments are valid during the call only.
type Member interface {
	// NodeJoined reports that another node has joined. The first call about a node
	// is NodeJoined.
	NodeJoined(node NodeID, name string)
	// NodeLeft reports that a node has left the bus. All state of the node is void.
	NodeLeft(node NodeID, why Departure)
	// DeviceHeld reports that a node holds a device. The bus may repeat the call.
	DeviceHeld(node NodeID, h Holding)
	// DeviceReleased reports that a node no longer holds a device. If this node was
	// cut off, DeviceReleased may come without a DeviceHeld before.
	DeviceReleased(node NodeID, r Release)
	// DeviceOvertaken reports that another node holds a device with the epoch by,
	// and this node with the smaller epoch. first is true when the bus was up and
	// found the other holding right after Hold. Then the other node held the device
	// before this node, and the greater epoch comes from a clock that is ahead.
	DeviceOvertaken(device string, epoch, by uint64, first bool)
	// UserChanged reports whether a node has sessions of a user.
	UserChanged(node NodeID, user string, here bool)
	// InterestChanged reports whether a node is interested in the telemetry of a
	// device. The bus repeats the call when that node may have missed telemetry.
	InterestChanged(node NodeID, device string, interested bool)
	// Receive takes a message of another node.
	Receive(from NodeID, m *Message)
	// Undelivered reports that a message that Send accepted was not delivered and
	// will not be delivered. When certain is false, the message may have been
	// delivered: the bus failed while the message was on its way. Only Kind, Corr,
	// Sender, ID and Name of m are set.
	Undelivered(to NodeID, m *Message, certain bool)
	// ReceiveTelemetry takes a batch of a device in whose telemetry this node is
	// interested. The Member may overwrite the batch's Wire.
	ReceiveTelemetry(from NodeID, b *Batch)
	// ReceiveExternal takes an external message: an envelope with dst, type and
	// payload. Every node receives the message and delivers it to its own sessions.
	// The error, a *protocol.Error, says why the message is refused. All nodes with
	// the same knowledge of each other return the same error.
	ReceiveExternal(text []byte) error
	// BusChanged reports that the other nodes can be reached again, or can no
	// longer be reached.
	BusChanged(up bool)
}

// Departure says why a node has left the bus.
type Departure string

// Departures of a node. In gateway.device_offline for the node's devices, the
// departure is the reason.
const (
	// NodeClosed means that the node announced that it leaves.
	NodeClosed Departure = "going_away"
	// NodeLost means that nothing arrived from the node for the time to live.
	NodeLost Departure = "node_lost"
)

// Holding says that a node holds a device.
type Holding struct {
	Device string
	// Epoch orders the holdings of a device. The holding with the greater epoch is
	// newer. When two epochs are equal, the holding of the greater NodeID is newer.
	// The first epoch of a device is the time in microseconds since 1970, and epochs
	// only grow.
	Epoch uint64
	// Type, Customer and Meta describe the device.
	Type, Customer string
	Meta           map[string]string
	// Description is the version of the device's description, "" without one.
	Description string
	// At is the position of the device's telemetry when the device connected: a
	// range without samples.
	At Range
}

// Release says that a node no longer holds a device.
type Release struct {
	Device string
	Epoch  uint64
	// Reason is the reason in gateway.device_offline.
	Reason string
	// Begin is the At of the holding that ends. A node that was cut off may learn
	// of the holding only from its release. The bus sets Begin.
	Begin Range
	// End is the position at the end of this holding's telemetry: a range without
	// samples.
	End Range
}

// Kind says what a Message is.
type Kind uint8

// Kinds of messages between nodes, with the fields that each kind uses.
const (
	// KindCommand: Text is a command of a front end or the HTTP API for the device
	// Name. Corr is the number of the command on the asker's node, ID the asker's
	// id, and TimeoutMS the time that is left, in milliseconds. The other node
	// replies with KindAnswer or KindFailure.
	KindCommand Kind = iota + 1
	// KindToDevice: Text is a message for the device Name that expects no answer.
	// When the message cannot be delivered, the other node replies with
	// KindFailure for the session Sender and the message ID.
	KindToDevice
	// KindAnswer: Text is the answer to the command Corr.
	KindAnswer
	// KindFailure: Code and Text say why the command Corr gets no answer. When Corr
	// is 0, Code and Text say why the message ID of the session Session failed.
	KindFailure
	// KindToSession: Text is a message for the front end Session. Device is the
	// sending device, "" when the sender is not a device. When the message cannot be
	// delivered, the other node replies as for KindToDevice.
	KindToSession
	// KindToUser: Text is a message for the sessions of the user Name. Device is as
	// for KindToSession. When Corr is not 0, the other node replies with KindCount.
	KindToUser
	// KindToFrontends: Text is a message for every front end. Device and Corr are
	// as for KindToUser.
	KindToFrontends
	// KindCount: Count sessions queued the message Corr.
	KindCount
	// KindQuery: Name names the query, and ID its subject. The other node replies
	// with KindResult.
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
	// Wire holds complete unmasked WebSocket frames (RFC 6455 section 5.2). Each
	// WebSocket frame has one telemetry frame. The telemetry frames are in the
	// order of their samples, without a gap, and have the stream numbers of the
	// sending node. Wire is empty when the batch only reports the position.
	Wire []byte
}

// Stats are the counters of a bus since its creation.
type Stats struct {
	// Nodes is the number of other nodes on the bus.
	Nodes int
	// Sent and Received count messages and batches of telemetry, SentBytes and
	// ReceivedBytes their bytes. Publishes counts the packets that were sent; a
	// packet carries one or more messages and batches.
	Sent, SentBytes, Received, ReceivedBytes, Publishes uint64
	// DroppedTelemetry counts batches that were dropped before they were sent. Lost
	// counts packets of other nodes that never arrived. Stale counts packets that
	// arrived too late. Malformed counts packets that could not be decoded.
	DroppedTelemetry, Lost, Stale, Malformed uint64
	// IngressAccepted counts the external messages that were accepted.
	// IngressRefused counts the refused external messages by reason.
	IngressAccepted uint64
	IngressRefused  map[string]uint64
	// Outages counts the outages of the bus. OutageSeconds is their total duration
	// in seconds.
	Outages       uint64
	OutageSeconds float64
}
