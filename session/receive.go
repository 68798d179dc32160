package session

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Receive handles the bytes of one read event: r passes the messages and control
// frames in data to s. Only the session's reading goroutine may call Receive. When
// the peer violates the WebSocket protocol, or a message cannot be handled, the
// session closes after it has sent the answers to earlier messages. From then on
// Receive only waits for the peer's close frame.
func (s *Session) Receive(r *wsframe.Reader, data []byte) {
	s.Heard()
	if err := r.Feed(data, s); err != nil {
		s.receiveFailed(err, r.PeerClosed())
	}
	s.EndRead()
}

// receiveFailed closes the session after an error of its Reader. peerClosed means
// that the peer has sent a close frame, valid or not. Then the closing handshake
// needs nothing more from the peer (RFC 6455 section 7.1.1).
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
		// The gateway's close frame may have left before. Then the handshake is
		// complete, and the flush closes the transport.
		s.Schedule()
	}
}

// Heard records that bytes arrived from the peer. Receive calls Heard itself.
func (s *Session) Heard() { s.lastHeard.Store(s.m.now()) }

// HandleMessage passes one complete message to the Manager's Callbacks. The
// payload is valid during the call only. A message above the session's rate is
// refused with rate_limited, and a session that continues is closed with 4006.
// HandleMessage implements wsframe.Handler.
func (s *Session) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if !s.Open() {
		return nil
	}
	s.received.Add(1)
	now := s.lastHeard.Load()
	s.lastIn.Store(now)
	if err := s.checkRate(now, op == wsframe.OpText, len(payload)); err != nil {
		s.rejectForRate(now, err, len(payload))
		return nil
	}
	return s.m.opts.Callbacks.OnMessage(s, op, payload)
}

// HandleControl answers a ping, measures the round-trip time from a pong, and
// answers a close frame (RFC 6455 sections 5.5 and 7). HandleControl implements
// wsframe.Handler.
func (s *Session) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		now := s.lastHeard.Load()
		if err := s.checkRate(now, true, 0); err != nil {
			s.rejectForRate(now, err, 0)
			return nil
		}
		f := NewFrame(wsframe.HeaderSize(len(payload)) + len(payload))
		f.Extend(func(b []byte) []byte { return wsframe.AppendFrame(b, wsframe.OpPong, payload) })
		if s.Send(f, true) == nil {
			s.FlushAfterRead(s)
		}
		f.Release()
	case wsframe.OpPong:
		s.pong(payload)
	case wsframe.OpClose:
		s.peerClosed.Store(true)
		code, reason := wsframe.ParseClose(payload)
		s.m.handlePeerClose(s, code, reason)
	}
	return nil
}

// FlushAfterRead flushes other at the end of the current read event of s, so that
// several answers to one read leave in one write. Only the reading goroutine of s
// may call FlushAfterRead.
func (s *Session) FlushAfterRead(other *Session) {
	for _, t := range s.pendingFlush {
		if t == other {
			return
		}
	}
	s.pendingFlush = append(s.pendingFlush, other)
	if len(s.pendingFlush) >= 64 {
		s.flushPending()
	}
}

// EndRead ends a read event: it calls OnEndRead, and then flushes the sessions of
// FlushAfterRead. Receive calls EndRead itself.
func (s *Session) EndRead() {
	s.m.opts.Callbacks.OnEndRead(s)
	if len(s.pendingFlush) > 0 {
		s.flushPending()
	}
}

func (s *Session) flushPending() {
	for i, t := range s.pendingFlush {
		t.Flush()
		s.pendingFlush[i] = nil
	}
	s.pendingFlush = s.pendingFlush[:0]
}

// checkRate charges a message of size bytes to the session's rate. The error says
// which limit the message exceeds. counted is false for messages that only the
// byte rate limits.
func (s *Session) checkRate(now int64, counted bool, size int) error {
	if s.rate.Bytes == 0 && (!counted || s.rate.Messages == 0) {
		return nil
	}
	if s.limiter == nil {
		s.limiter = new(limiter)
	}
	return s.limiter.take(now, counted, size, s.rate)
}

// rejectForRate refuses a message that exceeds a rate limit.
func (s *Session) rejectForRate(now int64, err error, size int) {
	s.CountBadMessage()
	s.m.stats.RateLimited.Add(1)
	if errors.Is(err, errByteRate) {
		s.m.stats.ByteRateLimited.Add(1)
	}
	notify, disconnect := s.limiter.countRefusal(now, err, size, s.rate)
	if disconnect {
		s.Close(protocol.CloseRateLimited, err.Error())
		return
	}
	if notify && s.SendError(protocol.ErrRateLimited, s.rate.describe(err), "") == nil {
		s.FlushAfterRead(s)
	}
}

// pong measures the round-trip time: the pong repeats the time at which the gateway
// sent the ping. A pong with another payload is unsolicited, and only shows that the
// peer is alive.
func (s *Session) pong(payload []byte) {
	now := s.m.now()
	s.unanswered.Store(0)
	if len(payload) != 8 {
		return
	}
	sent := int64(binary.BigEndian.Uint64(payload))
	if rtt := now - sent; sent > 0 && rtt >= 0 && rtt < int64(time.Hour) {
		s.rtt.Store(max(rtt, 1))
	}
}
