package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// tricks are the faults and unusual behaviour of the fake gateway. The zero
// value is a correct gateway.
type tricks struct {
	status    int    // answer the handshake with this
	badAccept bool   // wrong Sec-WebSocket-Accept
	mute      bool   // no gateway.welcome
	quiet     bool   // devices are not announced
	greetSlow bool   // gateway.welcome in two pieces, together with other bytes
	fragment  bool   // telemetry in two fragments with a ping between
	token     string // required of everybody
	bare      string // no gateway: Options.Bare

	// telemetry decides what one front end gets in place of a frame: n counts
	// the frames of that front end from 0. nil: the frame.
	telemetry func(p *fakePeer, n int, frame []byte) [][]byte
	// text decides likewise about messages, before they go to the peer.
	text func(p *fakePeer, n int, msg []byte) [][]byte
}

// fakeGateway implements the least that bench needs of a gateway.
type fakeGateway struct {
	t  *testing.T
	ln net.Listener
	tricks
	wg sync.WaitGroup

	mu      sync.Mutex
	peers   map[*fakePeer]bool
	byName  map[string]*fakePeer // devices
	streams uint32
	pending map[string]pendingCommand
	ids     int
}

type pendingCommand struct {
	asker *fakePeer
	id    string
}

type fakePeer struct {
	g      *fakeGateway
	nc     net.Conn
	device bool
	all    bool // wants telemetry
	name   string
	stream uint32
	frames int // telemetry frames offered
	texts  int // messages offered
	held   []byte

	mu  sync.Mutex // one writer at a time
	bad bool
}

func newFake(t *testing.T, tr tricks) *fakeGateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &fakeGateway{t: t, ln: ln, tricks: tr, peers: map[*fakePeer]bool{}, byName: map[string]*fakePeer{}, pending: map[string]pendingCommand{}}
	g.wg.Go(g.accept)
	t.Cleanup(func() {
		ln.Close()
		g.mu.Lock()
		for p := range g.peers {
			p.nc.Close()
		}
		g.mu.Unlock()
		g.wg.Wait()
	})
	return g
}

func (g *fakeGateway) url() string { return "http://" + g.ln.Addr().String() }

func (g *fakeGateway) accept() {
	for {
		nc, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.wg.Go(func() { g.serve(nc) })
	}
}

func (g *fakeGateway) serve(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReader(nc)
	req, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	status := g.status
	if g.token != "" && req.Header.Get("Authorization") != "Bearer "+g.token {
		status = http.StatusUnauthorized
	}
	if status != 0 {
		fmt.Fprintf(nc, "HTTP/1.1 %d %s\r\nContent-Length: 3\r\n\r\nno\n", status, http.StatusText(status))
		return
	}
	p := &fakePeer{g: g, nc: nc}
	if name, ok := strings.CutPrefix(req.URL.Path, "/ws/device/"); ok {
		p.device, p.name = true, name
	} else {
		p.name = strings.TrimPrefix(req.URL.Path, "/ws/frontend/")
		p.all = req.URL.Query().Get("telemetry") == "all"
	}
	accept := wsconn.Accept(req.Header.Get("Sec-WebSocket-Key"))
	bad := g.badAccept
	if g.bare != "" {
		p.name = req.URL.Path
		// A bare server has none.
		bad = bad || req.Header.Get("Sec-WebSocket-Protocol") != ""
	}
	if bad {
		accept = wsconn.Accept("another key")
	}
	head := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		accept, req.Header.Get("Sec-WebSocket-Protocol"))
	g.join(p, head)
	defer g.leave(p)

	var rd wsframe.Reader
	rd.Init(1<<20, false)
	defer rd.Release()
	buf := make([]byte, 64<<10)
	for {
		n, err := br.Read(buf)
		if err == nil {
			err = rd.Feed(buf[:n], p)
		}
		if err != nil {
			return
		}
	}
}

