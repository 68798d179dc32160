package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"github.com/labgate/labgate/internal/eventloop"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// get is a plain request over a raw connection.
func get(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

func postCommand(device, body string) string {
	return fmt.Sprintf("POST /v1/devices/%s/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", device, len(body), body)
}

// readAnswer reads one answer from a raw connection.
func readAnswer(t *testing.T, conn net.Conn, in *bufio.Reader, method string) (int, string) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func write(t *testing.T, conn net.Conn, s string) {
	t.Helper()
	_ = conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, s); err != nil {
		t.Fatal(err)
	}
}

// TestKeptConnection makes many requests over one connection, one after the
// other and all at once; the answers come in order.
func TestKeptConnection(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		g.upgrade("/ws/device/d")
		conn := g.dial()
		in := bufio.NewReader(conn)
		for range 20 {
			write(t, conn, get("/v1/devices/d"))
			if status, body := readAnswer(t, conn, in, "GET"); status != 200 || !strings.Contains(body, `"device_id":"d"`) {
				t.Fatalf("%d %s", status, body)
			}
		}
		var all strings.Builder
		for i := range 40 {
			all.WriteString(get(fmt.Sprintf("/v1/devices/no.%d", i)))
		}
		// Cut in the middle of a request.
		text := all.String()
		write(t, conn, text[:len(text)/2+7])
		time.Sleep(20 * time.Millisecond)
		write(t, conn, text[len(text)/2+7:])
		for i := range 40 {
			if status, body := readAnswer(t, conn, in, "GET"); status != 404 || !strings.Contains(body, fmt.Sprintf("no.%d ", i)) {
				t.Fatalf("answer %d: %d %s", i, status, body)
			}
		}
		if n := g.admission.Counters().Connections.Load(); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// TestLongAnswerThenClose asks for the end of the connection behind an answer
// that no socket takes at once; it comes whole.
func TestLongAnswerThenClose(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		const sessions = 60
		for i := range sessions {
			g.upgrade(fmt.Sprintf("/ws/device/%0100d?type=%0200d", i, i))
		}
		conn, err := g.tryDialWith(narrow)
		if err != nil {
			t.Fatal(err)
		}
		write(t, conn, strings.Repeat(get("/v1/devices"), 9)+get("/v1/devices", "Connection: close"))
		time.Sleep(300 * time.Millisecond)
		in := bufio.NewReader(conn)
		for range 10 {
			status, body := readAnswer(t, conn, in, "GET")
			var list struct{ Devices []json.RawMessage }
			if err := json.Unmarshal([]byte(body), &list); status != 200 || err != nil || len(list.Devices) != sessions {
				t.Fatalf("%d, %d bytes, %d devices, %v", status, len(body), len(list.Devices), err)
			}
		}
		if n, err := in.ReadByte(); err == nil {
			t.Errorf("%q came, the end was expected", n)
		} else if isTimeout(err) {
			t.Error("the connection was not closed")
		}
	})
}

// TestWaitingCommand has a command wait for longer than the handshake may
// take: meanwhile the only poller serves others.
func TestWaitingCommand(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HandshakeTimeout, o.Pollers = 300*time.Millisecond, 1 })
		dev := g.upgrade("/ws/device/d")
		conn := g.dial()
		in := bufio.NewReader(conn)
		write(t, conn, postCommand("d", `{"type":"first.command","timeout_ms":900}`)+postCommand("d", `{"type":"second.command"}`))
		dev.await("first.command")
		fe := g.upgrade("/ws/frontend")
		for i := range 5 {
			fe.text(`{"type":"other.command","id":"c%d","dst":"d"}`, i)
			dev.await("other.command")
			dev.text(`{"type":"other.answer","re":"c%d"}`, i)
			fe.await("other.answer")
			if status, _ := g.call("GET", "/v1/devices", ""); status != 200 {
				t.Error(status)
			}
		}
		if status, body := readAnswer(t, conn, in, "POST"); status != 504 {
			t.Errorf("%d %s", status, body)
		}
		c := dev.await("second.command")
		time.Sleep(500 * time.Millisecond)
		dev.text(`{"type":"second.answer","re":%q}`, c.ID)
		if status, body := readAnswer(t, conn, in, "POST"); status != 200 || !strings.Contains(body, "second.answer") {
			t.Errorf("%d %s", status, body)
		}
		// An idle connection is closed in the end.
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := in.ReadByte(); err == nil || isTimeout(err) {
			t.Errorf("an idle connection: %v", err)
		}
	})
}

