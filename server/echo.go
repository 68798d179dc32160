package server

import (
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// The role echo answers each message with itself at /ws/echo, with --debug-echo.
// It makes the connection layer visible to programs that know nothing of
// labgate.v1: the handshake, frame reader, outbox and limits are those of every
// session, but the outbox holds more, and without --max-message so may a
// message. There is no welcome, and the router does not know these sessions.

// defaultMaxEcho is the largest message of conformance suites.
const defaultMaxEcho = 16 << 20

// echoAhead is how much may wait for an echo session before its peer is held back.
const echoAhead = 4 << 20

// echoPause is how long a session that is held back rests before another look.
const echoPause = 100 * time.Microsecond

// echoBytes is how much an echo session may have queued: what one read may add
// to echoAhead, or one message.
func (o *Options) echoBytes() int { return echoAhead + 2*o.maxEcho }

// echoCallbacks answer echo sessions; the callbacks behind them hear of all
// other sessions only.
type echoCallbacks struct{ session.Callbacks }

// Prepare implements session.Callbacks.
func (c echoCallbacks) Prepare(s *session.Session) any {
	if s.Role() == session.RoleEcho {
		return nil
	}
	return c.Callbacks.Prepare(s)
}

// OnConnect implements session.Callbacks.
func (c echoCallbacks) OnConnect(s *session.Session) {
	if s.Role() != session.RoleEcho {
		c.Callbacks.OnConnect(s)
	}
}

// OnMessage implements session.Callbacks.
func (c echoCallbacks) OnMessage(s *session.Session, op wsframe.Opcode, payload []byte) error {
	if s.Role() == session.RoleEcho {
		echo(s, op, payload)
		return nil
	}
	return c.Callbacks.OnMessage(s, op, payload)
}

// OnDisconnect implements session.Callbacks.
func (c echoCallbacks) OnDisconnect(s *session.Session, cause session.Cause) {
	if s.Role() != session.RoleEcho {
		c.Callbacks.OnDisconnect(s, cause)
	}
}

// echo queues a message for its sender. A sender that does not read is held back:
// here, where its session has a reading goroutine of its own, and on a poller,
// where nothing may wait, by reading no more (eventloop.Upgrade.HoldBack).
func echo(s *session.Session, op wsframe.Opcode, payload []byte) {
	if s.Info().Blocking && tooFarAhead(s) {
		s.Flush()
		for s.Open() && tooFarAhead(s) {
			time.Sleep(echoPause)
		}
	}
	f := session.NewFrame(wsframe.HeaderSize(len(payload)) + len(payload))
	f.Extend(func(b []byte) []byte { return wsframe.AppendFrame(b, op, payload) })
	if s.Send(f, false) == nil {
		s.FlushAfterRead(s)
	}
	f.Release()
}

// tooFarAhead reports whether the peer has sent too far ahead of what it reads.
func tooFarAhead(s *session.Session) bool {
	// Each frame costs about that much beside its bytes.
	const perFrame = 256
	bytes, frames := s.Queued()
	return bytes+perFrame*frames > echoAhead
}
