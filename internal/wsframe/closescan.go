package wsframe

import (
	"encoding/binary"
	"math"
)

// scanForClose looks for a close frame in the input after an error. After most
// errors the boundaries of frames are still known, and frames are skipped by their
// lengths. If the boundaries are lost, because a peer sent less than its header
// announced for instance, a piece of input that is exactly one close frame counts
// too: a peer answers our close frame in that way.
func (r *Reader) scanForClose(data []byte) {
	if isClose(data, r.client) {
		r.closed = true
	}
	for len(data) > 0 && !r.closed {
		if r.left > 0 {
			n := min(int(r.left), len(data))
			r.left -= uint32(n)
			data = data[n:]
		} else {
			held := int(r.held)
			n := copy(r.heldHead[held:], data)
			size, length := looseHeader(r.heldHead[:held+n])
			if size == 0 {
				r.held += uint8(n)
				return
			}
			r.op = Opcode(r.heldHead[0] & opcodeBits)
			r.held, r.left = 0, length
			data = data[size-held:]
		}
		// A close frame counts when it is complete: closing a connection with
		// unread input resets it, and the peer may never see our close frame.
		if r.left == 0 && r.op == OpClose {
			r.closed = true
		}
	}
}

// looseHeader reads a frame header without checking it: its size, 0 while it is
// incomplete, and the bytes of payload, at most math.MaxUint32.
func looseHeader(b []byte) (size int, length uint32) {
	if len(b) < 2 {
		return 0, 0
	}
	size = 2
	n := uint64(b[1] & lengthBits)
	switch n {
	case length16:
		size = 4
	case length64:
		size = 10
	}
	keyAt := size
	if b[1]&maskBit != 0 {
		size += maskKeySize
	}
	if len(b) < size {
		return 0, 0
	}
	switch keyAt {
	case 4:
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		n = binary.BigEndian.Uint64(b[2:])
	}
	return size, uint32(min(n, math.MaxUint32))
}

// isClose reports whether data is one close frame with a legal code, or without
// a payload, and nothing else.
func isClose(data []byte, client bool) bool {
	head := 2
	if !client {
		head += maskKeySize
	}
	n := len(data) - head
	if n < 0 || n > MaxControlPayload || data[0] != finBit|byte(OpClose) || int(data[1]&lengthBits) != n || (data[1]&maskBit != 0) == client {
		return false
	}
	if n < 2 {
		return n == 0
	}
	code := binary.BigEndian.Uint16(data[head:])
	if !client {
		code ^= binary.BigEndian.Uint16(data[2:])
	}
	return legalCloseCode(code)
}
