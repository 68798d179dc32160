// Package session owns one peer and all of them: identity, state, health and
// the bounded outbox of a session, and the Manager with its two indexes and
// heartbeats. It knows neither the event loop nor who gets which message; a
// Transport adapts the one, callbacks decide the other.
package session

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Transport adapts one connection. Its methods may be called from several
// goroutines, Write only from one at a time.
type Transport interface {
	// Write sends b or queues what the kernel does not take; b may be reused
	// after it returns. An event-loop transport never blocks. A blocking one
	// blocks until its write deadline at most.
	Write(b []byte) (int, error)
	// Buffered returns how many bytes Write has accepted that the kernel has
	// not taken yet; always 0 for a blocking transport. It takes no lock: it is
	// called with the session's lock held, which Writable takes in turn.
	Buffered() int
	// Close closes the connection at once and drops what is buffered. It may
	// be called more than once. Session.TransportClosed follows.
	Close() error
}

// Finisher is a Transport that can end politely. Finish is called in place of
// Close after a complete closing handshake, from the goroutine that writes, and
// may block for a short time.
type Finisher interface {
	Finish() error
}

// Acknowledger is a Transport that knows what its peer has not taken yet.
// Unacknowledged returns how many bytes wait in the kernel for the peer to take
// them; 0 when that is not known. It does not block.
type Acknowledger interface {
	Unacknowledged() int
}

// Info describes a peer as its handshake did.
type Info struct {
	Role Role
	// Name is the device id, or the user of a front end ("" for none).
	Name string
	// Type, Customer and Meta describe a device.
	Type, Customer string
	Meta           map[string]string
	// Telemetry is a front end's first subscription: "all" or "none".
	Telemetry string
	// Remote is the peer's address.
	Remote string
	// Blocking says that the transport's Write blocks: the session gets a
	// writer of its own.
	Blocking bool
	// Rights are a front end's; nil permits everything. They are what holds at
	// first: whoever routes keeps what holds later.
	Rights Rights
	// Credential names the credential that let the peer in, "" for none. Limits
	// for all sessions of one credential count by it.
	Credential string
	// Access is how the server let the peer in; the session does not look at
	// it.
	Access any
}

// Rights say what a front end may do with which devices. They do not change,
// and their methods do not allocate.
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
	touched []*Session
	// limiter is nil until the first message that a rate applies to.
	limiter *limiter

	// Atomic.
	phase       atomic.Uint32
	peerClosed  atomic.Bool
	closeSent   atomic.Bool
	stalled     atomic.Bool
	patient     atomic.Bool  // closed because the gateway leaves
	lastHeard   atomic.Int64 // Manager time, ns
	lastIn      atomic.Int64 // last application message received; Manager time, ns
	lastOut     atomic.Int64 // last application message written, 0 before the first; Manager time, ns
	rtt         atomic.Int64 // ns, 0 before the first pong
	unanswered  atomic.Int32
	health      atomic.Uint32 // score at the last assessment
	recent      atomic.Uint32 // its share for recent losses and bad messages
	overflowed  atomic.Bool
	received    atomic.Uint64
	sentBytes   atomic.Uint64
	lostSamples atomic.Uint64
	closeBy     atomic.Int64 // Manager time, ns; when a closing session's grace ends
	badMessages atomic.Uint32
	lastBad     atomic.Uint32 // badMessages at the last assessment

	// Owned by the wheel's goroutine.
	lastLost uint64
	nextPing int64
	timer    Timer

	// Guarded by its own lock.
	out outbox
}

// The phases of a session's life; it only moves forward.
const (
	// phaseOpen: in the tables.
	phaseOpen uint32 = iota
	// phaseClosing: out of the tables, the close frame is on its way.
	phaseClosing
	// phaseGone: the connection has ended.
	phaseGone
)

// ID returns the session's id, new for each connection.
func (s *Session) ID() uuid.UUID { return s.id }

// Info returns what the handshake said. It must not be changed.
func (s *Session) Info() *Info { return s.info }

// Role returns whether the peer is a device or a front end.
func (s *Session) Role() Role { return s.info.Role }

// Name returns the device id, or the user of a front end ("" for none).
func (s *Session) Name() string { return s.info.Name }

// Source returns what the gateway puts into src: the device id, @user/NAME, or
// @session/UUID for a front end without a user.
func (s *Session) Source() string { return s.source }

// Generation orders the connections of one node: a later one is larger.
func (s *Session) Generation() uint64 { return s.generation }

// Since returns when the session was added.
func (s *Session) Since() time.Time { return s.m.start.Add(time.Duration(s.since)) }

// Attachment returns what Callbacks.Prepare made for this session.
func (s *Session) Attachment() any { return s.attachment }

// Open reports whether the session is still in the Manager's tables.
func (s *Session) Open() bool { return s.phase.Load() == phaseOpen }

// Receive handles the bytes of one read event: r hands the messages and control
// frames in them to s. It belongs to the goroutine that reads the connection.
// When the peer breaks the WebSocket protocol, or a message cannot be handled,
// the session closes behind the answers to what came before; from then on
// Receive only waits for the peer's close frame.
func (s *Session) Receive(r *wsframe.Reader, data []byte) {
	s.Heard()
	if err := r.Feed(data, s); err != nil {
		s.receiveFailed(err, r.PeerClosed())
	}
	s.EndRead()
}

// receiveFailed closes the session after an error of its Reader. With a close
// frame of the peer's, valid or not, the closing handshake needs nothing more
// from it (RFC 6455 section 7.1.1).
func (s *Session) receiveFailed(err error, peerClosed bool) {
	if peerClosed {
		s.peerClosed.Store(true)
	}
	if broken, ok := errors.AsType[*wsframe.Error](err); ok {
		s.Close(protocol.CloseCode(broken.Code), broken.Error())
	} else {
		s.Fail(protocol.CloseInternal, err.Error())
	}
	if peerClosed {
		// Our close frame may have left before.
		s.Schedule()
	}
}

