package acceptance

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// rawClient is an implementation of RFC 6455 that shares no code with the
// gateway, so that no misreading of the RFC can hide in shared code. It has no
// goroutine: received bytes stay in the kernel until a method reads them.
type rawClient struct {
	conn net.Conn
	in   *bufio.Reader
}

// rawFrame is a received frame.
type rawFrame struct {
	first   byte // FIN, RSV and opcode
	payload []byte
}

// dialRaw opens a connection to /ws/echo.
func dialRaw(g *gatewaytest.Gateway, m echoMode) (*rawClient, error) {
	conn, err := net.DialTimeout("tcp", g.Addr, gatewaytest.Patience)
	if err != nil {
		return nil, err
	}
	if m.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	c := &rawClient{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	c.more()
	fmt.Fprintf(conn, "GET /ws/echo HTTP/1.1\r\nUser-Agent: conformance\r\nHost: %s\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n"+
		"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; client_max_window_bits\r\n\r\n", g.Addr)
	res, err := http.ReadResponse(c.in, nil)
	if err == nil && (res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != "HSmrc0sMlYUkAGmm5OPpG2HaGWk=" || res.Header["Sec-Websocket-Extensions"] != nil) {
		err = fmt.Errorf("the handshake was answered with %s %v", res.Status, res.Header)
	}
	if err != nil {
		conn.Close()
	}
	return c, err
}

// more extends the connection's deadline.
func (c *rawClient) more() { _ = c.conn.SetDeadline(time.Now().Add(2 * gatewaytest.Patience)) }

// rawBytes encodes a masked frame with any first byte.
func rawBytes(first byte, payload []byte) []byte {
	key := [4]byte{0xde, 0xad, 0x00, 0x7f}
	out := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		out = append(out, 0x80|byte(n))
	case n <= 0xffff:
		out = append(out, 0x80|126, byte(n>>8), byte(n))
	default:
		out = append(out, 0x80|127)
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	out = append(out, key[:]...)
	begin := len(out)
	out = append(out, payload...)
	subtle.XORBytes(out[begin:], out[begin:], bytes.Repeat(key[:], len(payload)/4+1))
	return out
}

// rawFragments encodes a message in fragments of so many bytes.
func rawFragments(opcode byte, payload []byte, size int) []byte {
	var out []byte
	for first := opcode; ; first = 0 {
		if len(payload) <= size {
			return append(out, rawBytes(0x80|first, payload)...)
		}
		out = append(out, rawBytes(first, payload[:size])...)
		payload = payload[size:]
	}
}

// write sends all of b, in pieces of so many bytes.
func (c *rawClient) write(b []byte, piece int) error {
	for len(b) > 0 {
		n := min(piece, len(b))
		if _, err := c.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// next reads one frame. A server must not mask (RFC 6455 section 5.1), and sets
// no reserved bit without an extension.
func (c *rawClient) next() (rawFrame, error) {
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(c.in, head); err != nil {
		return rawFrame{}, err
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return rawFrame{}, fmt.Errorf("the frame begins with %x", head)
	}
	length := uint64(head[1])
	if more := map[uint64]int{126: 2, 127: 8}[length]; more > 0 {
		head = head[:2+more]
		if _, err := io.ReadFull(c.in, head[2:]); err != nil {
			return rawFrame{}, err
		}
		length = 0
		for _, b := range head[2:] {
			length = length<<8 | uint64(b)
		}
		if least := map[int]uint64{2: 126, 8: 1 << 16}[more]; length < least {
			return rawFrame{}, fmt.Errorf("%d bytes are announced as %x", length, head)
		}
	}
	if length > 64<<20 {
		return rawFrame{}, fmt.Errorf("a frame of %d bytes", length)
	}
	f := rawFrame{first: head[0], payload: make([]byte, length)}
	_, err := io.ReadFull(c.in, f.payload)
	return f, err
}

// expect reads a frame and compares it.
func (c *rawClient) expect(first byte, payload []byte) error {
	f, err := c.next()
	if err != nil {
		return err
	}
	if f.first != first || string(f.payload) != string(payload) {
		return fmt.Errorf("%#x of %d bytes %.40q came, %#x of %d bytes %.40q was expected", f.first, len(f.payload), f.payload, first, len(payload), payload)
	}
	return nil
}

// expectClosed reads a close frame with this code, answers it, and waits for
// the server to close the TCP connection (RFC 6455 section 7.1.1). No other
// frame may arrive.
func (c *rawClient) expectClosed(code uint16) error {
	f, err := c.next()
	if err != nil {
		return err
	}
	if f.first != 0x88 || len(f.payload) < 2 || binary.BigEndian.Uint16(f.payload) != code {
		return fmt.Errorf("%#x %.100q came, a close frame with %d was expected", f.first, f.payload, code)
	}
	_, _ = c.conn.Write(rawBytes(0x88, f.payload[:2]))
	return c.expectEnd()
}

func (c *rawClient) expectEnd() error {
	b, err := c.in.ReadByte()
	if err == nil {
		return fmt.Errorf("behind the close frame came %#x", b)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return errors.New("the server does not end the connection")
	}
	return nil
}
