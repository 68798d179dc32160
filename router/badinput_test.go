package router

import (
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestBadTextIsNamed sends unacceptable messages. The gateway answers each
// with an error that names the fault, with the message's id if the id stood
// before the fault. No message reaches another peer.
func TestBadTextIsNamed(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, test := range []struct {
		name, text string
		code       protocol.ErrorCode
		re, says   string
	}{
		{"empty", ``, "bad_message", "", "message at byte 0"},
		{"spaces", "  ", "bad_message", "", "message at byte 2"},
		{"not JSON", `hello`, "bad_message", "", "start it with {"},
		{"array", `[{"type":"a"}]`, "bad_message", "", "start it with {"},
		{"string", `"type"`, "bad_message", "", "start it with {"},
		{"null", `null`, "bad_message", "", "start it with {"},
		{"cut", `{"type":"a","id":"7","dst":"d1"`, "bad_message", "7", "message at byte 31"},
		{"two objects", `{"type":"a","id":"7"}{}`, "bad_message", "7", "something follows"},
		{"trailing comma", `{"type":"a","id":"7",}`, "bad_message", "7", "message at byte 21"},
		{"single quotes", `{'type':'a'}`, "bad_message", "", "message at byte 1"},
		{"nested too deep", `{"id":"7","type":"a","dst":"d1","payload":` + deep(64) + `}`, "bad_message", "7", "64 levels"},
		{"unknown field nested too deep", `{"id":"7","type":"a","dst":"d1","x":` + deep(1000) + `}`, "bad_message", "7", "64 levels"},
		{"bad escape in payload", `{"id":"7","type":"a","dst":"d1","payload":"\x"}`, "bad_message", "7", "escape"},
		{"NUL", "{\"id\":\"7\",\"type\":\"a\",\"payload\":\"\x00\"}", "bad_message", "7", "control character"},

		{"no type", `{"id":"7","dst":"d1"}`, "bad_message", "7", `field "type": missing`},
		{"empty object", `{}`, "bad_message", "", `field "type": missing`},
		{"type a number", `{"id":"7","type":1}`, "bad_message", "7", `field "type"`},
		{"type null", `{"id":"7","type":null}`, "bad_message", "7", `field "type"`},
		{"type in upper case", `{"id":"7","type":"Test.Start","dst":"d1"}`, "bad_message", "7", `field "type"`},
		{"type twice", `{"id":"7","type":"a","type":"b"}`, "bad_message", "7", `field "type"`},
		{"id a number", `{"type":"a","id":7,"dst":"d1"}`, "bad_message", "", `field "id"`},
		{"id empty", `{"type":"a","id":"","dst":"d1"}`, "bad_message", "", `field "id"`},
		{"id too long", `{"type":"a","id":"` + strings.Repeat("x", 65) + `","dst":"d1"}`, "bad_message", "", `field "id": 65 bytes`},
		{"id with an escape", `{"type":"a","id":"a\"b","dst":"d1"}`, "bad_message", "", `field "id"`},
		{"id twice", `{"type":"a","id":"7","id":"8","dst":"d1"}`, "bad_message", "7", `field "id"`},
		{"ID", `{"type":"a","id":"7","ID":"8","dst":"d1"}`, "bad_message", "7", `field "id"`},
		{"re an array", `{"id":"7","type":"a","re":["1"],"dst":"d1"}`, "bad_message", "7", `field "re"`},
		{"re empty", `{"id":"7","type":"a","re":"","dst":"d1"}`, "bad_message", "7", `field "re"`},
		{"dst a number", `{"id":"7","type":"a","dst":1}`, "bad_message", "7", `field "dst"`},
		{"dst a list", `{"id":"7","type":"a","dst":["d1"]}`, "bad_message", "7", `field "dst"`},
		{"ts a string", `{"id":"7","type":"a","ts":"now","dst":"d1"}`, "bad_message", "7", `field "ts"`},
		{"ts a fraction", `{"id":"7","type":"a","ts":1.5,"dst":"d1"}`, "bad_message", "7", `field "ts"`},
		{"ts too large", `{"id":"7","type":"a","ts":99999999999999999999,"dst":"d1"}`, "bad_message", "7", `field "ts"`},
		{"urgent a string", `{"id":"7","type":"a","urgent":"yes","dst":"d1"}`, "bad_message", "7", `field "urgent"`},
		{"timeout_ms zero", `{"id":"7","type":"a","timeout_ms":0,"dst":"d1"}`, "bad_message", "7", `field "timeout_ms"`},
		{"timeout_ms negative", `{"id":"7","type":"a","timeout_ms":-1,"dst":"d1"}`, "bad_message", "7", `field "timeout_ms"`},
		{"timeout_ms too long", `{"id":"7","type":"a","timeout_ms":600001,"dst":"d1"}`, "bad_message", "7", `field "timeout_ms"`},
		{"timeout_ms a string", `{"id":"7","type":"a","timeout_ms":"10","dst":"d1"}`, "bad_message", "7", `field "timeout_ms"`},

		{"dst with a space", `{"id":"7","type":"a","dst":"d 1"}`, "bad_message", "7", `field "dst"`},
		{"dst a path", `{"id":"7","type":"a","dst":"../d1"}`, "bad_message", "7", `field "dst"`},
		{"dst unknown kind", `{"id":"7","type":"a","dst":"@everyone"}`, "bad_message", "7", `field "dst"`},
		{"dst user without name", `{"id":"7","type":"a","dst":"@user/"}`, "bad_message", "7", `field "dst"`},
		{"dst user with a bad name", `{"id":"7","type":"a","dst":"@user/é"}`, "bad_message", "7", `field "dst"`},
		{"dst session not a UUID", `{"id":"7","type":"a","dst":"@session/7"}`, "bad_message", "7", `field "dst"`},
		{"dst session in upper case", `{"id":"7","type":"a","dst":"@session/0A7E8F52-5B3C-4A94-9D42-8C1A7A6B3F10"}`, "bad_message", "7", `field "dst"`},
		{"dst frontends with more", `{"id":"7","type":"a","dst":"@frontends/x"}`, "bad_message", "7", `field "dst"`},
		{"dst too long", `{"id":"7","type":"a","dst":"` + strings.Repeat("d", 129) + `"}`, "bad_message", "7", `field "dst"`},

		{"gateway type", `{"id":"7","type":"gateway.device_offline","dst":"@frontends"}`, "not_allowed", "7", `field "type"`},
		{"unknown gateway type", `{"id":"7","type":"gateway.reboot"}`, "not_allowed", "7", `field "type"`},
		{"gateway type to a device", `{"id":"7","type":"gateway.error","dst":"d1","re":"x"}`, "not_allowed", "7", `field "type"`},
		{"the gateway's answer", `{"id":"7","type":"gateway.subscribed"}`, "not_allowed", "7", `field "type"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				d, a, _ := g.device("d2"), g.frontend("alice"), g.frontend("bob")
				g.device("d1")
				g.quiet()
				for _, from := range []*peer{a, d} {
					from.send(test.text)
					e := from.oneError(test.code, test.re)
					if !strings.Contains(e.Message, test.says) {
						t.Errorf("the error does not say %q: %s", test.says, e.Message)
					}
					if len(e.Message) > 300 {
						t.Errorf("an error of %d bytes", len(e.Message))
					}
					g.only("")
				}
				if n := g.counted(test.code); n != 2 {
					t.Errorf("counted %d times", n)
				}
			})
		})
	}
}

// TestTypesThatOnlyLookLikeTheGateways: the router routes such types as it
// does all others.
func TestTypesThatOnlyLookLikeTheGateways(t *testing.T) {
	inBubble(t, func(_ *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		for _, typ := range []string{"gateway", "gateways.x", "gateway_x.y", "my.gateway.welcome"} {
			a.send(`{"type":"` + typ + `","dst":"d1"}`)
			g.only(`{"src":"@user/alice","type":"`+typ+`","dst":"d1"}`, d)
		}
	})
}

func TestTooManyBadMessagesEndTheSession(t *testing.T) {
	const limit = 5
	for name, bad := range map[string]func(p *peer){
		"bad_message": func(p *peer) { p.send(`{"type":1}`) },
		"not_allowed": func(p *peer) { p.send(`{"type":"gateway.x"}`) },
		"telemetry":   func(p *peer) { p.sendBinary([]byte("nonsense")) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				d, a := g.device("d1"), g.frontend("alice")
				for _, p := range []*peer{d, a} {
					g.quiet()
					for range limit {
						bad(p)
						if got := p.one(); got.Type != protocol.TypeError {
							t.Fatalf("got %v", got)
						}
					}
					if code := p.closeCode(); code != 0 {
						t.Fatalf("closed too early with %v", code)
					}
					bad(p)
					p.none()
					if code := p.closeCode(); code != protocol.CloseBadMessage || p.reason != "bad_message" {
						t.Errorf("closed with %v %q", code, p.reason)
					}
					// Later messages of the session are ignored.
					p.send(`{"type":"a","dst":"@user/alice"}`)
				}
				if g.m.Len() != 0 {
					t.Errorf("%d sessions are left", g.m.Len())
				}
			}, func(o *Options, _ *session.Options) { o.MaxBadMessages = limit })
		})
	}
}

// TestFailuresAreNotFaults: a failure at the receiver does not count as a bad
// message of the sender.
func TestFailuresAreNotFaults(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.quiet()
		for range 500 {
			a.send(`{"type":"a","dst":"d1"}`, `{"type":"a","dst":"@user/bob"}`)
		}
		if got := len(a.take()); got != 1000 {
			t.Errorf("%d errors", got)
		}
		if code := a.closeCode(); code != 0 {
			t.Errorf("closed with %v", code)
		}
	})
}
