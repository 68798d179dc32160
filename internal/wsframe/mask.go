package wsframe

import (
	"encoding/binary"
	"math/bits"
)

// maskAt applies a masking key to b in place (RFC 6455, 5.3); applying it twice
// gives the original bytes. pos is the position of b[0] in the frame's
// payload, so that a payload can be masked piece by piece.
func maskAt(b []byte, key [4]byte, pos int) {
	k := binary.LittleEndian.Uint32(key[:])
	maskWords(b, bits.RotateLeft32(k, -8*(pos&3)))
}

// maskWords is maskAt with the key as a little-endian word whose lowest byte
// meets b[0]. It returns the key that meets the byte after b.
func maskWords(b []byte, key uint32) uint32 {
	k := uint64(key)<<32 | uint64(key)
	le := binary.LittleEndian
	for len(b) >= 64 {
		w := b[:64]
		le.PutUint64(w[0:], le.Uint64(w[0:])^k)
		le.PutUint64(w[8:], le.Uint64(w[8:])^k)
		le.PutUint64(w[16:], le.Uint64(w[16:])^k)
		le.PutUint64(w[24:], le.Uint64(w[24:])^k)
		le.PutUint64(w[32:], le.Uint64(w[32:])^k)
		le.PutUint64(w[40:], le.Uint64(w[40:])^k)
		le.PutUint64(w[48:], le.Uint64(w[48:])^k)
		le.PutUint64(w[56:], le.Uint64(w[56:])^k)
		b = b[64:]
	}
	for len(b) >= 8 {
		le.PutUint64(b, le.Uint64(b)^k)
		b = b[8:]
	}
	if len(b) >= 4 {
		le.PutUint32(b, le.Uint32(b)^key)
		b = b[4:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
