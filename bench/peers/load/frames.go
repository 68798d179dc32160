//go:build linux

package load

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"

	"github.com/labgate/labgate/internal/wsframe"
)

// acceptGUID is the constant of RFC 6455, 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// maxAnswer bounds the head of the server's HTTP answer, in bytes.
const maxAnswer = 16 << 10

// request is the handshake of RFC 6455, 4.1, without extensions.
func (c *conn) request() []byte {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	c.key = base64.StdEncoding.EncodeToString(nonce[:])
	r := c.p.o.Protocol.Request(c.spec)
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
		r.Path, c.p.o.Addr, c.key)
	if r.Subprotocol != "" {
		b = fmt.Appendf(b, "Sec-WebSocket-Protocol: %s\r\n", r.Subprotocol)
	}
	return append(b, "\r\n"...)
}

// upgraded takes the answer from the front of data and returns what follows
// it; the state does not change while it is not complete.
func (c *conn) upgraded(data []byte) (rest []byte, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxAnswer {
			return nil, fmt.Errorf("HTTP answer above %d bytes", maxAnswer)
		}
		return data, nil
	}
	head, rest := data[:end+4], data[end+4:]
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return nil, fmt.Errorf("HTTP answer: %w", err)
	}
	_ = resp.Body.Close()
	sum := sha1.Sum([]byte(c.key + acceptGUID))
	switch {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return nil, fmt.Errorf("server refused: %s %.200q", resp.Status, rest)
	case resp.Header.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return nil, errors.New("Sec-WebSocket-Accept does not match the key")
	case resp.Header.Get("Sec-WebSocket-Extensions") != "":
		return nil, errors.New("an extension was agreed on that was not offered")
	}
	c.state = stateJoining
	c.key = ""
	c.write(c.client.Hello())
	return rest, nil
}

var errFrame = errors.New("WebSocket frame that a server must not send (RFC 6455, 5.2)")

// frames uses up data as far as it goes: headers, control frames when they are
// complete, and of data frames whatever the protocol can use already.
func (c *conn) frames(data []byte) (rest []byte, err error) {
	for len(data) > 0 {
		if !c.inside {
			n, err := c.header(data)
			if n == 0 || err != nil {
				return data, err
			}
			data = data[n:]
		}
		chunk, last := data, false
		if c.left <= len(data) {
			chunk, last = data[:c.left], true
		}
		used := 0
		switch {
		case !c.opcode.IsControl():
			used, err = c.client.Receive(c.opcode, chunk, last, c)
		case last:
			used, err = c.left, c.control(chunk)
		}
		if err != nil || c.state == stateClosed {
			return nil, err
		}
		data, c.left = data[used:], c.left-used
		if c.left > 0 {
			return data, nil
		}
		c.inside = false
	}
	return data, nil
}

// header reads the header of a frame and returns its size; 0: it is not
// complete. Nobody here fragments messages, so that is refused.
func (c *conn) header(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	size, n := uint64(b[1]), 2
	switch {
	case size == 126:
		if n = 4; len(b) < n {
			return 0, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127:
		if n = 10; len(b) < n {
			return 0, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	case size > 127:
		return 0, errFrame // masked
	}
	c.opcode = wsframe.Opcode(b[0] & 0x0f)
	known := c.opcode == wsframe.OpText || c.opcode == wsframe.OpBinary || c.opcode.IsControl()
	if b[0]&0xf0 != 0x80 || !known || size > 1<<30 || c.opcode.IsControl() && size > wsframe.MaxControlPayload {
		return 0, errFrame
	}
	c.left, c.inside = int(size), true
	return n, nil
}

func (c *conn) control(payload []byte) error {
	switch c.opcode {
	case wsframe.OpPing:
		c.write(wsframe.AppendMaskedFrame(nil, wsframe.OpPong, 0, payload))
	case wsframe.OpClose:
		code, reason := wsframe.ParseClose(payload)
		return fmt.Errorf("closed by the server with %d %q", code, reason)
	}
	return nil
}
