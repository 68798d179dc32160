// Package session has the Session, which is one connected peer with its identity,
// state, health and bounded outbox, and the Manager of all sessions with its two
// indexes and heartbeats. The package knows neither the event loop, which a
// Transport adapts, nor who gets which message, which the Callbacks decide.
package session

import (
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
)

// Transport adapts one connection. Its methods may be called from several
// goroutines, Write only from one at a time.
type Transport interface {
	// Write sends b or queues what the kernel does not take; b may be reused
	// afterwards. An event-loop transport never blocks, a blocking one at most
	// until its write deadline.
	Write(b []byte) (int, error)
	// Buffered returns how many bytes Write has accepted that the kernel has not
	// taken yet; always 0 for a blocking transport. It must take no lock that is
	// held while Session.Writable is called: it is called with the session's own
	// lock held.
	Buffered() int
	// Close closes the connection at once and drops what is buffered. It may
	// be called more than once. Session.TransportClosed follows.
	Close() error
}

// Finisher is a Transport that can close in an orderly way, with a TLS
// close_notify for instance. Finish is called in place of Close after a complete
// closing handshake, on the goroutine that writes, and may block for a short
// time.
type Finisher interface {
	Finish() error
}

// Acknowledger is a Transport that knows what its peer has not acknowledged yet.
// Unacknowledged returns how many bytes in the kernel wait for that; 0 when it is
// not known. It does not block.
type Acknowledger interface {
	Unacknowledged() int
}

// Info describes a peer, by its handshake.
type Info struct {
	Role Role
	// Blocking says that the transport's Write blocks: the session gets a
	// goroutine of its own that writes.
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
	// The Callbacks keep those that hold later.
	Rights Rights
	// Credential names the credential that let the peer in, "" for none. Limits
	// for all sessions of one credential count by it.
	Credential string
	// Access is for the server alone: how it let the peer in.
	Access any
}

// Rights say what a front end may do with which devices. They are immutable, and
// their methods do not allocate.
type Rights interface {
	// MayObserve reports whether the front end may know that the device is
	// there, and get its messages and telemetry.
	MayObserve(device string) bool
	// MayCommand reports whether it may send messages to the device.
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
	closeSent     atomic.Bool
	stalled       atomic.Bool
	draining      atomic.Bool  // closed because the gateway shuts down
	lastHeard     atomic.Int64 // Manager time, ns
	lastIn        atomic.Int64 // last application message received; Manager time, ns
	lastOut       atomic.Int64 // last application message written, 0 before the first; Manager time, ns
	rtt           atomic.Int64 // ns, 0 before the first pong
	unanswered    atomic.Int32
	health        atomic.Uint32 // score at the last assessment
	recentPenalty atomic.Uint32 // its share for recent losses and bad messages
	overflowed    atomic.Bool
	received      atomic.Uint64
	sentBytes     atomic.Uint64
	lostSamples   atomic.Uint64
	graceEnd      atomic.Int64 // Manager time, ns; when a closing session's grace ends
	badMessages   atomic.Uint32
	badAtCheck    atomic.Uint32 // badMessages at the last assessment

	// Owned by the wheel's goroutine.
	lostAtCheck uint64
	nextPing    int64
	timer       Timer

	// Guarded by its own lock.
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

// Info returns the description by the handshake. It must not be changed.
func (s *Session) Info() *Info { return s.info }

// Role returns the kind of the peer.
func (s *Session) Role() Role { return s.info.Role }

// Name returns the device id, or the user of a front end ("" for none).
func (s *Session) Name() string { return s.info.Name }

// Source returns what the gateway puts into src: the device id, @user/NAME, or
// @session/UUID for a front end without a user.
func (s *Session) Source() string { return s.source }

// Generation orders the connections of one node: a later one is larger.
func (s *Session) Generation() uint64 { return s.generation }

// ConnectedAt returns the time at which the session was added.
func (s *Session) ConnectedAt() time.Time { return s.m.start.Add(time.Duration(s.since)) }

// Attachment returns what Callbacks.Prepare made for this session.
func (s *Session) Attachment() any { return s.attachment }

// Open reports whether the session is still in the Manager's indexes.
func (s *Session) Open() bool { return s.phase.Load() == phaseOpen }

// Fail closes the session at once: what waits is dropped. code goes into the close
// frame, detail into the log.
func (s *Session) Fail(code protocol.CloseCode, detail string) {
	s.m.close(s, code, detail, closeDiscard)
}

// Close closes the session after everything that waits, except telemetry, was
// sent. code goes into the close frame, detail into the log.
func (s *Session) Close(code protocol.CloseCode, detail string) {
	s.m.close(s, code, detail, closeAfterQueue)
}

// TransportClosed ends the session because its connection has ended. It may be
// called more than once.
func (s *Session) TransportClosed(err error) { s.m.connectionEnded(s, err) }

// CountBadMessage counts a message that was refused, which lowers the health. It
// returns how many there were since the last ping.
func (s *Session) CountBadMessage() int {
	s.m.stats.BadMessages.Add(1)
	return int(s.badMessages.Add(1) - s.badAtCheck.Load())
}

// SendError queues a gateway.error, answering the message with id re when that
// is not empty. The caller flushes.
func (s *Session) SendError(code protocol.ErrorCode, message, re string) error {
	msg, err := protocol.NewMessage(protocol.TypeError, protocol.Error{Code: code, Message: message})
	if err != nil {
		return err
	}
	msg.Re = re
	return s.SendMessage(&msg, false)
}

// SendMessage encodes and queues a message of the gateway's own. The caller
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

// finishClose closes the transport if the closing handshake is complete: our close
// frame has left and the peer's has come.
func (s *Session) finishClose() {
	if !s.closeSent.Load() || !s.peerClosed.Load() || s.t.Buffered() > 0 {
		return
	}
	if f, ok := s.t.(Finisher); ok {
		_ = f.Finish()
		return
	}
	_ = s.t.Close()
}
