package router

import (
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

// TestSourceIsTheGatewaysAlone: the gateway replaces a sender's src, wherever
// it stands, and leaves all other bytes as they are.
func TestSourceIsTheGatewaysAlone(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5000)
	for _, test := range []struct{ name, sent, want string }{
		{"none", `{"type":"a","dst":"d1"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"spoofed", `{"type":"a","src":"bob","dst":"d1"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"first", `{"src":"d2","type":"a","dst":"d1"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"last", `{"type":"a","dst":"d1","src":"d2"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"not a string", `{"type":"a","src":{"deep":["x",1]},"dst":"d1"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"null", `{"type":"a","src":null,"dst":"d1"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"empty", `{"type":"a","dst":"d1","src":""}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"with escapes", `{"type":"a","dst":"d1","src":"\u0062ob\"}"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"its own", `{"type":"a","src":"alice","dst":"d1"}`, `{"src":"@user/alice","type":"a","dst":"d1"}`},
		{"in the payload only", `{"type":"a","dst":"d1","payload":{"src":"bob"}}`, `{"src":"@user/alice","type":"a","dst":"d1","payload":{"src":"bob"}}`},
		{"spaces around", "{ \"type\" : \"a\" ,\n\"src\" : \"bob\" , \"dst\":\"d1\" }", "{\"src\":\"@user/alice\", \"type\" : \"a\"  , \"dst\":\"d1\" }"},
		{"payload of many shapes", `{"type":"a","dst":"d1","payload":{"n":1.0,"e":1E400,"z":-0,"u":"\u00e9\/é","o":{"a":[ ]},"a":1,"a":2}}`,
			`{"src":"@user/alice","type":"a","dst":"d1","payload":{"n":1.0,"e":1E400,"z":-0,"u":"\u00e9\/é","o":{"a":[ ]},"a":1,"a":2}}`},
		{"null for absent", `{"type":"a","id":null,"urgent":null,"ts":null,"dst":"d1"}`, `{"src":"@user/alice","type":"a","id":null,"urgent":null,"ts":null,"dst":"d1"}`},
		{"unknown fields", `{"x":1,"type":"a","trace":{"a":[1,2,{}]},"dst":"d1","x":null,"":"\u0000"}`,
			`{"src":"@user/alice","x":1,"type":"a","trace":{"a":[1,2,{}]},"dst":"d1","x":null,"":"\u0000"}`},
		{"all known fields", `{"type":"a","ts":1763720000123456,"timeout_ms":20,"urgent":false,"dst":"d1"}`,
			`{"src":"@user/alice","type":"a","ts":1763720000123456,"timeout_ms":20,"urgent":false,"dst":"d1"}`},
		{"frame of 16 bit length", `{"type":"a","dst":"d1","payload":"` + long[:1000] + `"}`, `{"src":"@user/alice","type":"a","dst":"d1","payload":"` + long[:1000] + `"}`},
		{"frame of 64 bit length", `{"type":"a","dst":"d1","payload":"` + long + `"}`, `{"src":"@user/alice","type":"a","dst":"d1","payload":"` + long + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(_ *testing.T, g *gateway) {
				d, a, b := g.device("d1"), g.frontend("alice"), g.frontend("bob")
				g.quiet()
				a.send(test.sent)
				g.only(test.want, d)

				// The same from a device to a front end.
				sent := strings.Replace(test.sent, `"dst":"d1"`, `"dst":"@user/bob"`, 1)
				want := strings.Replace(test.want, `"dst":"d1"`, `"dst":"@user/bob"`, 1)
				d.send(sent)
				g.only(strings.Replace(want, "@user/alice", "d1", 1), b)
			})
		})
	}
}

// TestOtherSpellingsOfSourceAreRefused: a lenient JSON parser could take these
// spellings for src.
func TestOtherSpellingsOfSourceAreRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		for _, field := range []string{`"SRC"`, `"Src"`, `"s\u0072c"`, `"src\u0000"`, `"ſrc"`} {
			a.send(`{"type":"a","id":"i1","dst":"d1",` + field + `:"bob"}`)
			e := a.oneError(protocol.ErrBadMessage, "i1")
			if !strings.Contains(e.Message, `"src"`) {
				t.Errorf("%s: %s", field, e.Message)
			}
		}
		a.send(`{"type":"a","id":"i1","dst":"d1","src":"x","src":"y"}`)
		a.oneError(protocol.ErrBadMessage, "i1")
		d.none()
	})
}
