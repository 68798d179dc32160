package acceptance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// The answer to any bad input is a named error, never a panic, and other
// sessions are not disturbed.
func TestBadInputIsNamedAndHarmsNobody(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--max-message", "65536", "--max-message-rate", "200")
	device := gatewaytest.Connect(t, g.Addr, "/ws/device/good-1")
	bystander := gatewaytest.Connect(t, g.Addr, "/ws/frontend/bystander")
	seq := uint64(0)

	refused := []struct {
		name, path, send string
		binary           bool
		code             protocol.ErrorCode
		names            string // what the message must name
		re               string
	}{
		{"not JSON", "/ws/frontend", `hello`, false, protocol.ErrBadMessage, "byte 0", ""},
		{"truncated", "/ws/frontend", `{"type":"a.b","id":"7","dst":"good-1","payload":{"x":`, false, protocol.ErrBadMessage, "byte", "7"},
		{"an array", "/ws/frontend", `[]`, false, protocol.ErrBadMessage, "object", ""},
		{"no type", "/ws/frontend", `{"id":"7","dst":"good-1"}`, false, protocol.ErrBadMessage, `"type"`, "7"},
		{"type is a number", "/ws/frontend", `{"id":"7","type":5,"dst":"good-1"}`, false, protocol.ErrBadMessage, `"type"`, "7"},
		{"id is an object", "/ws/frontend", `{"type":"a.b","id":{},"dst":"good-1"}`, false, protocol.ErrBadMessage, `"id"`, ""},
		{"id too long", "/ws/frontend", `{"type":"a.b","dst":"good-1","id":"` + strings.Repeat("i", 65) + `"}`, false, protocol.ErrBadMessage, `"id"`, ""},
		{"timeout out of range", "/ws/frontend", `{"type":"a.b","id":"7","dst":"good-1","timeout_ms":-1}`, false, protocol.ErrBadMessage, `"timeout_ms"`, "7"},
		{"urgent is a string", "/ws/frontend", `{"type":"a.b","id":"7","dst":"good-1","urgent":"yes"}`, false, protocol.ErrBadMessage, `"urgent"`, "7"},
		{"deeply nested", "/ws/frontend", `{"type":"a.b","id":"7","dst":"good-1","payload":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`, false, protocol.ErrBadMessage, "nested", "7"},
		{"dst missing", "/ws/frontend", `{"type":"a.b","id":"7"}`, false, protocol.ErrBadMessage, `"dst"`, "7"},
		{"dst malformed", "/ws/frontend", `{"type":"a.b","id":"7","dst":"@nobody"}`, false, protocol.ErrBadMessage, `"dst"`, "7"},
		{"dst twice", "/ws/frontend", `{"type":"a.b","id":"7","dst":"good-1","dst":"good-2"}`, false, protocol.ErrBadMessage, `"dst"`, "7"},
		{"src with an escape", "/ws/frontend", `{"type":"a.b","id":"7","dst":"good-1","\u0073rc":"root"}`, false, protocol.ErrBadMessage, `"src"`, "7"},
		{"unknown device", "/ws/frontend", `{"type":"a.b","id":"7","dst":"nobody-1"}`, false, protocol.ErrDeviceOffline, "nobody-1", "7"},
		{"unknown user", "/ws/frontend", `{"type":"a.b","id":"7","dst":"@user/nobody"}`, false, protocol.ErrNotFound, "user", "7"},
		{"unknown session", "/ws/frontend", `{"type":"a.b","id":"7","dst":"@session/00000000-0000-4000-8000-000000000000"}`, false, protocol.ErrNotFound, "session", "7"},
		{"gateway's own type", "/ws/frontend", `{"type":"gateway.welcome","id":"7"}`, false, protocol.ErrNotAllowed, `"type"`, "7"},
		{"telemetry from a front end", "/ws/frontend", string(gatewaytest.Samples(0, 1)), true, protocol.ErrNotAllowed, "telemetry", ""},
		{"short telemetry", "/ws/device/bad-1", "123", true, protocol.ErrBadMessage, "3 bytes", ""},
		{"telemetry of another length", "/ws/device/bad-1", string(gatewaytest.Samples(0, 2)[:36]), true, protocol.ErrBadMessage, "bytes", ""},
		{"telemetry of another version", "/ws/device/bad-1", "\x02" + string(gatewaytest.Samples(0, 1)[1:]), true, protocol.ErrBadMessage, "version", ""},
		{"answer to nothing", "/ws/device/bad-1", `{"type":"a.b","re":"9"}`, false, protocol.ErrNotFound, `"re"`, ""},
		{"device commands device", "/ws/device/bad-1", `{"type":"a.b","id":"7","dst":"good-1"}`, false, protocol.ErrNotAllowed, `"dst"`, "7"},
	}
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			p := gatewaytest.Connect(t, g.Addr, c.path)
			if c.binary {
				p.Send(wsframe.OpBinary, []byte(c.send))
			} else {
				p.Text("%s", c.send)
			}
			m := p.Await(protocol.TypeError)
			e := gatewaytest.Decode[protocol.Error](t, m.Payload)
			if e.Code != c.code || !strings.Contains(e.Message, c.names) || m.Re != c.re {
				t.Errorf("got %s %q re %q, want %s naming %s re %q", e.Code, e.Message, m.Re, c.code, c.names, c.re)
			}
			requireUnharmed(t, device, bystander, &seq)
		})
	}

	closing := []struct {
		name  string
		bytes []byte
		code  uint16
	}{
		{"oversized", wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, make([]byte, 65537)), 1009},
		{"not UTF-8", wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, []byte("{\"type\":\"a.b\",\"x\":\"\xff\"}")), 1007},
		{"not masked", wsframe.AppendFrame(nil, wsframe.OpText, []byte(`{}`)), 1002},
		{"reserved bits", []byte{0xf1, 0x80, 0, 0, 0, 0}, 1002},
		{"reserved opcode", []byte{0x83, 0x80, 0, 0, 0, 0}, 1002},
	}
	for _, c := range closing {
		t.Run(c.name, func(t *testing.T) {
			p := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
			_ = p.Write(c.bytes)
			if code := p.AwaitClose(); code != c.code {
				t.Errorf("closed with %d, want %d", code, c.code)
			}
			requireUnharmed(t, device, bystander, &seq)
		})
	}

	t.Run("duplicate id", func(t *testing.T) {
		p := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
		for range 2 {
			p.Text(`{"type":"a.b","id":"same","dst":"good-1"}`)
		}
		e := gatewaytest.Decode[protocol.Error](t, p.Await(protocol.TypeError).Payload)
		if e.Code != protocol.ErrBadMessage || !strings.Contains(e.Message, `"id"`) {
			t.Errorf("got %+v", e)
		}
		device.Await("a.b")
		requireUnharmed(t, device, bystander, &seq)
	})

	t.Run("flood", func(t *testing.T) {
		p := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
		var flood []byte
		for range 2000 {
			flood = wsframe.AppendMaskedFrame(flood, wsframe.OpText, 7, []byte(`{"type":"a.b","dst":"@user/nobody"}`))
		}
		go func() { _ = p.Write(flood) }()
		var limited bool
		for {
			m, err := p.Next(5 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if m.Text.Type == protocol.TypeError && gatewaytest.Decode[protocol.Error](t, m.Text.Payload).Code == protocol.ErrRateLimited {
				limited = true
			}
			if m.Closed != 0 {
				if m.Closed != uint16(protocol.CloseRateLimited) || !limited {
					t.Errorf("closed with %d, told before: %v", m.Closed, limited)
				}
				break
			}
		}
		requireUnharmed(t, device, bystander, &seq)
	})

	if n := g.Metric("labgate_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
}

// requireUnharmed sends a command to the device and a sample to the bystander.
func requireUnharmed(t *testing.T, device, bystander *gatewaytest.Peer, seq *uint64) {
	t.Helper()
	id := fmt.Sprintf("ok-%d", *seq)
	bystander.Text(`{"type":"check.alive","id":"%s","dst":"good-1"}`, id)
	if m := device.Await("check.alive"); m.ID != id || m.Src != "@user/bystander" {
		t.Fatalf("the device got %+v", m)
	}
	device.SendSamples(*seq, 1)
	device.Text(`{"type":"check.alive","re":"%s"}`, id)
	var answered, sampled bool
	for !answered || !sampled {
		m, err := bystander.Next(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if m.Telemetry != nil {
			if m.Telemetry.Seq != *seq {
				t.Fatalf("sample %d, want %d", m.Telemetry.Seq, *seq)
			}
			sampled = true
		}
		if m.Text.Re == id {
			answered = true
		}
	}
	*seq++
}
