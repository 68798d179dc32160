package wsframe

import (
	"encoding/binary"
	"math"
)

// header is a parsed frame header.
type header struct {
	size   int // bytes of the header itself; 0 while it is incomplete
	length int // bytes of payload
	key    uint32
	op     Opcode
	fin    bool
}

// parseHeader reads a frame header at the start of b, which is not empty, and
// checks it against the rules and the message in progress. Each rule is applied as
// soon as its bytes have arrived, in the order of the bytes, so that the outcome
// does not depend on how the input was cut. size is 0 if the header is not
// complete; maxHeaderSize bytes are always enough.
func (r *Reader) parseHeader(b []byte) (hd header, err error) {
	hd.fin = b[0]&finBit != 0
	hd.op = Opcode(b[0] & opcodeBits)
	if err := r.checkFirstByte(b[0]); err != nil {
		return hd, err
	}
	if len(b) < 2 {
		return hd, nil
	}
	// 5.1: a client masks all its frames, a server none.
	masked := b[1]&maskBit != 0
	if masked == r.client {
		if masked {
			return hd, errMasked
		}
		return hd, errUnmasked
	}
	length := uint64(b[1] & lengthBits)
	// 5.5: control frames have at most 125 bytes, that is no extended length.
	if hd.op.IsControl() && length > MaxControlPayload {
		return hd, errLongControl
	}
	size := 2
	switch length {
	case length16:
		size = 4
		if len(b) < size {
			return hd, nil
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
		// 5.2: the minimal number of bytes must be used.
		if length < length16 {
			return hd, errNotMinimal
		}
	case length64:
		size = 10
		if len(b) < size {
			return hd, nil
		}
		length = binary.BigEndian.Uint64(b[2:])
		// 5.2: the most significant bit must be 0.
		if length > math.MaxInt64 {
			return hd, errLengthTopBit
		}
		if length <= math.MaxUint16 {
			return hd, errNotMinimal
		}
	}
	// 10.4: limits on the message, not only on the frame, before it arrives.
	if !hd.op.IsControl() {
		if total := uint64(r.kept) + length; total > uint64(r.limit) {
			return hd, errTooBig(total, int(r.limit))
		}
		if length == 0 && !hd.fin && r.empty >= maxEmptyFragments {
			return hd, errEmptyFragments
		}
	}
	if masked {
		if len(b) < size+maskKeySize {
			return hd, nil
		}
		hd.key = binary.LittleEndian.Uint32(b[size:])
		size += maskKeySize
	}
	hd.size, hd.length = size, int(length)
	return hd, nil
}

// checkFirstByte applies the rules on FIN, RSV and opcode.
func (r *Reader) checkFirstByte(b byte) error {
	// 5.2: RSV bits are 0 unless an extension defines them.
	if b&rsvBits != 0 {
		return errRSV
	}
	op := Opcode(b & opcodeBits)
	switch op {
	case OpContinuation:
		// 5.4: a continuation needs a message that was begun.
		if r.message == 0 {
			return errNoStart
		}
	case OpText, OpBinary:
		// 5.4: fragments of one message are not interleaved with another's.
		if r.message != 0 {
			return errInterleaved
		}
	case OpClose, OpPing, OpPong:
		// 5.5: control frames are not fragmented.
		if b&finBit == 0 {
			return errFragControl
		}
	default:
		// 5.2: unknown opcodes fail the connection.
		return errReservedOpcode(op)
	}
	return nil
}
