package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
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
// waits, and a message behind the handshake: each has its turn.
func TestUpgradeBehindWaitingRequest(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		conn := g.dial()
		write(t, conn, postCommand("d", `{"type":"test.start"}`))
		c := dev.await("test.start")
		write(t, conn, request("/ws/frontend/ann")+string(maskedText(`{"type":"a.b","dst":"@user/ann"}`)))
		// The handshake has arrived, and must not be answered yet.
		time.Sleep(50 * time.Millisecond)
		if n := g.manager.Len(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		dev.text(`{"type":"test.started","re":%q}`, c.ID)
		head, err := http.ReadResponse(bufio.NewReaderSize(oneByte{conn}, 16), &http.Request{Method: "POST"})
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(head.Body); err != nil || !strings.Contains(string(body), "test.started") {
			t.Fatalf("%s %v", body, err)
		}
		p := newPeer(t, conn)
		if head, err := p.readHead(); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Fatalf("%q %v", head, err)
		}
		p.await(protocol.TypeWelcome)
		p.await("a.b")
		p.text(`{"type":"c.d","dst":"@user/ann"}`)
		p.await("c.d")
	})
}

// oneByte reads single bytes, so that nothing is read behind an answer.
type oneByte struct{ io.Reader }

func (r oneByte) Read(b []byte) (int, error) { return r.Reader.Read(b[:1]) }

func maskedText(text string) []byte {
	return wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, []byte(text))
}

// TestRefusalBehindWaitingRequest sends what is no request behind one that waits:
// the refusal comes after the answer, whatever is refused.
func TestRefusalBehindWaitingRequest(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		for name, c := range map[string]struct {
			raw    string
			status int
		}{
			"no request":        {"\x81\x85\x00\x00\x00\x00hello\r\n\r\n", 400},
			"an endless line":   {"GET /" + strings.Repeat("x", 2*maxHead), 431},
			"a large body":      {"POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n", 413},
			"refused handshake": {request("/ws/nothing"), 404},
		} {
			conn := g.dial()
			in := bufio.NewReader(conn)
			write(t, conn, postCommand("d", `{"type":"test.start"}`))
			asked := dev.await("test.start")
			write(t, conn, "\r\n"+c.raw)
			_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if b, err := in.ReadByte(); !isTimeout(err) {
				t.Errorf("%s: %q %v came before the device has answered", name, b, err)
			}
			dev.text(`{"type":"test.started","re":%q}`, asked.ID)
			if status, body := readAnswer(t, conn, in, "POST"); status != 200 || !strings.Contains(body, "test.started") {
				t.Errorf("%s: %d %s", name, status, body)
			}
			if status, body := readAnswer(t, conn, in, "GET"); status != c.status {
				t.Errorf("%s: %d %s, want %d", name, status, body, c.status)
			}
			if _, err := in.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("%s: the connection was not closed: %v", name, err)
			}
		}
	})
}

// maxHead is the largest head of a request, in bytes.
const maxHead = 16 << 10

// TestBodyNotRead announces bodies, and sends a part, to endpoints that do not
// read bodies: the answer comes without the body, and the connection ends.
func TestBodyNotRead(t *testing.T) {
	dir := t.TempDir()
	tokens := filepath.Join(dir, "frontends")
	if err := os.WriteFile(tokens, []byte(frontendToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.FrontendTokenFile = tokens })
		token := "Authorization: Bearer " + frontendToken + "\r\n"
		for name, c := range map[string]struct {
			line, fields string
			status       int
		}{
			"nothing there":     {"POST /nothing", "", 404},
			"no credential":     {"POST /v1/broadcast", "Content-Type: application/json\r\n", 401},
			"no endpoint":       {"POST /v1/nothing", token, 404},
			"another method":    {"POST /v1/devices", token, 405},
			"a GET with a body": {"GET /v1/devices/none", token, 404},
			"no JSON":           {"POST /v1/broadcast", token + "Content-Type: text/plain\r\n", 415},
			"too large":         {"POST /v1/broadcast", token + "Content-Type: application/json\r\nContent-Length: 2000000\r\n", 413},
			"a handshake":       {"GET /ws/frontend", token, 426},
		} {
			for _, length := range []string{"Content-Length: 100\r\n", "Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n"} {
				if strings.Contains(c.fields, "Content-Length") {
					length = ""
				}
				conn := g.dial()
				write(t, conn, c.line+" HTTP/1.1\r\nHost: localhost\r\n"+c.fields+length+"\r\n5\r\n")
				in := bufio.NewReader(conn)
				if status, body := readAnswer(t, conn, in, "GET"); status != c.status {
					t.Errorf("%s: %d %s, want %d", name, status, body, c.status)
				}
				if _, err := in.ReadByte(); err == nil || isTimeout(err) {
					t.Errorf("%s: the connection was not closed: %v", name, err)
				}
				conn.Close()
			}
		}
	})
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
