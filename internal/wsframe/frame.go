package wsframe

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// Opcode is the kind of a frame (RFC 6455, 5.2).
type Opcode uint8

// The opcodes of RFC 6455, 11.8; all the others are reserved and refused.
const (
	OpContinuation Opcode = 0x0
	OpText         Opcode = 0x1
	OpBinary       Opcode = 0x2
	OpClose        Opcode = 0x8
	OpPing         Opcode = 0x9
	OpPong         Opcode = 0xA
)

// MaxControlPayload is the most bytes the payload of a close, ping or pong
// frame may have (RFC 6455, 5.5).
const MaxControlPayload = 125

// Bits of the first two header bytes (RFC 6455, 5.2).
const (
	finBit     = 0x80
	rsvBits    = 0x70
	opcodeBits = 0x0F
	maskBit    = 0x80
	lengthBits = 0x7F

	length16 = 126 // the 7-bit length that announces a 16-bit one
	length64 = 127 // the 7-bit length that announces a 64-bit one

	maskKeySize   = 4
	maxHeaderSize = 2 + 8 + maskKeySize
)

// IsControl reports whether op is a control opcode, known or reserved
// (RFC 6455, 5.5: the most significant bit of the opcode is 1).
func (op Opcode) IsControl() bool { return op&0x8 != 0 }

// String returns the opcode's name in RFC 6455, or "opcode N" for a reserved one.
func (op Opcode) String() string {
	switch op {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return "opcode " + strconv.Itoa(int(op))
}

// HeaderSize returns how many bytes the header of an unmasked frame with a
// payload of n bytes takes: 2, 4 or 10 (RFC 6455, 5.2). A masked frame's
// header is 4 bytes longer.
func HeaderSize(n int) int {
	switch {
	case n < length16:
		return 2
	case n <= 0xFFFF:
		return 4
	}
	return 10
}

// AppendHeader appends the header of an unmasked, unfragmented frame whose
// payload of n bytes the caller appends next. For control opcodes n must be
// at most [MaxControlPayload].
func AppendHeader(dst []byte, op Opcode, n int) []byte {
	return appendHeader(dst, op, n, 0)
}

// AppendFrame appends an unmasked, unfragmented frame, as servers send them.
// For control opcodes the payload must be at most [MaxControlPayload] bytes.
func AppendFrame(dst []byte, op Opcode, payload []byte) []byte {
	dst = slices.Grow(dst, HeaderSize(len(payload))+len(payload))
	dst = appendHeader(dst, op, len(payload), 0)
	return append(dst, payload...)
}

// AppendMaskedFrame appends a masked, unfragmented frame, as clients send
// them (RFC 6455, 5.3). The most significant byte of key is the first one on
// the wire; the caller takes a fresh random key for every frame. payload is
// left as it is. For control opcodes the payload must be at most
// [MaxControlPayload] bytes.
func AppendMaskedFrame(dst []byte, op Opcode, key uint32, payload []byte) []byte {
	dst = slices.Grow(dst, HeaderSize(len(payload))+maskKeySize+len(payload))
	dst = appendHeader(dst, op, len(payload), maskBit)
	dst = binary.BigEndian.AppendUint32(dst, key)
	start := len(dst)
	dst = append(dst, payload...)
	maskAt(dst[start:], [4]byte{byte(key >> 24), byte(key >> 16), byte(key >> 8), byte(key)}, 0)
	return dst
}

// appendHeader appends a FIN header up to the masking key. The length takes
// the shortest form that holds it, as RFC 6455, 5.2 demands.
func appendHeader(dst []byte, op Opcode, n int, mask byte) []byte {
	b0 := finBit | byte(op)
	switch {
	case n < length16:
		return append(dst, b0, mask|byte(n))
	case n <= 0xFFFF:
		return append(dst, b0, mask|length16, byte(n>>8), byte(n))
	}
	dst = append(dst, b0, mask|length64)
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}
