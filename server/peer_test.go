package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// peer is a WebSocket client made by hand, without a goroutine: what comes is
// read when a test asks for it.
type peer struct {
	t       testing.TB
	conn    net.Conn
	reader  wsframe.Reader
	got     []frame
	buf     []byte
	welcome protocol.Welcome
	// mute leaves pings unanswered.
	mute bool
}

// frame is a message or control frame that came.
type frame struct {
	op   wsframe.Opcode
	data []byte
}

// HandleMessage implements wsframe.Handler.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	p.got = append(p.got, frame{op, bytes.Clone(payload)})
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpPing {
		if !p.mute {
			_, _ = p.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpPong, rand.Uint32(), payload))
		}
		return nil
	}
	p.got = append(p.got, frame{op, bytes.Clone(payload)})
	return nil
}

// request is a handshake for path.
func request(path string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: labgate.v1\r\n" +
		strings.Join(append(headers, "", ""), "\r\n")
}

// upgrade makes the handshake for path and reads the welcome.
func (g *gateway) upgrade(path string) *peer {
	g.t.Helper()
	p, err := g.tryUpgrade(path)
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
	return p
}

func (g *gateway) tryUpgrade(path string) (*peer, error) {
	return g.tryUpgradeWith(&net.Dialer{Timeout: patience}, path)
}

// narrow dials with the smallest receive buffer that the kernel grants, for a
// client that is going to stop reading.
var narrow = &net.Dialer{Timeout: patience, Control: func(_, _ string, c syscall.RawConn) error {
	var opt error
	err := c.Control(func(fd uintptr) { opt = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	return errors.Join(err, opt)
}}

func (g *gateway) upgradeNarrow(path string) *peer {
	g.t.Helper()
	p, err := g.tryUpgradeWith(narrow, path)
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
	return p
}

func (g *gateway) tryUpgradeWith(d *net.Dialer, path string) (*peer, error) {
	conn, err := g.tryDialWith(d)
	if err != nil {
		return nil, err
	}
	return g.upgradeOver(conn, path)
}

// upgradeOver makes the handshake over a connection.
func (g *gateway) upgradeOver(conn net.Conn, path string) (*peer, error) {
	return g.upgradeOverAs(conn, path, "")
}

// upgradeOverAs does so with a token, "" for none.
func (g *gateway) upgradeOverAs(conn net.Conn, path, token string) (*peer, error) {
	var headers []string
	if token != "" {
		headers = []string{"Authorization: Bearer " + token}
	}
	p := newPeer(g.t, conn)
	if _, err := io.WriteString(conn, request(path, headers...)); err != nil {
		return nil, err
	}
	head, err := p.readHead()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		return nil, fmt.Errorf("answer %q", head)
	}
	f, err := p.next()
	if err != nil {
		return nil, err
	}
	m := p.message(f)
	if m.Type != protocol.TypeWelcome {
		return nil, fmt.Errorf("the first message is %s", f.data)
	}
	return p, json.Unmarshal(m.Payload, &p.welcome)
}

func newPeer(t testing.TB, conn net.Conn) *peer {
	p := &peer{t: t, conn: conn, buf: make([]byte, 64<<10)}
	p.reader.Init(64<<20, true)
	return p
}

// readHead reads the answer to the handshake; frames behind it are kept.
func (p *peer) readHead() (string, error) {
	var head []byte
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	for {
		n, err := p.conn.Read(p.buf)
		head = append(head, p.buf[:n]...)
		if i := bytes.Index(head, []byte("\r\n\r\n")); i >= 0 {
			return string(head[:i+4]), p.reader.Feed(head[i+4:], p)
		}
		if err != nil {
			return string(head), fmt.Errorf("handshake answer after %q: %w", head, err)
		}
	}
}

// next returns the next frame; io.EOF or another error when the connection has
// ended.
func (p *peer) next() (frame, error) { return p.nextWithin(patience) }

func (p *peer) nextWithin(d time.Duration) (frame, error) {
	deadline := time.Now().Add(d)
	for len(p.got) == 0 {
		_ = p.conn.SetReadDeadline(deadline)
		n, err := p.conn.Read(p.buf)
		if n > 0 {
			if bad := p.reader.Feed(p.buf[:n], p); bad != nil {
				return frame{}, bad
			}
			continue
		}
		if err != nil {
			return frame{}, err
		}
	}
	f := p.got[0]
	p.got = p.got[1:]
	return f, nil
}

// message decodes a text frame.
func (p *peer) message(f frame) protocol.Message {
	p.t.Helper()
	var e protocol.Envelope
	if f.op != wsframe.OpText {
		p.t.Fatalf("%v with %d bytes came, a message was expected; close %v", f.op, len(f.data), closeOf(f))
	}
	if err := e.Parse(f.data); err != nil {
		p.t.Fatalf("%s: %v", f.data, err)
	}
	return e.Message()
}

// await returns the next message of the given type and passes over all else
// but a close.
func (p *peer) await(typ string) protocol.Message {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", typ, err)
		}
		switch f.op {
		case wsframe.OpText:
			if m := p.message(f); m.Type == typ {
				return m
			}
		case wsframe.OpClose:
			p.t.Fatalf("waiting for %s: closed with %s", typ, closeOf(f))
		}
	}
}

