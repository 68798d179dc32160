package router

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

func TestUnicastReachesOnlyTheNamedReceiver(t *testing.T) {
	inBubble(t, func(_ *testing.T, g *gateway) {
		d1, d2 := g.device("d1"), g.device("d2")
		alice1, alice2, bob, anon := g.frontend("alice"), g.frontend("alice"), g.frontend("bob"), g.frontend("")
		g.quiet()

		bob.send(`{"type":"a","dst":"d1","payload":1}`)
		g.only(`{"src":"@user/bob","type":"a","dst":"d1","payload":1}`, d1)

		d2.send(`{"type":"a","dst":"@user/alice"}`)
		g.only(`{"src":"d2","type":"a","dst":"@user/alice"}`, alice1, alice2)

		anon.send(`{"type":"a","dst":"@user/bob"}`)
		g.only(`{"src":"@session/`+anon.sess.ID().String()+`","type":"a","dst":"@user/bob"}`, bob)

		// A message to a user reaches all sessions of the user, the sender's
		// too.
		alice1.send(`{"type":"a","dst":"@user/alice"}`)
		g.only(`{"src":"@user/alice","type":"a","dst":"@user/alice"}`, alice1, alice2)

		to := "@session/" + alice2.sess.ID().String()
		d1.send(`{"type":"a","dst":"` + to + `"}`)
		g.only(`{"src":"d1","type":"a","dst":"`+to+`"}`, alice2)
		bob.send(`{"type":"a","dst":"` + to + `"}`)
		g.only(`{"src":"@user/bob","type":"a","dst":"`+to+`"}`, alice2)
	})
}

func TestBroadcastReachesAllFrontendsButTheSender(t *testing.T) {
	inBubble(t, func(_ *testing.T, g *gateway) {
		d, _ := g.device("d1"), g.device("d2")
		a, b := g.frontend("alice"), g.frontend("bob")
		none := g.connect(session.Info{Role: session.RoleFrontend, Telemetry: protocol.TelemetryNone})
		g.quiet()

		a.send(`{"type":"a","dst":"@frontends"}`)
		g.only(`{"src":"@user/alice","type":"a","dst":"@frontends"}`, b, none)

		d.send(`{"type":"a","dst":"@frontends"}`)
		g.only(`{"src":"d1","type":"a","dst":"@frontends"}`, a, b, none)

		// A device's message without dst is for all front ends.
		d.send(`{"type":"a","payload":{"x":1}}`)
		g.only(`{"src":"d1","type":"a","payload":{"x":1}}`, a, b, none)

		// Also a message with an id: a device's message is never a command.
		d.send(`{"type":"a","id":"q1"}`)
		g.only(`{"src":"d1","type":"a","id":"q1"}`, a, b, none)

		b.hangUp()
		g.quiet()
		d.send(`{"type":"a"}`)
		g.only(`{"src":"d1","type":"a"}`, a, none)
	})
}

// TestAFrontendCannotPoseAsADevice: its src has the form of a front end,
// whatever its name, and a message with re is refused.
func TestAFrontendCannotPoseAsADevice(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a, b := g.device("press-1"), g.frontend("alice"), g.frontend("press-1")
		g.quiet()
		b.send(`{"type":"test.state_changed","src":"press-1","payload":{"state":"stopped"},"dst":"@frontends"}`)
		g.only(`{"src":"@user/press-1","type":"test.state_changed","payload":{"state":"stopped"},"dst":"@frontends"}`, a)

		a.send(`{"type":"test.stop","id":"1","dst":"press-1"}`)
		d.one()
		for _, dst := range []string{"@user/alice", "@session/" + a.sess.ID().String(), "@frontends", "press-1"} {
			b.send(`{"type":"test.stop.result","re":"1","id":"x","dst":"` + dst + `"}`)
			e := b.oneError(protocol.ErrNotAllowed, "x")
			if !strings.Contains(e.Message, `"re"`) {
				t.Error(e.Message)
			}
		}
		a.none()
		d.send(`{"type":"test.stop.result","re":"1"}`)
		g.only(`{"src":"press-1","type":"test.stop.result","re":"1"}`, a)
	})
}

func TestUnreachableReceiversAreNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		gone := g.frontend("carol")
		gone.hangUp()
		g.quiet()
		for _, test := range []struct {
			name string
			from *peer
			dst  string
			code protocol.ErrorCode
		}{
			{"absent device", a, "d9", protocol.ErrDeviceOffline},
			{"absent user", a, "@user/nobody", protocol.ErrNotFound},
			{"absent user, from a device", d, "@user/nobody", protocol.ErrNotFound},
			{"user that has left", a, "@user/carol", protocol.ErrNotFound},
			{"device id as a user", a, "@user/d1", protocol.ErrNotFound},
			{"user as a device id", a, "alice", protocol.ErrDeviceOffline},
			{"unknown session", a, "@session/" + uuid.NewString(), protocol.ErrNotFound},
			{"session that has ended", a, "@session/" + gone.sess.ID().String(), protocol.ErrNotFound},
			{"session of a device", a, "@session/" + d.sess.ID().String(), protocol.ErrNotFound},
			{"device to device", d, "d1", protocol.ErrNotAllowed},
			{"device to absent device", d, "d9", protocol.ErrNotAllowed},
			{"no dst", a, "", protocol.ErrBadMessage},
		} {
			dst := `,"dst":"` + test.dst + `"`
			if test.dst == "" {
				dst = ""
			}
			before := g.counted(test.code)
			test.from.send(`{"type":"a"` + dst + `}`)
			test.from.oneError(test.code, "")
			test.from.send(`{"type":"a","id":"i1"` + dst + `}`)
			test.from.oneError(test.code, "i1")
			if n := g.counted(test.code) - before; n != 2 {
				t.Errorf("%s: counted %d times, want 2", test.name, n)
			}
			for _, p := range g.peers {
				p.none()
			}
		}
	})
}

func TestAFullQueueIsOverloadNotOffline(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a, b := g.device("d1"), g.frontend("alice"), g.frontend("bob")
		g.quiet()
		d.stall(true)
		big := `{"type":"a","dst":"d1","payload":"` + strings.Repeat("0", 3000) + `"}`
		b.send(big)
		b.none()
		a.send(`{"type":"a","id":"i1","dst":"d1","payload":"` + strings.Repeat("0", 3000) + `"}`)
		got := a.one()
		a.asError(got, protocol.ErrOverloaded, "i1")
		// The error comes once: the end of the device causes no second one.
		time.Sleep(20 * time.Millisecond)
		a.notice(protocol.TypeDeviceOffline, "slow_consumer")
		b.notice(protocol.TypeDeviceOffline, "slow_consumer")
		d.stall(false)
		if code := d.closeCode(); code != protocol.CloseSlowConsumer {
			t.Fatalf("closed with %v", code)
		}
	}, func(_ *Options, so *session.Options) { so.ControlBytes = 4096 })
}

// TestAFloodIsRefusedWhereItWaits: what a sender puts into the queues of others is
// charged to the sender, and closes nobody else.
func TestAFloodIsRefusedWhereItWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, flooder, operator := g.device("d1"), g.frontend("eve"), g.frontend("alice")
		g.quiet()
		big := func(dst string) string {
			return `{"type":"a","dst":"` + dst + `","payload":"` + strings.Repeat("0", 1500) + `"}`
		}
		for name, c := range map[string]struct {
			receiver *peer
			dst      string
		}{"broadcast": {operator, "@frontends"}, "user": {operator, "@user/alice"}, "session": {operator, "@session/" + operator.sess.ID().String()}, "device": {d, "d1"}} {
			c.receiver.stall(true)
			refused := 0
			for range 10 {
				flooder.send(big(c.dst))
			}
			for _, m := range flooder.take() {
				if flooder.asError(m, protocol.ErrOverloaded, ""); m.Type == protocol.TypeError {
					refused++
				}
			}
			if refused == 0 || !c.receiver.sess.Open() {
				t.Errorf("%s: %d of 10 refused, the receiver is open: %v", name, refused, c.receiver.sess.Open())
			}
			c.receiver.stall(false)
			synctest.Wait()
			c.receiver.take()
			// Others get through.
			d.send(`{"type":"state","payload":1}`)
			operator.one()
			flooder.take()
		}
	}, func(_ *Options, so *session.Options) { so.ControlBytes = 4096 })
}
