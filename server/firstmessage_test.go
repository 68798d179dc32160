package server

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// TestFirstMessage sends the first message in one packet with the handshake, or
// as soon as the handshake is answered, while the upgrade is held up: before
// there is a session, and before the connection knows its session. The message
// is handled, once the session is there.
func TestFirstMessage(t *testing.T) {
	const hold = 50 * time.Millisecond
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, nil)
		g.sawTransport = func(session.Transport) { time.Sleep(hold) }
		g.wrapCallbacks = func(c session.Callbacks) session.Callbacks { return holdingUp{c, hold} }
		g.start()
		fe := g.upgrade("/ws/frontend")
		first := wsframe.AppendMaskedFrame(nil, wsframe.OpText, testKey, []byte(`{"type":"first.word"}`))
		for name, send := range map[string]func(p *peer, handshake string){
			"one-packet": func(p *peer, handshake string) {
				p.write(append([]byte(handshake), first...))
			},
			"frame-in-two": func(p *peer, handshake string) {
				p.write(append([]byte(handshake), first[:5]...))
				p.write(first[5:])
			},
			"behind-the-answer": func(p *peer, handshake string) {
				_, _ = io.WriteString(p.conn, handshake)
				_, _ = p.readHead()
				p.write(first)
			},
		} {
			dev := newPeer(t, g.dial())
			send(dev, request("/ws/device/"+name))
			if got := fe.await("first.word"); got.Src != name {
				t.Errorf("%s: first word of %q", name, got.Src)
			}
		}
		if n := g.panics.Count(); n != 0 {
			t.Errorf("%d panics", n)
		}
		if status, _ := g.call(http.MethodGet, "/v1/devices/one-packet", ""); status != 200 {
			t.Errorf("the device: %d", status)
		}
	})
}

// holdingUp holds up the beginning of each session.
type holdingUp struct {
	session.Callbacks
	hold time.Duration
}

func (c holdingUp) OnConnect(s *session.Session) {
	c.Callbacks.OnConnect(s)
	time.Sleep(c.hold)
}
