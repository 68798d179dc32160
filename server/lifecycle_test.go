package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// notice reads the next notice of the given type.
func (p *peer) notice(typ string) protocol.DeviceNotice {
	p.t.Helper()
	var n protocol.DeviceNotice
	if err := json.Unmarshal(p.await(typ).Payload, &n); err != nil {
		p.t.Fatal(err)
	}
	return n
}

func TestTakeover(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		fe := g.upgrade("/ws/frontend")
		old := g.upgrade("/ws/device/d")
		fe.notice(protocol.TypeDeviceOnline)
		for round := range 4 {
			dev := g.upgrade("/ws/device/d")
			if n := fe.notice(protocol.TypeDeviceOffline); n.DeviceID != "d" || n.Reason != "replaced" {
				t.Errorf("notice of the end: %+v", n)
			}
			if n := fe.notice(protocol.TypeDeviceOnline); n.DeviceID != "d" || n.Stream != *old.welcome.Stream {
				t.Errorf("notice of the beginning: %+v", n)
			}
			old.expectClose(protocol.CloseReplaced)
			fe.text(`{"type":"test.start","id":"c%d","dst":"d"}`, round)
			dev.await("test.start")
			dev.text(`{"type":"test.started","re":"c%d"}`, round)
			fe.await("test.started")
			old = dev
		}
		if n := g.manager.Devices(); n != 1 {
			t.Errorf("%d devices", n)
		}
	})
}

func TestDuplicateRefused(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.RefuseDuplicate = true })
		first := g.upgrade("/ws/device/d")
		for range 5 {
			second := newPeer(t, g.dial())
			// A frame right behind the handshake of a session that never is.
			second.write(wsframe.AppendMaskedFrame([]byte(request("/ws/device/d")), wsframe.OpText, 1, []byte(`{"type":"a.b"}`)))
			if head, err := second.readHead(); err != nil || !strings.Contains(head, " 101 ") {
				t.Fatal(head, err)
			}
			code, reason := second.awaitClose()
			if code != protocol.CloseDuplicateDevice || reason != "duplicate_device" {
				t.Errorf("closed with %d %q", code, reason)
			}
			second.expectEnd()
		}
		fe := g.upgrade("/ws/frontend")
		fe.text(`{"type":"test.start","id":"c","dst":"d"}`)
		first.await("test.start")
		if n := g.admission.Counters().RefusedRequests.All()["duplicate_device"]; n != 5 {
			t.Errorf("%d refusals counted", n)
		}
	})
}

// TestCloseByPeer closes with every kind of close frame that a peer may send;
// the gateway answers with the same code (RFC 6455 section 5.5.1).
func TestCloseByPeer(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		fe := g.upgrade("/ws/frontend")
		for _, c := range []struct{ sent, answered uint16 }{{1000, 1000}, {1001, 1001}, {1005, 1000}, {3000, 3000}, {4999, 4999}} {
			dev := g.upgrade("/ws/device/d")
			// What comes behind the close frame is not looked at.
			payload := wsframe.AppendClose(nil, c.sent, "bye")[2:]
			b := wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, []byte(`{"type":"last.word"}`))
			b = wsframe.AppendMaskedFrame(b, wsframe.OpClose, 8, payload)
			dev.write(append(b, "garbage"...))
			if code, _ := dev.awaitClose(); uint16(code) != c.answered {
				t.Errorf("%d is answered with %d, want %d", c.sent, code, c.answered)
			}
			dev.expectEnd()
			fe.await("last.word")
			if n := fe.notice(protocol.TypeDeviceOffline); n.Reason != session.ReasonClosedByPeer {
				t.Errorf("notice %+v", n)
			}
		}
	})
}

// TestCloseByGateway has the gateway begin: what was queued goes first, and the
// connection ends when the peer has answered.
func TestCloseByGateway(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		for i := range 4 {
			dev := g.upgrade(fmt.Sprintf("/ws/device/d%d", i))
			sess := g.manager.ByDevice(fmt.Sprintf("d%d", i))
			for n := range 50 {
				msg := protocol.Message{Type: "queued.message", Payload: json.RawMessage(fmt.Sprint(n))}
				if err := sess.SendMessage(&msg, false); err != nil {
					t.Fatal(err)
				}
			}
			sess.Close(protocol.CloseKicked, "test")
			for n := range 50 {
				if got := dev.await("queued.message"); string(got.Payload) != fmt.Sprint(n) {
					t.Fatalf("message %s came, want %d", got.Payload, n)
				}
			}
			dev.expectClose(protocol.CloseKicked)
		}
	})
}

// TestReset has devices vanish with a reset, in the middle of what they say;
// that is announced without waiting for a heartbeat.
func TestReset(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		fe := g.upgrade("/ws/frontend")
		for range 4 {
			dev := g.upgrade("/ws/device/d")
			fe.text(`{"type":"test.start","id":"c","dst":"d"}`)
			dev.await("test.start")
			dev.write(wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, []byte(`{"type":"half.a.message"}`))[:12])
			dev.vanish()
			if e := fe.await(protocol.TypeError); e.Re != "c" || !strings.Contains(string(e.Payload), string(protocol.ErrDeviceDisconnected)) {
				t.Errorf("answer to the pending command: %+v", e)
			}
			if n := fe.notice(protocol.TypeDeviceOffline); n.Reason != session.ReasonConnectionLost {
				t.Errorf("notice %+v", n)
			}
			if g.manager.ByDevice("d") != nil {
				t.Error("the device is still in the index")
			}
		}
	})
}

// TestPanicEndsOneSession injects a panic into the handling of a message.
func TestPanicEndsOneSession(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, nil)
		g.onMessage(func(next session.Callbacks, s *session.Session, op wsframe.Opcode, payload []byte) error {
			if strings.Contains(string(payload), "panic.please") {
				panic("injected")
			}
			return next.OnMessage(s, op, payload)
		})
		g.start()
		fe := g.upgrade("/ws/frontend")
		other := g.upgrade("/ws/device/other")
		for i := range 3 {
			dev := g.upgrade("/ws/device/d")
			b := wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, []byte(`{"type":"panic.please"}`))
			b = wsframe.AppendMaskedFrame(b, wsframe.OpText, 7, []byte(`{"type":"not.handled"}`))
			dev.write(b)
			dev.write([]byte("what follows is not even a frame"))
			dev.expectClose(protocol.CloseInternal)
			if n := fe.notice(protocol.TypeDeviceOffline); n.DeviceID != "d" || n.Reason != "internal_error" {
				t.Errorf("notice %+v", n)
			}
			other.text(`{"type":"other.says"}`)
			fe.await("other.says")
			if n := g.panics.Count(); n != uint64(i+1) {
				t.Errorf("%d panics counted", n)
			}
		}
	})
}
