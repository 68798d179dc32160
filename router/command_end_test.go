package router

import (
	"encoding/json"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

func TestSilentDeviceTimesOut(t *testing.T) {
	for _, test := range []struct {
		name, field string
		want        time.Duration
	}{
		{"default", "", 10 * time.Second},
		{"shortest", `,"timeout_ms":1`, time.Millisecond},
		{"own", `,"timeout_ms":2500`, 2500 * time.Millisecond},
		{"longest", `,"timeout_ms":600000`, 10 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				d, a, b := g.device("d1"), g.frontend("alice"), g.frontend("bob")
				g.quiet()
				a.send(`{"type":"c","id":"1","dst":"d1"` + test.field + `}`)
				d.one()
				// The deadline is on the gateway's wheel, which ticks every
				// 10 ms and never fires early.
				time.Sleep(test.want - time.Microsecond)
				a.none()
				time.Sleep(15 * time.Millisecond)
				a.oneError(protocol.ErrTimeout, "1")
				if d.pendingCommands() != 0 || a.waitingFor() != 0 {
					t.Error("still pending")
				}
				// A late answer reaches no front end.
				d.send(`{"type":"done","re":"1","id":"r1"}`)
				d.oneError(protocol.ErrNotFound, "r1")
				a.none()
				b.none()
				if g.counted(protocol.ErrTimeout) != 1 {
					t.Error("the timeout was not counted once")
				}
			})
		})
	}
}

func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, d2 := g.device("d1"), g.device("d2")
		a, _ := g.frontend("alice"), g.frontend("bob")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		d.one()
		// Another device cannot answer the command.
		d2.send(`{"type":"done","re":"1"}`)
		d2.oneError(protocol.ErrNotFound, "")
		a.none()
		// Of two answers in one read only the first counts.
		d.send(`{"type":"done","re":"1","payload":1}`, `{"type":"done","re":"1","payload":2}`)
		d.oneError(protocol.ErrNotFound, "")
		g.only(`{"src":"d1","type":"done","re":"1","payload":1}`, a)
		// An answer to an unknown command reaches no front end.
		d.send(`{"type":"done","re":"never"}`)
		d.oneError(protocol.ErrNotFound, "")
		g.only("")
		// A late answer is no bad message.
		if h := d.sess.Health(); h.BadMessages != 0 {
			t.Errorf("%d bad messages", h.BadMessages)
		}
	})
}

func TestAbsentDeviceFailsCommandsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.quiet()
		begin := time.Now()
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		a.oneError(protocol.ErrDeviceOffline, "1")
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("told after %v", waited)
		}
		// A device that connects later gets none of these commands.
		d := g.device("d1")
		d.none()
		a.notice(protocol.TypeDeviceOnline, "connected")
		time.Sleep(time.Minute)
		d.none()
		a.none()
	})
}

func TestDisconnectFailsPendingCommandsAtOnce(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(d *peer)
		reason string
	}{
		{"connection lost", func(d *peer) { d.hangUp() }, session.ReasonConnectionLost},
		{"closed by peer", func(d *peer) {
			d.event(func() { _ = d.sess.HandleControl(wsframe.OpClose, []byte{0x03, 0xE8}) })
		}, session.ReasonClosedByPeer},
		{"kicked", func(d *peer) { d.sess.Close(protocol.CloseKicked, "") }, "kicked"},
		{"failed", func(d *peer) { d.sess.Fail(protocol.CloseProtocolError, "") }, "protocol_error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				d, a, b := g.device("d1"), g.frontend("alice"), g.frontend("bob")
				g.quiet()
				a.send(`{"type":"c","id":"1","dst":"d1"}`, `{"type":"c","id":"2","dst":"d1"}`)
				b.send(`{"type":"c","id":"1","dst":"d1"}`)
				g.quiet()
				begin := time.Now()
				test.end(d)
				synctest.Wait()
				if waited := time.Since(begin); waited != 0 {
					t.Errorf("told after %v", waited)
				}
				ends := endsOf(t, a)
				if len(ends) != 2 || ends["1"] != protocol.ErrDeviceDisconnected || ends["2"] != protocol.ErrDeviceDisconnected {
					t.Errorf("alice was told %v", ends)
				}
				if ends := endsOf(t, b); len(ends) != 1 || ends["1"] != protocol.ErrDeviceDisconnected {
					t.Errorf("bob was told %v", ends)
				}
				if a.waitingFor() != 0 || b.waitingFor() != 0 {
					t.Error("still pending")
				}
				// At most once: the device does not get the command again when
				// it reconnects.
				again := g.device("d1")
				again.none()
				g.quiet()
				time.Sleep(time.Minute)
				g.only("")
				again.send(`{"type":"done","re":"1"}`)
				again.oneError(protocol.ErrNotFound, "")
				g.only("")
			})
		})
	}
}

