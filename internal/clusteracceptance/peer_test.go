package clusteracceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// peer is a WebSocket client whose goroutine reads until the connection ends
// and keeps what came.
type peer struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	reader wsframe.Reader
	// onText, if set, sees each text message first, on the reading goroutine.
	onText func(*peer, protocol.Message)
	// done is closed when the connection has ended.
	done chan struct{}

	// writing serialises writes.
	writing sync.Mutex

	// mu guards the rest.
	mu      sync.Mutex
	texts   []protocol.Message // that no await has taken yet
	closed  uint16             // the gateway's close code
	streams map[uint32]string  // device ids by stream
	books   map[string]*book   // by device id
	welcome protocol.Welcome
}

// connect makes a WebSocket and waits for the welcome.
func connect(t *testing.T, n *node, path string) *peer {
	t.Helper()
	p, err := tryConnect(t, n.addr, path, nil)
	if err != nil {
		t.Fatalf("%s of node %s: %v", path, n.name, err)
	}
	t.Cleanup(p.reset)
	return p
}

func tryConnect(t *testing.T, addr, path string, onText func(*peer, protocol.Message)) (*peer, error) {
	d := net.Dialer{Timeout: patience}
	conn, err := d.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: labgate.v1\r\n\r\n", path, addr)
	p := &peer{t: t, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), onText: onText, done: make(chan struct{}), streams: map[uint32]string{}, books: map[string]*book{}}
	res, err := http.ReadResponse(p.in, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		conn.Close()
		return nil, fmt.Errorf("status %s", res.Status)
	}
	_ = conn.SetDeadline(time.Time{})
	p.reader.Init(64<<20, true)
	go p.run()
	m, err := p.tryAwait(patience, func(m protocol.Message) bool { return m.Type == protocol.TypeWelcome })
	if err != nil {
		p.reset()
		return nil, err
	}
	return p, json.Unmarshal(m.Payload, &p.welcome)
}

func (p *peer) run() {
	defer close(p.done)
	defer p.conn.Close()
	for {
		if _, err := p.in.Peek(1); err != nil {
			return
		}
		data, err := p.in.Peek(p.in.Buffered())
		if err != nil || p.reader.Feed(data, p) != nil {
			return
		}
		if _, err := p.in.Discard(len(data)); err != nil {
			return
		}
	}
}

// HandleMessage implements wsframe.Handler.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		var h protocol.TelemetryHeader
		if err := h.Parse(payload); err != nil {
			return err
		}
		p.mu.Lock()
		p.note(h.Stream, h.Seq, h.End(), "")
		p.mu.Unlock()
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	if p.onText != nil {
		p.onText(p, m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Type {
	case protocol.TypeWelcome:
		w := parse[protocol.Welcome](p.t, m)
		for _, d := range w.Devices {
			p.streams[d.Stream] = d.DeviceID
		}
	case protocol.TypeDeviceOnline:
		d := parse[protocol.DeviceNotice](p.t, m)
		p.streams[d.Stream] = d.DeviceID
	case protocol.TypeLost:
		l := parse[protocol.Lost](p.t, m)
		p.note(l.Stream, l.From, l.To, l.Cause)
	}
	p.texts = append(p.texts, m)
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		p.send(wsframe.OpPong, payload)
	case wsframe.OpClose:
		p.mu.Lock()
		p.closed, _ = wsframe.ParseClose(payload)
		p.mu.Unlock()
		p.send(wsframe.OpClose, payload)
	}
	return nil
}

// await takes the first message that matches out of what came, or comes.
func (p *peer) await(what string, match func(protocol.Message) bool) protocol.Message {
	p.t.Helper()
	m, err := p.tryAwait(patience, match)
	if err != nil {
		p.t.Fatalf("waiting for %s: %v; there is %v", what, err, p.types())
	}
	return m
}

