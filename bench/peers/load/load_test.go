//go:build linux

package load

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/bench/peers/wire"
	"github.com/labgate/labgate/internal/wsframe"
)

// fakeServer forwards each frame to the other connections of its path; change
// may replace a frame by none or several.
type fakeServer struct {
	t      *testing.T
	ln     net.Listener
	change func(n int, payload []byte) [][]byte // n counts messages; nil: as they are

	mu    sync.Mutex
	paths map[string][]net.Conn // guarded by mu
	n     int                   // guarded by mu
	done  sync.WaitGroup
}

func newFakeServer(t *testing.T, change func(int, []byte) [][]byte) *fakeServer {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, ln: ln, change: change, paths: map[string][]net.Conn{}}
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.done.Add(1)
			go s.serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		s.mu.Lock()
		for _, conns := range s.paths {
			for _, c := range conns {
				_ = c.Close()
			}
		}
		s.mu.Unlock()
		s.done.Wait()
	})
	return s
}

func (s *fakeServer) addr() netip.AddrPort { return netip.MustParseAddrPort(s.ln.Addr().String()) }

func (s *fakeServer) serve(c net.Conn) {
	defer s.done.Done()
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.paths[req.URL.Path] = append(s.paths[req.URL.Path], c)
	s.mu.Unlock()
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		wsconn.Accept(req.Header.Get("Sec-WebSocket-Key")))
	_, _ = c.Write(wsframe.AppendFrame(nil, wsframe.OpText, []byte(wire.Greeting)))
	head := make([]byte, 8) // of a masked frame of 126 to 65535 bytes
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return
		}
		payload := make([]byte, int(head[2])<<8|int(head[3]))
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		s.forward(c, req.URL.Path, wsframe.Opcode(head[0]&0xf), payload)
	}
}

