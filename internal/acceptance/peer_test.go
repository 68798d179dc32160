package acceptance

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// peer is a plain socket that speaks just enough WebSocket: it reads only when
// told to, so that a test decides how slow it is.
type peer struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	reader wsframe.Reader
	queue  []incoming
	closed uint16
}

// incoming is one message, or the close code when there is one.
type incoming struct {
	telemetry *protocol.TelemetryHeader
	text      protocol.Message
	closed    uint16
}

// connect makes a WebSocket. A receive buffer above 0 keeps the kernel from
// taking more than about that for a peer that does not read. Further header
// fields may be given, each with its end of line.
func connect(t *testing.T, addr, path string, receiveBuffer int, headers ...string) *peer {
	t.Helper()
	p, err := tryConnect(t, addr, path, receiveBuffer, headers...)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return p
}

func tryConnect(t *testing.T, addr, path string, receiveBuffer int, headers ...string) (*peer, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
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
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: labgate.v1\r\n%s\r\n", path, addr, strings.Join(headers, ""))
	in := bufio.NewReaderSize(conn, 64<<10)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("status %s", res.Status)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	p := &peer{t: t, conn: conn, in: in}
	p.reader.Init(64<<20, true)
	return p, nil
}

// next returns the next message.
func (p *peer) next(limit time.Duration) (incoming, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return incoming{}, err
	}
	for len(p.queue) == 0 {
		if _, err := p.in.Peek(1); err != nil {
			return incoming{}, err
		}
		data, err := p.in.Peek(p.in.Buffered())
		if err != nil {
			return incoming{}, err
		}
		if err := p.reader.Feed(data, p); err != nil {
			return incoming{}, err
		}
		if _, err := p.in.Discard(len(data)); err != nil {
			return incoming{}, err
		}
	}
	m := p.queue[0]
	p.queue = p.queue[1:]
	return m, nil
}

// HandleMessage implements wsframe.Handler.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		h := new(protocol.TelemetryHeader)
		if err := h.Parse(payload); err != nil {
			return err
		}
		p.queue = append(p.queue, incoming{telemetry: h})
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	p.queue = append(p.queue, incoming{text: m})
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		p.write(wsframe.AppendMaskedFrame(nil, wsframe.OpPong, 7, payload))
	case wsframe.OpClose:
		p.closed, _ = wsframe.ParseClose(payload)
		p.queue = append(p.queue, incoming{closed: p.closed})
		p.write(wsframe.AppendMaskedFrame(nil, wsframe.OpClose, 7, payload))
	}
	return nil
}

// awaitText returns the next text message of a type; others are dropped.
func (p *peer) awaitText(typ string, limit time.Duration) protocol.Message {
	p.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		m, err := p.next(time.Until(deadline))
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", typ, err)
		}
		if m.text.Type == typ {
			return m.text
		}
	}
}

// awaitClose returns the code of the gateway's close frame.
func (p *peer) awaitClose(limit time.Duration) uint16 {
	p.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		m, err := p.next(time.Until(deadline))
		if err != nil {
			p.t.Fatalf("waiting for a close frame: %v", err)
		}
		if m.closed != 0 {
			return m.closed
		}
	}
}

func (p *peer) write(b []byte) {
	// A peer that was cut off finds out when it reads.
	_, _ = p.conn.Write(b)
}

func (p *peer) sendText(format string, args ...any) {
	p.write(wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, fmt.Appendf(nil, format, args...)))
}

func (p *peer) sendBinary(b []byte) {
	p.write(wsframe.AppendMaskedFrame(nil, wsframe.OpBinary, 7, b))
}

// decode reads a message's payload.
func decode[T any](t *testing.T, m protocol.Message) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(m.Payload, &v); err != nil {
		t.Fatalf("%s payload %s: %v", m.Type, m.Payload, err)
	}
	return v
}

// telemetryFrame returns a frame of one f32 channel.
func telemetryFrame(seq uint64, count int) []byte {
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: seq, DT: 100_000, Channels: 1, Count: uint16(count)}
	b := h.Append(nil)
	for i := range count {
		b = binary.LittleEndian.AppendUint32(b, uint32(seq)+uint32(i))
	}
	return b
}
