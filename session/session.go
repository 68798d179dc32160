// Package session has the Session and the Manager. A Session is one connected peer
// with its identity, state, health and bounded outbox. The Manager has all sessions
// in two indexes, and sends their heartbeats. The package does not depend on the
// event loop, which a Transport adapts. The Callbacks decide which sessions get a
// message.
package session

import (
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
)

// Transport adapts one connection. Several goroutines may call the methods at the
// same time, but only one at a time calls Write.
type Transport interface {
	// Write sends b, and buffers the bytes that the kernel does not take. The caller
	// may reuse b afterwards. Write of an event-loop transport never blocks. Write of
	// a blocking transport blocks until its write deadline at most.
	Write(b []byte) (int, error)
	// Buffered returns the number of bytes that Write has buffered and the kernel has
	// not taken yet; always 0 for a blocking transport. The session calls Buffered
	// with its own lock held, so Buffered must not take a lock that the transport
	// holds when it calls Session.Writable.
	Buffered() int
	// Close closes the connection at once and drops the buffered bytes. Close may be
	// called more than once. Afterwards the transport calls
	// Session.TransportClosed.
	Close() error
}

// Finisher is a Transport that can close the connection in an orderly way, for
// example with a TLS close_notify. After a complete closing handshake, and at the
// end of the grace time if the close frame has left, the session calls Finish
// instead of Close, on the goroutine that writes. Finish may block: Close, which
// the session calls when the time for Finish is over, must end Finish.
type Finisher interface {
	Finish() error
}

// Acknowledger is a Transport that knows which bytes the peer has not acknowledged.
// Unacknowledged returns the number of these bytes in the kernel; 0 when the number
// is not known. Unacknowledged does not block.
type Acknowledger interface {
	Unacknowledged() int
}

// Info describes a peer. Its values come from the handshake.
type Info struct {
	Role Role
	// Blocking says that the transport's Write may block. Then the session has its
	// own goroutine that writes.
	Blocking bool
	// Name is the device id, or the user of a front end ("" for none).
	Name string
	// Type, Customer and Meta describe a device.
	Type, Customer string
	Meta           map[string]string
	// Telemetry is a front end's first subscription: "all" or "none".
	Telemetry string
	// Remote is the peer's address.
	Remote string
	// Rights are a front end's rights when it connects; nil permits everything.
	// When the rights change later, the Callbacks have the new rights.
	Rights Rights
	// Credential identifies the peer's credential, "" for none. Some limits are for
	// all sessions with the same Credential together.
	Credential string
	// Access says how the server admitted the peer. Only the server uses Access.
	Access any
}

// Rights say what a front end may do with which devices. Rights are immutable, and
// their methods do not allocate.
type Rights interface {
	// MayObserve reports whether the front end may know that the device exists, and
	// may get its messages and telemetry.
	MayObserve(device string) bool
	// MayCommand reports whether the front end may send messages to the device.
	MayCommand(device string) bool
}

// Session is one connected peer.
type Session struct {
	// Static after Add.
	id         uuid.UUID
	m          *Manager
	t          Transport
	info       *Info
	source     string
	generation uint64
	since      int64
	attachment any
	flusher    *flusher
	writer     *writer
	rate       *Rate

	// Owned by the reading goroutine.
	pendingFlush []*Session
	// limiter is nil until the first message that a rate applies to.
	limiter *limiter

	// Atomic.
	phase         atomic.Uint32
	peerClosed    atomic.Bool
	graceOver     atomic.Bool // the grace time ended without the peer's close frame
	closeSent     atomic.Bool
	stalled       atomic.Bool
	draining      atomic.Bool   // closed because the gateway shuts down
	lastHeard     atomic.Int64  // time of the last read event; Manager time, ns
	lastIn        atomic.Int64  // time of the last application message received; Manager time, ns
	lastOut       atomic.Int64  // time of the last application message written, 0 before the first; Manager time, ns
	rtt           atomic.Int64  // round-trip time in ns, 0 before the first pong
	unanswered    atomic.Int32  // pings since the last pong
	health        atomic.Uint32 // score at the last updateHealth
	recentPenalty atomic.Uint32 // penalty for recent losses and bad messages at the last updateHealth
	overflowed    atomic.Bool
	received      atomic.Uint64
	sentBytes     atomic.Uint64
	lostSamples   atomic.Uint64
	graceEnd      atomic.Int64 // end of a closing session's grace time; Manager time, ns
	badMessages   atomic.Uint32
	badAtCheck    atomic.Uint32 // badMessages at the last updateHealth

	// Owned by the wheel's goroutine.
	lostAtCheck uint64 // lostSamples at the last updateHealth
	nextPing    int64  // time of the next ping; Manager time, ns
	timer       Timer

	// out has its own lock.
	out outbox
}

