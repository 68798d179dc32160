package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// TestRequestTooLarge sends heads beyond the limit in every shape; the
// connection ends, with an answer that says why, and the gateway keeps nothing.
func TestRequestTooLarge(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HandshakeTimeout = 2 * time.Second })
		fits := strings.Repeat("x", 8<<10)
		for name, c := range map[string]struct {
			request string
			status  []int
		}{
			"fits":               {request("/ws/frontend", "X-Filler: "+fits), []int{101}},
			"one long field":     {request("/ws/frontend", "X-Filler: "+strings.Repeat(fits, 5)), []int{431}},
			"endless field":      {request("/ws/frontend", "X-Filler: "+strings.Repeat(fits, 400)), []int{431, 413}},
			"many fields":        {request("/ws/frontend", strings.Repeat("X-Filler: y\r\n", 4000)+"X-Last: z"), []int{431}},
			"long query":         {request("/ws/frontend?telemetry=" + strings.Repeat(fits, 5)), []int{414, 431}},
			"endless query":      {request("/ws/frontend?telemetry=" + strings.Repeat(fits, 400)), []int{414, 431, 413}},
			"not HTTP":           {"\x16\x03\x01 this is not HTTP\r\n\r\n", []int{400}},
			"a frame":            {"\x81\x85\x00\x00\x00\x00hello", []int{400}},
			"not HTTP at line 2": {"GET / HTTP/1.1\r\nno colon\r\n\r\n", []int{400}},
		} {
			conn := g.dial()
			// The gateway may end the connection before it has everything.
			_ = conn.SetWriteDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, c.request)
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				// What is left of the request makes the kernel reset the
				// connection; with it the answer may be gone.
				if isTimeout(err) || c.status[0] == 101 {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			ok := false
			for _, s := range c.status {
				ok = ok || res.StatusCode == s
			}
			if !ok {
				t.Errorf("%s: %s, want %d", name, res.Status, c.status)
			}
			conn.Close()
		}
		g.eventually("all connections are closed", func() bool { return g.admission.Counters().Connections.Load() == 0 })
	})
}

// TestSlowHandshake sends a request byte by byte, and others not at all: all
// are cut off, and none of them counts as a session.
func TestSlowHandshake(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		const timeout = 500 * time.Millisecond
		g := start(t, m, func(o *Options) { o.HandshakeTimeout = timeout })
		var silent []net.Conn
		for range 20 {
			conn, err := net.Dial("tcp", g.Addr()) // not even TLS
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			silent = append(silent, conn)
		}
		half := g.dial()
		write(t, half, request("/ws/device/d")[:100])
		halfBody := g.dial()
		write(t, halfBody, "POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		silent = append(silent, half, halfBody)

		slow, began, cut := g.dial(), time.Now(), false
		for _, b := range []byte(request("/ws/device/d")) {
			if _, err := slow.Write([]byte{b}); err != nil {
				cut = true
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !cut {
			t.Error("a handshake that takes 4 s was not cut off")
		}
		if d := time.Since(began); d < timeout/2 {
			t.Errorf("cut off after %v already", d)
		}
		for _, conn := range silent {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
				t.Error("a connection that says nothing was not closed")
			}
		}
		if n := g.manager.Stats().Connects.Load(); n != 0 {
			t.Errorf("%d sessions were made", n)
		}
		g.eventually("all connections are closed", func() bool { return g.admission.Counters().Connections.Load() == 0 })
	})
}

// TestConnectionLimit fills the gateway: further connections are refused with the
// time to wait, and accepted when there is room.
func TestConnectionLimit(t *testing.T) {
	const limit = 6
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.MaxConnections, o.RetryAfter = limit, 3500*time.Millisecond })
		var held []*peer
		for i := range limit {
			held = append(held, g.upgrade(fmt.Sprintf("/ws/device/d%d", i)))
		}
		for range 20 {
			conn, err := net.Dial("tcp", g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(patience))
			if m.tls != "" {
				// There is no answer without a handshake of TLS.
				if b, err := io.ReadAll(conn); len(b) > 0 || isTimeout(err) {
					t.Errorf("%q %v", b, err)
				}
				conn.Close()
				continue
			}
			_, _ = io.WriteString(conn, request("/ws/device/one-more"))
			in := bufio.NewReader(conn)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if res.StatusCode != 503 || res.Header.Get("Retry-After") != "4" || !strings.Contains(string(body), string(protocol.ErrOverloaded)) || !strings.Contains(string(body), "limit of 6 connections") || err != nil {
				t.Errorf("%s %v %s %v", res.Status, res.Header, body, err)
			}
			if _, err := in.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("behind the answer: %v", err)
			}
			conn.Close()
		}
		if n := g.admission.Counters().RefusedConnections.All()["connections"]; n != 20 {
			t.Errorf("%d refused connections counted", n)
		}
		held[0].conn.Close()
		g.eventually("there is room", func() bool { return g.admission.Counters().Connections.Load() < limit })
		g.upgrade("/ws/device/one-more")
		if n := g.manager.Len(); n != limit {
			t.Errorf("%d sessions", n)
		}
	})
}
