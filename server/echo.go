package server

import (
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// echoPath answers each message with itself, with --debug-echo. It makes the
// connection layer visible to programs that know nothing of labgate.v1: the
// handshake, frame reader, outbox and limits are those of every session, but the
// outbox holds more, and without --max-message so may a message. There is no welcome, and the router does not know these sessions.
const echoPath = "/ws/echo"

// defaultMaxEcho is the largest message of conformance suites.
const defaultMaxEcho = 16 << 20

// echoAhead is how much may wait for an echo session before its peer is held up.
const echoAhead = 4 << 20

// echoPause is how long a session that is held up rests before another look.
const echoPause = 100 * time.Microsecond

// maxMessage returns the largest message that a session of a role may send.
func (o *Options) maxMessage(role session.Role) int {
	if role == session.RoleEcho {
		return o.maxEcho
	}
	return o.MaxMessage
}

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

// echo queues a message for its sender. A sender that does not read is held up:
// here, where its session has a reading goroutine of its own, and on a poller,
// where nothing may wait, by reading no more (holdUp).
func echo(s *session.Session, op wsframe.Opcode, payload []byte) {
	if s.Info().Blocking && aheadOf(s) {
		s.Flush()
		for s.Open() && aheadOf(s) {
			time.Sleep(echoPause)
		}
	}
	f := session.NewFrame(wsframe.HeaderSize(len(payload)) + len(payload))
	f.Extend(func(b []byte) []byte { return wsframe.AppendFrame(b, op, payload) })
	if s.Send(f, false) == nil {
		s.Touch(s)
	}
	f.Release()
}

// aheadOf reports whether the peer has sent too far ahead of what it reads.
func aheadOf(s *session.Session) bool {
	// Each frame costs about that much beside its bytes.
	const perFrame = 256
	bytes, frames := s.Queued()
	return bytes+perFrame*frames > echoAhead
}

// holdUp reports whether the poller is to leave an echo session unread because
// too much waits for it. The connection stays ready and comes up again, and the
// poller must not spin: it rests in between. One that takes nothing for the
// time of a write is closed.
func (c *pollerConn) holdUp(t *turn) bool {
	s, ok := c.ws.Session().(*session.Session)
	if !ok || !s.Open() || !aheadOf(s) || endedByPeer(c.nbc) {
		c.heldSince = time.Time{}
		return false
	}
	now := time.Now()
	left, _ := s.Queued()
	left += c.Buffered()
	if c.heldSince.IsZero() || left < c.heldBytes {
		c.heldSince, c.heldBytes = now, left
	}
	if now.Sub(c.heldSince) > c.server.opts.WriteTimeout {
		s.Fail(protocol.CloseSlowConsumer, "it does not read what it is echoed")
		return false
	}
	if now.Sub(t.rested) >= echoPause {
		time.Sleep(echoPause)
		t.rested = time.Now()
	}
	return true
}
