package server

import (
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// echoPath answers each message with itself, with --debug-echo. It makes the
// connection layer visible to programs that know nothing of labgate.v1: the
// handshake, frame reader, outbox and limits are those of every session, but the
// outbox holds more, and without --max-message so may a message. There is no welcome, and the router does not know these sessions.
const echoPath = "/ws/echo"

// defaultMaxEcho is the largest message of conformance suites.
const defaultMaxEcho = 16 << 20

// echoQueue is what may wait for an echo session at least: load programs send
// ahead.
const echoQueue = 4 << 20

// echoPause is how long a blocking echo session rests when its outbox is full.
const echoPause = time.Millisecond

// maxMessage returns the largest message that a session of a role may send.
func (o *Options) maxMessage(role session.Role) int {
	if role == session.RoleEcho {
		return o.maxEcho
	}
	return o.MaxMessage
}

// addEcho puts the echo in front of the router's callbacks.
func addEcho(mo *session.Options) {
	router := *mo
	mo.EchoBytes = max(mo.ControlBytes, echoQueue)
	mo.OnMessage = func(s *session.Session, op wsframe.Opcode, payload []byte) error {
		if s.Role() == session.RoleEcho {
			echo(s, op, payload)
			return nil
		}
		return router.OnMessage(s, op, payload)
	}
	mo.Prepare = func(s *session.Session) any {
		if s.Role() == session.RoleEcho {
			return nil
		}
		return router.Prepare(s)
	}
	mo.OnConnect = func(s *session.Session) {
		if s.Role() != session.RoleEcho {
			router.OnConnect(s)
		}
	}
	mo.OnDisconnect = func(s *session.Session, cause session.Cause) {
		if s.Role() != session.RoleEcho {
			router.OnDisconnect(s, cause)
		}
	}
}

// echo queues a message for its sender. A sender that does not read is held up
// where its session has a reading goroutine of its own. On a poller nothing may
// wait, and such a peer is closed with 4004 like any slow consumer, when the
// kernel, the event loop and the outbox are full.
func echo(s *session.Session, op wsframe.Opcode, payload []byte) {
	size := wsframe.HeaderSize(len(payload)) + len(payload)
	if !s.RoomFor(size) {
		s.Flush()
		for s.Info().Blocking && s.Open() && !s.RoomFor(size) {
			time.Sleep(echoPause)
		}
	}
	f := session.NewFrame(size)
	f.Extend(func(b []byte) []byte { return wsframe.AppendFrame(b, op, payload) })
	if s.Send(f, false) == nil {
		s.Touch(s)
	}
	f.Release()
}
