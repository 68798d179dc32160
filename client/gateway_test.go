package client

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/labgate/labgate/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a test that hangs. In a synctest bubble the wait takes no real
// time; with real sockets it is longer than any machine needs.
const patience = time.Minute

// fakeGateway is a scripted gateway: it sends the welcome, and the test does
// the rest on the session.
type fakeGateway struct {
	t        testing.TB
	url      string
	dial     func(context.Context, string, string) (net.Conn, error) // nil for real sockets
	sessions chan *fakeSession

	mu      sync.Mutex
	welcome protocol.Welcome
	refuse  http.HandlerFunc // instead of the handshake
	silent  bool             // no welcome
	mute    bool             // no answers to pings
	dials   []time.Time
}

// fakeSession is one connection as the gateway sees it.
type fakeSession struct {
	t       testing.TB
	ws      *websocket.Conn
	request *http.Request
}

// newGateway starts a gateway on a real socket, or, piped, on in-memory
// connections, which a synctest bubble can wait for.
func newGateway(t testing.TB, piped bool) *fakeGateway {
	g := &fakeGateway{
		t:        t,
		sessions: make(chan *fakeSession, 100),
		welcome:  protocol.Welcome{Session: "s", Node: "n1", HeartbeatMS: 30_000, MaxMessage: 1 << 20},
	}
	var l net.Listener
	if piped {
		p := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		g.dial, g.url, l = p.dial, "ws://gateway", p
	} else {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		g.url = "ws://" + l.Addr().String()
	}
	srv := &http.Server{Handler: g}
	served := make(chan struct{})
	go func() {
		defer close(served)
		srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-served
		for len(g.sessions) > 0 {
			(<-g.sessions).ws.CloseNow()
		}
	})
	return g
}

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	g.dials = append(g.dials, time.Now())
	refuse, welcome, silent, mute := g.refuse, g.welcome, g.silent, g.mute
	g.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:   []string{protocol.Subprotocol},
		OnPingReceived: func(context.Context, []byte) bool { return !mute },
	})
	if err != nil {
		g.t.Error(err)
		return
	}
	ws.SetReadLimit(-1)
	s := &fakeSession{t: g.t, ws: ws, request: r}
	if !silent {
		m, err := protocol.NewMessage(protocol.TypeWelcome, welcome)
		if err != nil {
			g.t.Error(err)
		}
		s.send(m)
	}
	g.sessions <- s
}

func (g *fakeGateway) set(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// next waits for the next connection.
func (g *fakeGateway) next() *fakeSession {
	g.t.Helper()
	select {
	case s := <-g.sessions:
		g.t.Cleanup(func() { s.ws.CloseNow() })
		return s
	case <-time.After(patience):
		g.t.Fatal("nobody connects")
		return nil
	}
}

func (g *fakeGateway) config() Config { return Config{URL: g.url, Dial: g.dial} }

// send sends a message; that the client has just gone is no failure here.
func (s *fakeSession) send(m protocol.Message) {
	b, err := m.Append(nil)
	if err != nil {
		s.t.Error(err)
	}
	s.raw(websocket.MessageText, b)
}

func (s *fakeSession) raw(typ websocket.MessageType, b []byte) {
	_ = s.ws.Write(context.Background(), typ, b)
}

// text reads the next message, which must be text.
func (s *fakeSession) text() protocol.Message {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	typ, b, err := s.ws.Read(ctx)
	if err != nil {
		s.t.Fatalf("reading text: %v", err)
	}
	var e protocol.Envelope
	if typ != websocket.MessageText {
		s.t.Fatalf("%d bytes of binary, want text", len(b))
	}
	if err := e.Parse(b); err != nil {
		s.t.Fatalf("%s: %v", b, err)
	}
	return e.Message()
}

// frame reads the next message, which must be telemetry.
func (s *fakeSession) frame() (protocol.TelemetryHeader, []byte) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	typ, b, err := s.ws.Read(ctx)
	if err != nil {
		s.t.Fatalf("reading telemetry: %v", err)
	}
	if typ != websocket.MessageBinary {
		s.t.Fatalf("%s, want telemetry", b)
	}
	var h protocol.TelemetryHeader
	if err := h.Parse(b); err != nil {
		s.t.Fatal(err)
	}
	return h, b[protocol.TelemetryHeaderSize:]
}

// readOn reads and discards messages in the background, which also answers
// pings and close frames.
func (s *fakeSession) readOn() { s.ws.CloseRead(context.Background()) }

// close closes with a code, as the gateway does.
func (s *fakeSession) close(code protocol.CloseCode) {
	_ = s.ws.Close(websocket.StatusCode(code), code.Name())
}

// vanish drops the connection without a close frame.
func (s *fakeSession) vanish() { s.ws.CloseNow() }

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func dialDevice(t testing.TB, cfg Config, dev DeviceConfig) *Device {
	t.Helper()
	if dev.ID == "" {
		dev.ID = "tensile-1"
	}
	d, err := DialDevice(context.Background(), cfg, dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func dialFrontend(t testing.TB, cfg Config, fe FrontendConfig) *Frontend {
	t.Helper()
	f, err := DialFrontend(context.Background(), cfg, fe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// message makes a message from JSON.
func message(t testing.TB, text string) protocol.Message {
	t.Helper()
	var m protocol.Message
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}