// TestVanishedAsker gives up a place for waiting requests as soon as the asker
// is gone. A blocking connection cannot notice: its goroutine waits.
func TestVanishedAsker(t *testing.T) {
	for _, m := range modes {
		if m.tls == "" && m.io != eventloop.IONonBlocking {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, m, nil)
			dev := g.upgrade("/ws/device/d")
			for range 3 {
				asker := newPeer(t, g.dial())
				write(t, asker.conn, postCommand("d", `{"type":"test.start","timeout_ms":600000}`))
				c := dev.await("test.start")
				asker.vanish()
				g.awaitRequests()
				dev.text(`{"type":"too.late","re":%q,"id":"late"}`, c.ID)
				if e := dev.await(protocol.TypeError); e.Re != "late" || !strings.Contains(string(e.Payload), "not_found") {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

// TestUpgradeOfKeptConnection upgrades a connection that has served requests;
// no deadline of those may end the session.
func TestUpgradeOfKeptConnection(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HandshakeTimeout = 400 * time.Millisecond })
		var peers []*peer
		for i := range 10 {
			conn := g.dial()
			in := bufio.NewReader(conn)
			for range 3 {
				write(t, conn, get("/v1/devices"))
				readAnswer(t, conn, in, "GET")
			}
			p := newPeer(t, conn)
			write(t, conn, request(fmt.Sprintf("/ws/frontend/u%d", i)))
			if head, err := p.readHead(); err != nil || !strings.Contains(head, " 101 ") {
				t.Fatal(head, err)
			}
			p.await(protocol.TypeWelcome)
			peers = append(peers, p)
		}
		time.Sleep(800 * time.Millisecond)
		for i, p := range peers {
			p.text(`{"type":"still.here","dst":"@user/u%d"}`, i)
			p.await("still.here")
		}
	})
}

// TestUpgradeBehindWaitingRequest pipelines a handshake behind a request that
// waits. The two cannot share the connection: it ends, and nothing else does.
func TestUpgradeBehindWaitingRequest(t *testing.T) {
	for _, m := range modes {
		if !m.poller() {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, m, nil)
			dev := g.upgrade("/ws/device/d")
			p := newPeer(t, g.dial())
			p.write([]byte(postCommand("d", `{"type":"test.start"}`)))
			dev.await("test.start")
			p.write([]byte(request("/ws/frontend")))
			if head, err := p.readHead(); err == nil {
				t.Errorf("answer %q", head)
			}
			g.awaitRequests()
			if n := g.manager.Len(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

// TestAnswersNotRead has a client ask and ask without ever reading: what waits
// for it stays bounded, and others are served.
func TestAnswersNotRead(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HandshakeTimeout, o.WriteTimeout = 2*time.Second, 2*time.Second })
		for i := range 50 {
			g.upgrade(fmt.Sprintf("/ws/device/%0100d?type=%0200d", i, i))
		}
		conn := g.dial()
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		asked := 0
		for ; asked < 1_000_000; asked++ {
			if _, err := io.WriteString(conn, get("/v1/devices")); err != nil {
				if isTimeout(err) {
					t.Error("the connection was not closed")
				}
				break
			}
		}
		if asked == 1_000_000 {
			t.Error("everything was taken")
		}
		if status, _ := g.call("GET", "/v1/devices", ""); status != 200 {
			t.Error(status)
		}
	})
}
