package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// patience is how long anything that must come is waited for.
const patience = 30 * time.Second

// peer is a WebSocket client whose reading goroutine calls onText and
// onTelemetry.
type peer struct {
	conn        net.Conn
	in          *bufio.Reader
	reader      wsframe.Reader
	onText      func(protocol.Message)
	onTelemetry func(protocol.TelemetryHeader)
	// pause is how long the peer rests before each read, in nanoseconds.
	pause atomic.Int64
	// closed is the gateway's close code, valid after run.
	closed uint16

	// mu serialises writing.
	mu sync.Mutex
}

// dial makes the handshake with a token. A receive buffer of 0 is the kernel's
// own.
func dial(addr, path, token string, receiveBuffer int) (*peer, error) {
	d := net.Dialer{Timeout: patience}
	if receiveBuffer > 0 {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
			})
			return errors.Join(err, opt)
		}
	}
	conn, err := d.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: labgate.v1\r\nAuthorization: Bearer %s\r\n\r\n", path, addr, token)
	in := bufio.NewReaderSize(conn, 32<<10)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		conn.Close()
		return nil, fmt.Errorf("%s: %s", path, res.Status)
	}
	_ = conn.SetDeadline(time.Time{})
	p := &peer{conn: conn, in: in}
	p.reader.Init(64<<20, true)
	return p, nil
}

// run reads until the connection ends.
func (p *peer) run() {
	defer p.conn.Close()
	for {
		time.Sleep(time.Duration(p.pause.Load()))
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
		if p.onTelemetry != nil {
			p.onTelemetry(h)
		}
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	if p.onText != nil {
		p.onText(m)
	}
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		p.send(wsframe.OpPong, payload)
	case wsframe.OpClose:
		p.closed, _ = wsframe.ParseClose(payload)
		p.send(wsframe.OpClose, payload)
	}
	return nil
}

func (p *peer) send(op wsframe.Opcode, payload []byte) {
	p.write(wsframe.AppendMaskedFrame(nil, op, rand.Uint32(), payload))
}

func (p *peer) write(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = p.conn.Write(b)
}

// leave closes politely, reset at once.
func (p *peer) leave() { p.send(wsframe.OpClose, []byte{0x03, 0xe8}) }

func (p *peer) reset() {
	_ = p.conn.(*net.TCPConn).SetLinger(0)
	_ = p.conn.Close()
}

// samples is a telemetry frame.
func samples(seq uint64, count int) []byte {
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: seq, DT: 100_000, Channels: 1, Count: uint16(count)}
	return append(h.Append(nil), make([]byte, h.BodySize())...)
}