// TestTakeoverEndsTheOldConnectionsCommands: the new connection does not get
// the commands of the old one, and a late answer of the old one is refused.
func TestTakeoverEndsTheOldConnectionsCommands(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		old, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		old.one()
		fresh := g.device("d1")
		synctest.Wait()
		if ends := endsOf(t, a); ends["1"] != protocol.ErrDeviceDisconnected {
			t.Fatalf("told %v", ends)
		}
		fresh.none()
		old.send(`{"type":"done","re":"1"}`)
		a.none()
		// The id is free again, and only the new connection can answer.
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		fresh.one()
		old.send(`{"type":"done","re":"1","payload":"old"}`)
		a.none()
		fresh.send(`{"type":"done","re":"1","payload":"new"}`)
		g.only(`{"src":"d1","type":"done","re":"1","payload":"new"}`, a)
	})
}

// TestAnswerForAnAskerThatLeft: the answer reaches no front end.
func TestAnswerForAnAskerThatLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`, `{"type":"c","id":"2","dst":"d1","timeout_ms":100}`)
		a.hangUp()
		g.quiet()
		// A new session of the same user does not get the answer either.
		again := g.frontend("alice")
		g.quiet()
		if d.pendingCommands() != 0 || a.waitingFor() != 0 {
			t.Errorf("pending %d, %d", d.pendingCommands(), a.waitingFor())
		}
		d.send(`{"type":"done","re":"1"}`)
		d.oneError(protocol.ErrNotFound, "")
		time.Sleep(200 * time.Millisecond)
		g.only("")
		again.send(`{"type":"c","id":"1","dst":"d1"}`)
		g.only(`{"src":"@user/alice","type":"c","id":"1","dst":"d1"}`, d)
	})
}

// TestACommandForAConnectionThatHasEnded: the device may disconnect after the
// look-up and before the command enters its table. Without a check, no event
// would end the command.
func TestACommandForAConnectionThatHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		d.hangUp()
		e := protocol.Envelope{ID: []byte("1")}
		c := g.r.newCommand(a.sess.Attachment().(*frontend), &e, []byte("d1"), d.sess)
		err := g.r.beginCommand(c, &e, d.sess, 0)
		if err == nil || err.Code != protocol.ErrDeviceOffline {
			t.Errorf("entered: %v", err)
		}
		if d.pendingCommands() != 0 {
			t.Error("pending")
		}
	})
}

// TestAnAnsweredCommandIsForgotten: the wheel does not keep an answered
// command until its deadline.
func TestAnAnsweredCommandIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		d.one()
		kept := weak.Make(d.sess.Attachment().(*deviceConn).pending.byID["1"])
		d.send(`{"type":"done","re":"1"}`)
		a.one()
		runtime.GC()
		if kept.Value() != nil {
			t.Error("still in memory")
		}
	})
}

// endsOf returns the errors among messages by the id that they answer, and
// checks that no id occurs twice.
func endsOf(t *testing.T, p *peer) map[string]protocol.ErrorCode {
	t.Helper()
	ends := map[string]protocol.ErrorCode{}
	for _, m := range p.take() {
		if m.Type != protocol.TypeError {
			continue
		}
		var e protocol.Error
		if err := json.Unmarshal(m.Payload, &e); err != nil {
			t.Fatal(err)
		}
		if _, twice := ends[m.Re]; twice {
			t.Errorf("two errors in answer to %q", m.Re)
		}
		ends[m.Re] = e.Code
	}
	return ends
}