// awaitClose returns the code and reason of the close frame and passes over
// all before it.
func (p *peer) awaitClose() (code protocol.CloseCode, reason string) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("waiting for a close frame: %v", err)
		}
		if f.op == wsframe.OpClose {
			c, reason := wsframe.ParseClose(f.data)
			return protocol.CloseCode(c), reason
		}
	}
}

// expectClose checks the next close frame, answers it and waits for the end of
// the connection.
func (p *peer) expectClose(want protocol.CloseCode) {
	p.t.Helper()
	code, reason := p.awaitClose()
	if code != want || reason != want.Name() {
		p.t.Errorf("closed with %d %q, want %d %q", code, reason, want, want.Name())
	}
	p.sendClose(uint16(want))
	p.expectEnd()
}

// expectEnd waits for the end of the connection; nothing may come before it.
func (p *peer) expectEnd() {
	p.t.Helper()
	if f, err := p.next(); err == nil {
		p.t.Errorf("%v came, the end was expected: %.100q", f.op, f.data)
	} else if isTimeout(err) {
		p.t.Error("the connection was not closed")
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// write sends bytes as they are.
func (p *peer) write(b []byte) {
	p.t.Helper()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) send(op wsframe.Opcode, payload []byte) {
	p.t.Helper()
	p.write(wsframe.AppendMaskedFrame(nil, op, rand.Uint32(), payload))
}

func (p *peer) text(format string, args ...any) {
	p.t.Helper()
	p.send(wsframe.OpText, fmt.Appendf(nil, format, args...))
}

// sendClose sends a close frame; that the other side has gone already is no
// failure.
func (p *peer) sendClose(code uint16) {
	payload := wsframe.AppendClose(nil, code, "")[2:]
	_, _ = p.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpClose, rand.Uint32(), payload))
}

// vanish ends the connection with a reset.
func (p *peer) vanish() {
	conn := p.conn
	if tc, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tc.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

func closeOf(f frame) string {
	if f.op != wsframe.OpClose {
		return "none"
	}
	code, reason := wsframe.ParseClose(f.data)
	return fmt.Sprintf("%d %q", code, reason)
}

// telemetry returns a frame with count samples of one f32 channel from seq on;
// value i is float32(seq+i).
func telemetry(seq uint64, count int) []byte {
	h := protocol.TelemetryHeader{
		Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: seq, T0: int64(seq) * 100_000,
		DT: 100_000, Channels: 1, Count: uint16(count),
	}
	b := h.Append(make([]byte, 0, protocol.TelemetryHeaderSize+4*count))
	for i := range count {
		b = protocol.AppendF32(b, float32(seq+uint64(i)))
	}
	return b
}

// uuidOf returns the id of a peer's session.
func uuidOf(t testing.TB, p *peer) uuid.UUID {
	t.Helper()
	id, err := uuid.Parse(p.welcome.Session)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
