package bench

import (
	"errors"
	"fmt"

	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/internal/wsframe"
)

// wholeBinary is the first byte of a binary message in one frame.
const wholeBinary = 0x80 | byte(wsframe.OpBinary)

// maxIncoming is the largest message accepted from the gateway, in bytes. The
// welcome of a front end lists every device, so the limit is far above the size
// of a frame.
const maxIncoming = 32 << 20

var (
	errNoMessage  = errors.New("continuation frame without a message from the server (RFC 6455 5.4)")
	errInterleave = errors.New("new message within a fragmented one from the server (RFC 6455 5.4)")
)

// closeFrame ends a connection from our side: 1000, mask key 0.
var closeFrame = wsframe.AppendMaskedFrame(nil, wsframe.OpClose, 0, []byte{0x03, 0xe8})

// scan processes the complete frames in data and returns the unfinished rest.
// Whole binary messages, which are nearly all messages, have a fast path.
func (c *conn) scan(data []byte, now int64) (rest []byte, err error) {
	for {
		h, err := wsconn.ParseHeader(data, maxIncoming)
		end := h.Len + h.Size
		if err != nil || h.Len == 0 || len(data) < end {
			return data, err
		}
		if h.First == wholeBinary && c.partialOp == 0 {
			c.onBinary(data[h.Len:end], now)
		} else if err := c.frame(h, data[h.Len:end], now); err != nil || c.state == stateClosed {
			return nil, err
		}
		data = data[end:]
	}
}

// frame handles everything but whole binary messages.
func (c *conn) frame(h wsconn.Header, payload []byte, now int64) error {
	if err := h.Check(); err != nil {
		return err
	}
	op := h.Opcode()
	switch op {
	case wsframe.OpText, wsframe.OpBinary:
		if c.partialOp != 0 {
			return errInterleave
		}
		if !h.Final() {
			c.partialOp = op
			c.partial = append(c.partial[:0], payload...)
			return nil
		}
		return c.message(op, payload, now)
	case wsframe.OpContinuation:
		if c.partialOp == 0 {
			return errNoMessage
		}
		if len(c.partial)+len(payload) > maxIncoming {
			return fmt.Errorf("message of more than %d bytes from the server", maxIncoming)
		}
		c.partial = append(c.partial, payload...)
		if !h.Final() {
			return nil
		}
		op, payload = c.partialOp, c.partial
		c.partialOp, c.partial = 0, nil
		return c.message(op, payload, now)
	}
	return c.control(op, payload)
}

func (c *conn) message(op wsframe.Opcode, payload []byte, now int64) error {
	if op == wsframe.OpBinary {
		c.onBinary(payload, now)
		return nil
	}
	return c.onText(payload, now)
}

func (c *conn) control(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		c.write(wsframe.AppendMaskedFrame(nil, wsframe.OpPong, 0, payload))
	case wsframe.OpClose:
		if c.state == stateClosing {
			c.shut(false) // our own close, answered
			return nil
		}
		c.write(wsframe.AppendMaskedFrame(nil, wsframe.OpClose, 0, payload))
		return wsconn.NewCloseError(payload)
	}
	return nil
}
