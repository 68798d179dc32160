package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
)

// First bytes and opcodes of frames from a server, RFC 6455 section 5.2.
const (
	finBit     = 0x80
	rsvBits    = 0x70
	opMask     = 0x0f
	maskBit    = 0x80
	opContinue = byte(wsframe.OpContinuation)
	opText     = byte(wsframe.OpText)
	opBinary   = byte(wsframe.OpBinary)
	opClose    = byte(wsframe.OpClose)
	opPing     = byte(wsframe.OpPing)
	opPong     = byte(wsframe.OpPong)
)

// maxIncoming is the largest message accepted from the gateway, in bytes. The
// welcome of a front end lists every device, so it is well above a frame's.
const maxIncoming = 32 << 20

var (
	errMasked     = errors.New("masked frame from the gateway (RFC 6455 5.1)")
	errRSV        = errors.New("reserved bit set by the gateway (RFC 6455 5.2)")
	errControl    = errors.New("fragmented or oversized control frame from the gateway (RFC 6455 5.5)")
	errNoMessage  = errors.New("continuation frame without a message from the gateway (RFC 6455 5.4)")
	errInterleave = errors.New("new message within a fragmented one from the gateway (RFC 6455 5.4)")
)

// closeFrame ends a connection from our side: 1000, mask key 0.
var closeFrame = wsframe.AppendMaskedFrame(nil, wsframe.OpClose, 0, []byte{0x03, 0xe8})

// scan takes the complete frames out of data and returns the unfinished rest.
// Whole binary messages, which are nearly all, take the short way.
func (c *conn) scan(data []byte, now int64) (rest []byte, err error) {
	for len(data) >= 2 {
		size, head := uint64(data[1]), 2
		switch {
		case size < 126:
		case size == 126:
			if len(data) < 4 {
				return data, nil
			}
			size, head = uint64(binary.BigEndian.Uint16(data[2:])), 4
		case size == 127:
			if len(data) < 10 {
				return data, nil
			}
			size, head = binary.BigEndian.Uint64(data[2:]), 10
		default:
			return nil, errMasked
		}
		if size > maxIncoming {
			return nil, fmt.Errorf("frame of %d bytes from the gateway, at most %d accepted", size, maxIncoming)
		}
		end := head + int(size)
		if len(data) < end {
			return data, nil
		}
		if data[0] == finBit|opBinary && c.partialOp == 0 {
			c.onBinary(data[head:end], now)
		} else if err := c.frame(data[0], data[head:end], now); err != nil || c.state == stateClosed {
			return nil, err
		}
		data = data[end:]
	}
	return data, nil
}

// frame handles everything but whole binary messages.
func (c *conn) frame(first byte, payload []byte, now int64) error {
	if first&rsvBits != 0 {
		return errRSV
	}
	op, fin := first&opMask, first&finBit != 0
	switch op {
	case opText, opBinary:
		if c.partialOp != 0 {
			return errInterleave
		}
		if !fin {
			c.partialOp = op
			c.partial = append(c.partial[:0], payload...)
			return nil
		}
		return c.message(op, payload, now)
	case opContinue:
		if c.partialOp == 0 {
			return errNoMessage
		}
		if len(c.partial)+len(payload) > maxIncoming {
			return fmt.Errorf("message above %d bytes from the gateway", maxIncoming)
		}
		c.partial = append(c.partial, payload...)
		if !fin {
			return nil
		}
		op, payload = c.partialOp, c.partial
		c.partialOp, c.partial = 0, nil
		return c.message(op, payload, now)
	case opClose, opPing, opPong:
		if !fin || len(payload) > wsframe.MaxControlPayload {
			return errControl
		}
		return c.control(op, payload)
	}
	return fmt.Errorf("reserved opcode %#x from the gateway (RFC 6455 5.2)", op)
}

func (c *conn) message(op byte, payload []byte, now int64) error {
	if op == opBinary {
		c.onBinary(payload, now)
		return nil
	}
	return c.onText(payload, now)
}

func (c *conn) control(op byte, payload []byte) error {
	switch op {
	case opPing:
		c.write(wsframe.AppendMaskedFrame(nil, wsframe.OpPong, 0, payload))
	case opClose:
		if c.state == stateClosing {
			c.shut(false) // our own close, answered
			return nil
		}
		c.write(wsframe.AppendMaskedFrame(nil, wsframe.OpClose, 0, payload))
		return newCloseError(payload)
	}
	return nil
}

// closeError is a close frame from the gateway.
type closeError struct {
	code   uint16
	reason string
}

func newCloseError(payload []byte) *closeError {
	code, reason := wsframe.ParseClose(payload)
	return &closeError{code: code, reason: reason}
}

func (e *closeError) Error() string {
	if e.reason == "" {
		return fmt.Sprintf("closed by the gateway with %d", e.code)
	}
	return fmt.Sprintf("closed by the gateway with %d %q", e.code, e.reason)
}