func (p *peer) tryAwait(limit time.Duration, match func(protocol.Message) bool) (protocol.Message, error) {
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		over := p.ended()
		p.mu.Lock()
		for i, m := range p.texts {
			if match(m) {
				p.texts = append(p.texts[:i:i], p.texts[i+1:]...)
				p.mu.Unlock()
				return m, nil
			}
		}
		code := p.closed
		p.mu.Unlock()
		if over {
			return protocol.Message{}, fmt.Errorf("the connection has ended, close code %d", code)
		}
		if time.Now().After(end) {
			return protocol.Message{}, fmt.Errorf("nothing for %v", limit)
		}
	}
}

// awaitType is await for the next message of a type.
func (p *peer) awaitType(typ string) protocol.Message {
	p.t.Helper()
	return p.await(typ, func(m protocol.Message) bool { return m.Type == typ })
}

// awaitRe is await for the answer to a message.
func (p *peer) awaitRe(id string) protocol.Message {
	p.t.Helper()
	return p.await("an answer to "+id, func(m protocol.Message) bool { return m.Re == id })
}

// awaitError is awaitRe for an error, and returns its code.
func (p *peer) awaitError(id string) string {
	p.t.Helper()
	m := p.awaitRe(id)
	if m.Type != protocol.TypeError {
		p.t.Fatalf("%s was answered with %s %s", id, m.Type, m.Payload)
	}
	return string(parse[protocol.ErrorPayload](p.t, m).Code)
}

// awaitNotice waits until a device is announced as being there or gone.
func (p *peer) awaitNotice(typ, device string) protocol.DeviceNotice {
	p.t.Helper()
	m := p.await(typ+" of "+device, func(m protocol.Message) bool {
		return m.Type == typ && parse[protocol.DeviceNotice](p.t, m).DeviceID == device
	})
	return parse[protocol.DeviceNotice](p.t, m)
}

// awaitDevice waits until the front end knows that a device is there.
func (p *peer) awaitDevice(device string) {
	p.t.Helper()
	if !slices.ContainsFunc(p.welcome.Devices, func(d protocol.DeviceInfo) bool { return d.DeviceID == device }) {
		p.awaitNotice(protocol.TypeDeviceOnline, device)
	}
}

// notices returns the notices that no await has taken, as "online a node
// reason".
func (p *peer) notices() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.texts {
		word := map[string]string{protocol.TypeDeviceOnline: "online", protocol.TypeDeviceOffline: "offline"}[m.Type]
		if word != "" {
			d := parse[protocol.DeviceNotice](p.t, m)
			all = append(all, fmt.Sprintf("%s %s %s %s", word, d.DeviceID, d.Node, d.Reason))
		}
	}
	return all
}

// types returns the types of the messages that no await has taken.
func (p *peer) types() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.texts {
		all = append(all, m.Type)
	}
	return all
}

func (p *peer) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// awaitClose waits for the end of the connection and returns the gateway's
// close code.
func (p *peer) awaitClose() uint16 {
	p.t.Helper()
	eventually(p.t, "the connection ends", p.ended)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *peer) text(format string, args ...any) {
	p.send(wsframe.OpText, fmt.Appendf(nil, format, args...))
}

func (p *peer) send(op wsframe.Opcode, payload []byte) {
	p.writing.Lock()
	defer p.writing.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	// A peer that was cut off finds out when it reads.
	_, _ = p.conn.Write(wsframe.AppendMaskedFrame(nil, op, rand.Uint32(), payload))
}

// reset ends the connection without a word.
func (p *peer) reset() {
	_ = p.conn.(*net.TCPConn).SetLinger(0)
	_ = p.conn.Close()
	<-p.done
}

// parse reads a message's payload.
func parse[T any](t *testing.T, m protocol.Message) T {
	var v T
	if err := json.Unmarshal(m.Payload, &v); err != nil {
		t.Errorf("%s payload %s: %v", m.Type, m.Payload, err)
	}
	return v
}

// samples is a telemetry frame of one channel.
func samples(seq uint64, count int) []byte {
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: seq, DT: 100_000, Channels: 1, Count: uint16(count)}
	return append(h.Append(nil), make([]byte, h.BodySize())...)
}