// join welcomes p; nobody can send to it before that.
func (g *fakeGateway) join(p *fakePeer, head string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := protocol.Welcome{Session: "s-" + p.name, Role: "frontend", Node: "fake"}
	if p.device {
		g.streams++
		p.stream = g.streams
		w.Role, w.DeviceID, w.Stream = "device", p.name, &p.stream
	} else if !g.quiet {
		for name, d := range g.byName {
			w.Devices = append(w.Devices, protocol.DeviceInfo{DeviceID: name, Stream: d.stream, Node: "fake"})
		}
	}
	welcome := wsframe.AppendFrame(nil, wsframe.OpText, gatewayMessage(protocol.TypeWelcome, "", w))
	switch {
	case g.mute || g.bare != "":
		p.raw([]byte(head))
	case g.greetSlow:
		p.raw([]byte(head[:20]))
		time.Sleep(5 * time.Millisecond)
		p.raw(append([]byte(head[20:]), welcome[:3]...))
		time.Sleep(5 * time.Millisecond)
		p.raw(welcome[3:])
	default:
		p.raw(append([]byte(head), welcome...))
	}
	g.peers[p] = true
	if p.device {
		g.byName[p.name] = p
		notice := gatewayMessage(protocol.TypeDeviceOnline, "", protocol.DeviceNotice{DeviceID: p.name, Stream: p.stream, Node: "fake"})
		for q := range g.peers {
			if !q.device && !g.quiet {
				q.raw(wsframe.AppendFrame(nil, wsframe.OpText, notice))
			}
		}
	}
}

func (g *fakeGateway) leave(p *fakePeer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.peers, p)
	if g.byName[p.name] == p {
		delete(g.byName, p.name)
	}
}

// raw writes wire bytes.
func (p *fakePeer) raw(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.nc.Write(b); err != nil {
		p.bad = true
	}
}

func (p *fakePeer) text(msg []byte) {
	msgs := [][]byte{msg}
	if f := p.g.tricks.text; f != nil {
		msgs = f(p, p.texts, msg)
	}
	p.texts++
	for _, m := range msgs {
		p.raw(wsframe.AppendFrame(nil, wsframe.OpText, m))
	}
}

// HandleMessage routes as the gateway would.
func (p *fakePeer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	p.g.mu.Lock()
	defer p.g.mu.Unlock()
	if p.g.bare != "" {
		for q := range p.g.peers {
			if q.name == p.name && (q == p) == (p.g.bare == BareEcho) {
				q.text(payload)
			}
		}
		return nil
	}
	if op == wsframe.OpBinary {
		protocol.StampStream(payload, p.stream)
		for q := range p.g.peers {
			if !q.device && q.all {
				q.telemetry(payload)
			}
		}
		return nil
	}
	var e protocol.Envelope
	if err := e.Parse(payload); err != nil {
		return err
	}
	p.route(&e)
	return nil
}

func (p *fakePeer) telemetry(frame []byte) {
	frames := [][]byte{frame}
	if f := p.g.tricks.telemetry; f != nil {
		frames = f(p, p.frames, frame)
	}
	p.frames++
	for _, f := range frames {
		switch {
		case f[0] == '{':
			p.raw(wsframe.AppendFrame(nil, wsframe.OpText, f))
		case p.g.fragment:
			p.raw(append([]byte{byte(wsframe.OpBinary), 32}, f[:32]...))
			p.raw(wsframe.AppendFrame(nil, wsframe.OpPing, []byte("?")))
			rest := wsframe.AppendFrame(nil, wsframe.OpContinuation, f[32:])
			p.raw(rest)
		default:
			p.raw(wsframe.AppendFrame(nil, wsframe.OpBinary, f))
		}
	}
}

func (p *fakePeer) route(e *protocol.Envelope) {
	g := p.g
	s := protocol.Splice{Src: p.name}
	if !p.device {
		s.Src = protocol.UserPrefix + p.name
	}
	if e.Re != nil {
		if ask, ok := g.pending[string(e.Re)]; ok {
			delete(g.pending, string(e.Re))
			s.Re = ask.id
			ask.asker.text(e.AppendSpliced(nil, s))
		}
		return
	}
	d := g.byName[string(e.Dst)]
	if d == nil {
		p.text(gatewayMessage(protocol.TypeError, string(e.ID), protocol.Error{Code: protocol.ErrDeviceOffline, Message: "no such device"}))
		return
	}
	if e.ID != nil {
		g.ids++
		s.ID = fmt.Sprintf("g%d", g.ids)
		g.pending[s.ID] = pendingCommand{asker: p, id: string(e.ID)}
	}
	d.text(e.AppendSpliced(nil, s))
}

var errBye = errors.New("peer closed")

func (p *fakePeer) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		p.raw(wsframe.AppendFrame(nil, wsframe.OpPong, payload))
	case wsframe.OpClose:
		p.raw(wsframe.AppendFrame(nil, wsframe.OpClose, payload))
		return errBye
	}
	return nil
}

// gatewayMessage builds one of the gateway's own messages.
func gatewayMessage(typ, re string, payload any) []byte {
	m, err := protocol.NewMessage(typ, payload)
	if err != nil {
		panic(err)
	}
	m.Re = re
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
