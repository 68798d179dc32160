//go:build linux

package load

import (
	"errors"

	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/internal/wsframe"
)

// maxPayload bounds the payload of a frame, in bytes. Servers join messages.
const maxPayload = 1 << 30

// errFragment: the servers of the comparison fragment no message.
var errFragment = errors.New("fragmented message from the server, which the load program does not read")

// upgraded parses the HTTP response at the beginning of data and returns the
// bytes after it; the state does not change while the response is incomplete.
func (c *conn) upgraded(data []byte) (rest []byte, err error) {
	rest, done, err := c.handshake.Response(data)
	if err != nil || !done {
		return rest, err
	}
	c.state = stateJoining
	c.write(c.client.Hello())
	return rest, nil
}

// frames processes as much of data as possible: headers, complete control
// frames, and the part of data frames that the protocol can already use.
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

// header reads the header of a frame and returns its size; 0: incomplete.
func (c *conn) header(b []byte) (int, error) {
	h, err := wsconn.ParseHeader(b, maxPayload)
	if err != nil || h.Len == 0 {
		return 0, err
	}
	if err := h.Check(); err != nil {
		return 0, err
	}
	if !h.Final() || h.Opcode() == wsframe.OpContinuation {
		return 0, errFragment
	}
	c.opcode, c.left, c.inside = h.Opcode(), h.Size, true
	return h.Len, nil
}

func (c *conn) control(payload []byte) error {
	switch c.opcode {
	case wsframe.OpPing:
		c.write(wsframe.AppendMaskedFrame(nil, wsframe.OpPong, 0, payload))
	case wsframe.OpClose:
		return wsconn.NewCloseError(payload)
	}
	return nil
}
