package server

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestPanicAroundASession injects a panic into each step at which a session
// begins and ends: that peer's connection ends, the panic is counted, nothing
// is left of it, and nobody else notices.
func TestPanicAroundASession(t *testing.T) {
	const limit = 10
	steps := map[string]struct {
		device string
		closes bool // with 1011; before there is a session, TCP just ends
	}{
		"handshake":  {"in-handshake", false},
		"transport":  {"in-transport", false},
		"prepare":    {"in-prepare", false},
		"connect":    {"in-connect", true},
		"disconnect": {"in-disconnect", false},
	}
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, func(o *Options) { o.MaxConnectionsPerAddress, o.TrustedProxies = limit, []string{"127.0.0.1"} })
		current := ""
		g.sawHandshake = func(r *http.Request) {
			if current = r.URL.Path; strings.HasSuffix(current, "in-handshake") {
				panic("injected")
			}
		}
		g.sawTransport = func(session.Transport) {
			if strings.HasSuffix(current, "in-transport") {
				panic("injected")
			}
		}
		g.wrapCallbacks = func(c session.Callbacks) session.Callbacks { return panicking{c} }
		g.start()
		other, fe := g.upgrade("/ws/device/other"), g.upgrade("/ws/frontend")
		panics := uint64(0)
		for name, step := range steps {
			p := newPeer(t, g.dial())
			_, _ = io.WriteString(p.conn, request("/ws/device/"+step.device, "X-Forwarded-For: 192.0.2.1"))
			_, _ = p.readHead()
			if step.closes {
				if code, _ := p.awaitClose(); code != protocol.CloseInternal {
					t.Errorf("%s: closed with %d", name, code)
				}
				p.sendClose(1011)
			}
			if name == "disconnect" {
				p.await(protocol.TypeWelcome)
				p.sendClose(1000)
				_, _ = p.awaitClose()
			}
			p.expectEnd()
			panics++
			g.eventually(name+" is counted", func() bool { return g.panics.Count() == panics })
			other.text(`{"type":"other.says"}`)
			fe.await("other.says")
		}
		g.eventually("nothing is left", func() bool {
			return g.manager.Len() == 2 && g.admission.Counters().Connections.Load() == 2
		})
		// Not a place is lost.
		for range limit {
			p := newPeer(t, g.dial())
			_, _ = io.WriteString(p.conn, request("/ws/frontend", "X-Forwarded-For: 192.0.2.1"))
			if head, err := p.readHead(); err != nil || !strings.Contains(head, " 101 ") {
				t.Errorf("afterwards: %s %v", head, err)
			}
			p.await(protocol.TypeWelcome)
		}
	})
}

// panicking panics where the name of a session's device says.
type panicking struct{ session.Callbacks }

func (c panicking) Prepare(s *session.Session) any {
	if s.Name() == "in-prepare" {
		panic("injected")
	}
	return c.Callbacks.Prepare(s)
}

func (c panicking) OnConnect(s *session.Session) {
	if s.Name() == "in-connect" {
		panic("injected")
	}
	c.Callbacks.OnConnect(s)
}

func (c panicking) OnDisconnect(s *session.Session, cause session.Cause) {
	c.Callbacks.OnDisconnect(s, cause)
	if s.Name() == "in-disconnect" {
		panic("injected")
	}
}
