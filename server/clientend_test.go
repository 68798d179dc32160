package server

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// This file tests clients that end their side, or leave, while a request waits.

// TestVanishedAsker gives up a place for waiting requests as soon as the asker
// is gone, with a reset, or with the end of its side, also when it has sent more
// requests meanwhile.
func TestVanishedAsker(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		for i := range 6 {
			asker := newPeer(t, g.dial())
			write(t, asker.conn, postCommand("d", `{"type":"test.start","timeout_ms":600000}`))
			c := dev.await("test.start")
			for range i / 2 {
				write(t, asker.conn, strings.Repeat(get("/v1/devices/none"), 10))
				time.Sleep(5 * time.Millisecond)
			}
			if i%2 == 0 {
				asker.vanish()
			} else {
				asker.conn.Close()
			}
			g.awaitRequests()
			dev.text(`{"type":"too.late","re":%q,"id":"late"}`, c.ID)
			if e := dev.await(protocol.TypeError); e.Re != "late" || !strings.Contains(string(e.Payload), "not_found") {
				t.Errorf("%+v", e)
			}
		}
	})
}

// An asker that has sent more requests than the gateway keeps gives up its place
// too: at once when its end arrives, and after HandshakeTimeout when the end waits
// behind bytes that no socket takes.
func TestVanishedAskerWithExcess(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		for _, size := range []int{20 << 10, 40 << 10, 16 << 20} {
			fits := size < 1<<20
			g := start(t, m, func(o *Options) {
				if o.HandshakeTimeout = time.Second; fits {
					o.HandshakeTimeout = 10 * patience // does not pass in this test
				}
			})
			dev := g.upgrade("/ws/device/d")
			for _, reset := range []bool{false, true} {
				asker := newPeer(t, g.dial())
				write(t, asker.conn, postCommand("d", `{"type":"test.start","timeout_ms":600000}`))
				c := dev.await("test.start")
				_ = asker.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				_, err := asker.conn.Write([]byte(strings.Repeat(get("/v1/devices/none"), size/len(get("/v1/devices/none")))))
				if (err == nil) != fits {
					t.Fatalf("%d bytes were sent: %v", size, err)
				}
				if reset {
					asker.vanish()
				} else {
					asker.conn.Close()
				}
				g.awaitRequests()
				dev.text(`{"type":"too.late","re":%q,"id":"late"}`, c.ID)
				if e := dev.await(protocol.TypeError); e.Re != "late" || !strings.Contains(string(e.Payload), "not_found") {
					t.Errorf("%+v", e)
				}
			}
		}
	})
}

// What is sent behind a waiting command is answered in its turn. Behind a command
// that waits for longer than HandshakeTimeout only 16 KiB are kept: the command is
// answered, and then the rest is refused. A client that goes on sending loses its
// command.
func TestExcessBehindWaitingCommand(t *testing.T) {
	large := func(size int) string {
		return postCommand("d", `{"type":"large","payload":"`+strings.Repeat("x", size)+`"}`)
	}
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HandshakeTimeout = 500 * time.Millisecond })
		dev := g.upgrade("/ws/device/d")
		answer := func(in *bufio.Reader, conn net.Conn, id, typ string) {
			t.Helper()
			dev.text(`{"type":%q,"re":%q}`, typ, id)
			if status, body := readAnswer(t, conn, in, "POST"); status != 200 || !strings.Contains(body, typ) {
				t.Errorf("%d %s", status, body)
			}
		}
		ask := func(behind string) (net.Conn, *bufio.Reader, string) {
			t.Helper()
			conn := g.dial()
			write(t, conn, postCommand("d", `{"type":"test.start"}`))
			c := dev.await("test.start")
			write(t, conn, behind)
			return conn, bufio.NewReader(conn), c.ID
		}

		conn, in, id := ask(large(50<<10) + get("/v1/devices/none"))
		answer(in, conn, id, "in.time")
		answer(in, conn, dev.await("large").ID, "large.in.time")
		if status, _ := readAnswer(t, conn, in, "GET"); status != 404 {
			t.Errorf("status %d", status)
		}

		for name, c := range map[string]struct {
			behind string
			kept   int
		}{
			"requests":  {strings.Repeat(get("/v1/devices/none"), 1000), 100},
			"a body":    {large(50 << 10), 0},
			"a session": {strings.Repeat(get("/v1/devices/none"), 5) + request("/ws/frontend") + strings.Repeat(string(maskedText(`{"type":"a.b","dst":"@frontends"}`)), 1000), 5},
		} {
			conn, in, id := ask(c.behind)
			time.Sleep(700 * time.Millisecond)
			answer(in, conn, id, "late")
			status, body, answered := 404, "", 0
			for ; status == 404; answered++ {
				status, body = readAnswer(t, conn, in, "GET")
			}
			if status != 413 || !strings.Contains(body, "--handshake-timeout") || answered <= c.kept {
				t.Errorf("%s: answer %d: %d %s", name, answered, status, body)
			}
			if _, err := in.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("%s: the connection was not closed: %v", name, err)
			}
		}

		conn, _, id = ask(large(50 << 10))
		go func() { _, _ = conn.Write(make([]byte, 64<<20)) }()
		g.awaitRequests()
		dev.text(`{"type":"too.late","re":%q,"id":"late"}`, id)
		dev.await(protocol.TypeError)
		conn.Close()
	})
}

// TestHalfClose asks and ends its side, as who has no more to ask does. The
// answer comes all the same.
func TestHalfClose(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		for _, at := range []int{0, 20} {
			for range 10 {
				conn := g.dial()
				r := get("/v1/devices/none")
				write(t, conn, r[:at])
				if at > 0 {
					time.Sleep(5 * time.Millisecond)
				}
				write(t, conn, r[at:])
				if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				in := bufio.NewReader(conn)
				if status, body := readAnswer(t, conn, in, "GET"); status != 404 {
					t.Errorf("%d %s", status, body)
				}
				if _, err := in.ReadByte(); err == nil || isTimeout(err) {
					t.Errorf("the connection was not closed: %v", err)
				}
			}
		}
	})
}

// lateBus answers the queries of other nodes late.
type lateBus struct{ federation.Bus }

func (b lateBus) Send(to federation.NodeID, m *federation.Message) error {
	if m.Kind == federation.KindResult {
		time.Sleep(300 * time.Millisecond)
	}
	return b.Bus.Send(to, m)
}

// A request that waits for another node is answered completely, although its
// client has ended its side. A command is not: its answer may take minutes.
func TestHalfCloseWhileAnotherNodeAnswers(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		hub := membus.NewHub()
		a := start(t, m, func(o *Options) { o.Node, o.Bus = "a", hub.Bus("a") })
		b := start(t, m, func(o *Options) { o.Node, o.Bus = "b", lateBus{hub.Bus("b")} })
		dev := b.upgrade("/ws/device/d")
		a.knows("d")
		for path, wants := range map[string]string{"/v1/devices": `"session":`, "/v1/devices/d": `"session":`, "/v1/sessions": `"name":"d"`} {
			conn := a.dial()
			write(t, conn, get(path))
			if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			status, body := readAnswer(t, conn, bufio.NewReader(conn), "GET")
			if status != 200 || !strings.Contains(body, wants) || strings.Contains(body, "silent_nodes") {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		conn := a.dial()
		write(t, conn, postCommand("d", `{"type":"test.start","timeout_ms":600000}`))
		dev.await("test.start")
		if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		a.awaitRequests()
	})
}