func (s *fakeServer) forward(from net.Conn, path string, op wsframe.Opcode, payload []byte) {
	path = strings.Replace(path, "/send", "/receive", 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := [][]byte{payload}
	if s.change != nil {
		out = s.change(s.n, payload)
	}
	s.n++
	for _, c := range s.paths[path] {
		for _, b := range out {
			if c != from {
				_, _ = c.Write(wsframe.AppendFrame(nil, op, b))
			}
		}
	}
}

// step opens a population of four and tries a rate for a short time.
func step(t *testing.T, s *fakeServer, shape wire.Shape, text bool) *Outcome {
	t.Helper()
	p, err := Open(t.Context(), Options{Addr: s.addr(), Protocol: wire.Hub{}, Shape: shape, Text: text, Receivers: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	o, err := p.Step(t.Context(), Step{Rate: 1000, Warmup: 20 * time.Millisecond, Measure: 2 * time.Second / 10, Tick: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// blamesTime reports whether a step was not clean only because of delays, which
// a busy machine may cause.
func blamesTime(o *Outcome) bool {
	return o.Missing+o.Late+o.Corrupt+o.Misrouted+o.Closed == 0
}

func TestStepCountsAll(t *testing.T) {
	for _, c := range []struct {
		shape    wire.Shape
		text     bool
		expected uint64
	}{{wire.FanOut, false, 880}, {wire.FanOut, true, 880}, {wire.Unicast, true, 220}} {
		o := step(t, newFakeServer(t, nil), c.shape, c.text)
		if o.Expected != c.expected || !o.Clean && !blamesTime(o) {
			t.Errorf("%s: %+v", c.shape, o)
		}
		if o.Clean && (o.Received != o.Expected || o.P50 <= 0 || o.P99 < o.P50 || o.Max < o.P99) {
			t.Errorf("%s: %+v", c.shape, o)
		}
	}
}

func TestStepNoticesEveryFault(t *testing.T) {
	const at = 100 // the message that suffers
	for _, c := range []struct {
		name   string
		change func(n int, b []byte) [][]byte
		count  func(*Outcome) uint64
	}{
		{"lost", func(n int, b []byte) [][]byte {
			if n == at {
				return nil
			}
			return [][]byte{b}
		}, func(o *Outcome) uint64 { return o.Missing }},
		{"twice", func(n int, b []byte) [][]byte {
			if n == at {
				return [][]byte{b, b}
			}
			return [][]byte{b}
		}, func(o *Outcome) uint64 { return o.Late }},
		{"damaged", func(n int, b []byte) [][]byte {
			if n == at {
				b[100] ^= 1
			}
			return [][]byte{b}
		}, func(o *Outcome) uint64 { return o.Corrupt }},
	} {
		for _, shape := range []wire.Shape{wire.FanOut, wire.Unicast} {
			o := step(t, newFakeServer(t, c.change), shape, shape == wire.Unicast)
			if o.Clean || c.count(o) == 0 || o.Why == "" {
				t.Errorf("%s, %s: %+v", c.name, shape, o)
			}
		}
	}
}

func TestStepTellsBacklogFromStragglers(t *testing.T) {
	const pause = 200 * time.Millisecond
	stall := func(at int) *Outcome {
		return step(t, newFakeServer(t, func(n int, b []byte) [][]byte {
			if n == at {
				time.Sleep(pause)
			}
			return [][]byte{b}
		}), wire.Unicast, true)
	}
	if o := stall(150); o.Clean || o.BacklogMS < 50 || !blamesTime(o) { // 70 of 220 are late
		t.Errorf("backlog: %+v", o)
	}
	for range 10 { // a busy machine may spoil some
		o := stall(219) // the last one is late
		if o.Clean && o.Received == o.Expected && o.BacklogMS < 50 && o.DrainedMS > 100 {
			return
		}
		t.Logf("straggler: %+v", o)
	}
	t.Error("one late delivery was always a fault")
}

func TestStepNoticesWrongReceiver(t *testing.T) {
	var other []byte // of pair 0
	done := false
	o := step(t, newFakeServer(t, func(_ int, b []byte) [][]byte {
		_, _, pair, _ := newTextPayload().read(b)
		switch {
		case pair == 0:
			other = b
		case other != nil && !done:
			done = true
			return [][]byte{other, b}
		}
		return [][]byte{b}
	}), wire.Unicast, true)
	if o.Clean || o.Misrouted != 1 {
		t.Errorf("%+v", o)
	}
}

func TestHoldCountsEndedConnections(t *testing.T) {
	s := newFakeServer(t, nil)
	p, err := Open(t.Context(), Options{Addr: s.addr(), Protocol: wire.Hub{}, Shape: wire.Idle, Receivers: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if n, err := p.Hold(t.Context(), 20*time.Millisecond); n != 0 || err != nil {
		t.Errorf("%d ended, %v", n, err)
	}
	s.mu.Lock()
	_ = s.paths["/hub"][3].Close()
	s.mu.Unlock()
	if n, err := p.Hold(t.Context(), 100*time.Millisecond); n != 1 || err != nil {
		t.Errorf("%d ended, %v", n, err)
	}
}

func TestOpenFails(t *testing.T) {
	s := newFakeServer(t, nil)
	// The relay is ready at once and gets the greeting as a message; NATS
	// does not understand it.
	if _, err := Open(t.Context(), Options{Addr: s.addr(), Protocol: wire.NATS{}, Shape: wire.Idle, Receivers: 2}); err == nil {
		t.Error("a server of another protocol was accepted")
	}
	if _, err := Open(t.Context(), Options{Addr: netip.MustParseAddrPort("192.0.2.1:80"), Protocol: wire.Hub{}, Receivers: 1}); err == nil {
		t.Error("an address that is not loopback was accepted")
	}
	addr := s.addr()
	_ = s.ln.Close()
	if _, err := Open(t.Context(), Options{Addr: addr, Protocol: wire.Hub{}, Shape: wire.Idle, Receivers: 2}); err == nil {
		t.Error("nobody listens, and that was accepted")
	}
}
