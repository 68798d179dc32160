package wsframe

import "encoding/binary"

// CutFrame cuts the first frame off wire, which holds frames as [AppendFrame]
// makes them, one behind the other: unmasked, unfragmented, without RSV bits,
// the length in its shortest form (RFC 6455, 5.2). payload is a part of wire;
// size counts header and payload and is 0 when wire does not begin with a
// whole frame of this kind. CutFrame neither checks text for UTF-8 nor the
// payload of a close frame.
func CutFrame(wire []byte) (op Opcode, payload []byte, size int) {
	if len(wire) < 2 || wire[0]&finBit == 0 || wire[0]&rsvBits != 0 || wire[1]&maskBit != 0 {
		return 0, nil, 0
	}
	op = Opcode(wire[0] & opcodeBits)
	switch op {
	case OpText, OpBinary, OpClose, OpPing, OpPong:
	default:
		return 0, nil, 0
	}
	start, length := 2, uint64(wire[1])
	switch length {
	case length16:
		if start = 4; len(wire) < start {
			return 0, nil, 0
		}
		length = uint64(binary.BigEndian.Uint16(wire[2:]))
	case length64:
		if start = 10; len(wire) < start {
			return 0, nil, 0
		}
		length = binary.BigEndian.Uint64(wire[2:])
	}
	if length > uint64(len(wire)-start) || HeaderSize(int(length)) != start || op.IsControl() && length > MaxControlPayload {
		return 0, nil, 0
	}
	size = start + int(length)
	return op, wire[start:size:size], size
}

// OpcodeOf returns the opcode of the first frame in wire, which must not be
// empty.
func OpcodeOf(wire []byte) Opcode { return Opcode(wire[0] & opcodeBits) }

// Payload returns the payload of frame, which is one frame as [AppendFrame]
// makes it, as a part of frame. It returns nil if frame is anything else, see
// [CutFrame].
func Payload(frame []byte) []byte {
	_, payload, size := CutFrame(frame)
	if size != len(frame) {
		return nil
	}
	return payload
}