// Heard notes that bytes arrived, of whatever kind.
func (s *Session) Heard() { s.lastHeard.Store(s.m.coarseNow()) }

// HandleMessage passes one complete message to the Manager's Callbacks. The
// payload is valid during the call only. A message above the session's rate is
// refused with rate_limited, and a session that goes on all the same is closed
// with 4006. It implements wsframe.Handler.
func (s *Session) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if !s.Open() {
		return nil
	}
	s.received.Add(1)
	now := s.lastHeard.Load()
	s.lastIn.Store(now)
	if err := s.takeRate(now, op == wsframe.OpText, len(payload)); err != nil {
		s.refuseRate(now, err, len(payload))
		return nil
	}
	return s.m.opts.Callbacks.OnMessage(s, op, payload)
}

// HandleControl answers a ping, takes the round-trip time from a pong and
// finishes a closing handshake (RFC 6455 sections 5.5 and 7). It implements
// wsframe.Handler.
func (s *Session) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		now := s.lastHeard.Load()
		if err := s.takeRate(now, true, 0); err != nil {
			s.refuseRate(now, err, 0)
			return nil
		}
		f := NewFrame(wsframe.HeaderSize(len(payload)) + len(payload))
		f.Extend(func(b []byte) []byte { return wsframe.AppendFrame(b, wsframe.OpPong, payload) })
		if s.Send(f, true) == nil {
			s.Touch(s)
		}
		f.Release()
	case wsframe.OpPong:
		s.pong(payload)
	case wsframe.OpClose:
		s.peerClosed.Store(true)
		code, reason := wsframe.ParseClose(payload)
		s.m.peerClosing(s, code, reason)
	}
	return nil
}

// Touch has other flushed at the end of this session's read event: several
// answers to one read then leave in one write. Only the reading goroutine of s
// may call it.
func (s *Session) Touch(other *Session) {
	for _, t := range s.touched {
		if t == other {
			return
		}
	}
	s.touched = append(s.touched, other)
	if len(s.touched) >= 64 {
		s.flushTouched()
	}
}

// EndRead ends a read event: what it produced is sent.
func (s *Session) EndRead() {
	s.m.opts.Callbacks.OnEndRead(s)
	if len(s.touched) > 0 {
		s.flushTouched()
	}
}

func (s *Session) flushTouched() {
	for i, t := range s.touched {
		t.Flush()
		s.touched[i] = nil
	}
	s.touched = s.touched[:0]
}

// Fail closes the session because of what the peer did: code goes into the
// close frame, detail into the log.
func (s *Session) Fail(code protocol.CloseCode, detail string) {
	s.m.close(s, code, detail, closeDiscard)
}

// Close closes the session after everything queued but telemetry was sent.
func (s *Session) Close(code protocol.CloseCode, detail string) {
	s.m.close(s, code, detail, closeAfterQueue)
}

// TransportClosed tells the session that its connection is gone. It may be
// called more than once.
func (s *Session) TransportClosed(err error) { s.m.gone(s, err) }

// NoteBadMessage counts a message that was refused, which lowers the health,
// and returns how many there were of late: since the last look at the session's
// health, which comes with each ping.
func (s *Session) NoteBadMessage() int {
	s.m.stats.BadMessages.Add(1)
	return int(s.badMessages.Add(1) - s.lastBad.Load())
}

// SendError queues a gateway.error, answering the message with id re when that
// is not empty. The caller flushes.
func (s *Session) SendError(code protocol.ErrorCode, message, re string) error {
	msg, err := protocol.NewMessage(protocol.TypeError, protocol.ErrorPayload{Code: code, Message: message})
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

// takeRate books a message of size bytes, counted among the messages or not, or
// says which limit it exceeds.
func (s *Session) takeRate(now int64, counted bool, size int) error {
	if s.rate.Bytes == 0 && (!counted || s.rate.Messages == 0) {
		return nil
	}
	if s.limiter == nil {
		s.limiter = new(limiter)
	}
	return s.limiter.take(now, counted, size, s.rate)
}

func (s *Session) refuseRate(now int64, err error, size int) {
	s.NoteBadMessage()
	s.m.stats.RateLimited.Add(1)
	if errors.Is(err, errByteRate) {
		s.m.stats.ByteRateLimited.Add(1)
	}
	tell, shut := s.limiter.refused(now, err, size, s.rate)
	if shut {
		s.Close(protocol.CloseRateLimited, err.Error())
		return
	}
	if tell && s.SendError(protocol.ErrRateLimited, s.rate.tell(err), "") == nil {
		s.Touch(s)
	}
}

// pong takes the round-trip time from the timestamp that our ping carried. Any
// other pong only counts as a sign of life.
func (s *Session) pong(payload []byte) {
	now := s.m.coarseNow()
	s.unanswered.Store(0)
	if len(payload) != 8 {
		return
	}
	sent := int64(binary.BigEndian.Uint64(payload))
	if rtt := now - sent; sent > 0 && rtt >= 0 && rtt < int64(time.Hour) {
		s.rtt.Store(max(rtt, 1))
	}
}

// countLoss books telemetry that this session's outbox dropped.
func (s *Session) countLoss(f *Frame) {
	s.lostSamples.Add(f.Samples())
	s.m.stats.LostSamples.Add(f.Samples())
	s.m.stats.LostFrames.Add(uint64(f.frames))
}

// finishClose closes the transport once the closing handshake is complete:
// our close frame has left and the peer's has come.
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
