package wsconn

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
)

// Bits of a frame's first byte, RFC 6455 section 5.2.
const (
	finBit  = 0x80
	rsvBits = 0x70
	opMask  = 0x0f
)

// The faults of a server's frame.
var (
	errMasked   = errors.New("masked frame from the server (RFC 6455 5.1)")
	errReserved = errors.New("reserved bit set by the server (RFC 6455 5.2)")
	errControl  = errors.New("fragmented or oversized control frame from the server (RFC 6455 5.5)")
)

// A Header is the head of a frame from the server.
type Header struct {
	First byte // FIN, reserved bits and opcode
	Len   int  // of the header itself, in bytes; 0: the header is incomplete
	Size  int  // of the payload, in bytes
}

// ParseHeader reads the header at the start of b and refuses masked frames and
// payloads above limit bytes. Header.Check checks the first byte.
func ParseHeader(b []byte, limit int) (h Header, err error) {
	if len(b) < 2 {
		return Header{}, nil
	}
	size, n := uint64(b[1]), 2
	switch {
	case size < 126:
	case size == 126:
		if n = 4; len(b) < n {
			return Header{}, nil
		}
		size = uint64(binary.BigEndian.Uint16(b[2:]))
	case size == 127:
		if n = 10; len(b) < n {
			return Header{}, nil
		}
		size = binary.BigEndian.Uint64(b[2:])
	default:
		return Header{}, errMasked
	}
	if size > uint64(limit) {
		return Header{}, fmt.Errorf("frame of %d bytes from the server, at most %d accepted", size, limit)
	}
	return Header{First: b[0], Len: n, Size: int(size)}, nil
}

// Opcode is the frame's opcode, known or not.
func (h Header) Opcode() wsframe.Opcode { return wsframe.Opcode(h.First & opMask) }

// Final reports whether the frame is the last of its message.
func (h Header) Final() bool { return h.First&finBit != 0 }

// Check refuses reserved bits, unknown opcodes, and control frames that are
// fragmented or too large.
func (h Header) Check() error {
	if h.First&rsvBits != 0 {
		return errReserved
	}
	switch op := h.Opcode(); op {
	case wsframe.OpContinuation, wsframe.OpText, wsframe.OpBinary:
		return nil
	case wsframe.OpClose, wsframe.OpPing, wsframe.OpPong:
		if !h.Final() || h.Size > wsframe.MaxControlPayload {
			return errControl
		}
		return nil
	default:
		return fmt.Errorf("reserved opcode %#x from the server (RFC 6455 5.2)", byte(op))
	}
}

// CloseError is a close frame from the server.
type CloseError struct {
	Code   uint16
	Reason string
}

// NewCloseError reads the payload of a close frame.
func NewCloseError(payload []byte) *CloseError {
	code, reason := wsframe.ParseClose(payload)
	return &CloseError{Code: code, Reason: reason}
}

func (e *CloseError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("closed by the server with %d", e.Code)
	}
	return fmt.Sprintf("closed by the server with %d %q", e.Code, e.Reason)
}