// The phases of a session, in order.
const (
	// phaseOpen: in the indexes.
	phaseOpen uint32 = iota
	// phaseClosing: removed from the indexes; the close frame is on its way.
	phaseClosing
	// phaseGone: the connection has ended.
	phaseGone
)

// ID returns the session's id, new for each connection.
func (s *Session) ID() uuid.UUID { return s.id }

// Info returns the description of the peer. The caller must not change the Info.
func (s *Session) Info() *Info { return s.info }

// Role returns the kind of the peer.
func (s *Session) Role() Role { return s.info.Role }

// Name returns the device id, or the user of a front end ("" for none).
func (s *Session) Name() string { return s.info.Name }

// Source returns the src of the session's messages: the device id, @user/NAME, or
// @session/UUID for a front end without a user.
func (s *Session) Source() string { return s.source }

// Generation orders the sessions of one node: later sessions have greater numbers.
func (s *Session) Generation() uint64 { return s.generation }

// ConnectedAt returns the time at which the session was added.
func (s *Session) ConnectedAt() time.Time { return s.m.start.Add(time.Duration(s.since)) }

// Attachment returns the value that Callbacks.Prepare returned for this session.
func (s *Session) Attachment() any { return s.attachment }

// Open reports whether the session is still in the Manager's indexes.
func (s *Session) Open() bool { return s.phase.Load() == phaseOpen }

// Fail closes the session and drops all queued frames. code goes into the close
// frame, detail into the log.
func (s *Session) Fail(code protocol.CloseCode, detail string) {
	s.m.close(s, code, detail, closeDiscard)
}

// Close closes the session after all queued frames, except telemetry, were sent.
// code goes into the close frame, detail into the log.
func (s *Session) Close(code protocol.CloseCode, detail string) {
	s.m.close(s, code, detail, closeAfterQueue)
}

// TransportClosed ends the session because its connection has ended.
// TransportClosed may be called more than once.
func (s *Session) TransportClosed(err error) { s.m.connectionEnded(s, err) }

// CountBadMessage counts a refused message, which lowers the health score. It
// returns the number of refused messages since the last heartbeat.
func (s *Session) CountBadMessage() int {
	s.m.stats.BadMessages.Add(1)
	return int(s.badMessages.Add(1) - s.badAtCheck.Load())
}

// SendError queues a gateway.error. re is the id of the refused message, "" for
// none. The caller flushes.
func (s *Session) SendError(code protocol.ErrorCode, message, re string) error {
	msg, err := protocol.NewMessage(protocol.TypeError, protocol.Error{Code: code, Message: message})
	if err != nil {
		return err
	}
	msg.Re = re
	return s.SendMessage(&msg, false)
}

// SendMessage encodes and queues a message of the gateway itself. The caller
// flushes.
func (s *Session) SendMessage(msg *protocol.Message, urgent bool) error {
	text, err := msg.Append(nil)
	if err != nil {
		return err
	}
	f := NewTextFrame(text)
	defer f.Release()
	return s.Send(f, urgent)
}

// countLoss counts telemetry that this session's outbox has dropped.
func (s *Session) countLoss(f *Frame) {
	s.lostSamples.Add(f.Samples())
	s.m.stats.LostSamples.Add(f.Samples())
	s.m.stats.LostFrames.Add(uint64(f.frames))
	if f.dropped != nil {
		f.dropped.Add(f.Samples())
	}
}

// finishClose closes the transport if the gateway's close frame has left, and the
// peer's close frame has arrived or the grace time has ended.
func (s *Session) finishClose() {
	if !s.closeSent.Load() || !s.peerClosed.Load() && !s.graceOver.Load() || s.t.Buffered() > 0 {
		return
	}
	if f, ok := s.t.(Finisher); ok {
		_ = f.Finish()
		return
	}
	_ = s.t.Close()
}
