package wsframe

import (
	"math/bits"
	"sync"
)

// Buffer sizes are powers of two. Buffers larger than maxPooled are left to the
// garbage collector, so that the pools do not keep the memory of the largest
// messages for ever.
const (
	minBufferBits = 8  // 256 bytes
	maxBufferBits = 16 // 64 KiB
	maxPooled     = 1 << maxBufferBits

	// allocAhead is how many bytes are allocated for what a header announces and
	// has not arrived. Above it a buffer is at most twice as large as what has
	// arrived.
	allocAhead = 1024
)

// buffer holds the bytes of one unfinished message. It is passed by pointer, so
// that neither the pools nor the Reader need a slice header of their own.
type buffer struct{ data []byte }

var bufferPools [maxBufferBits - minBufferBits + 1]sync.Pool

// getBuffer returns an empty buffer with room for at least size bytes.
func getBuffer(size int) *buffer {
	if size > maxPooled {
		return &buffer{data: make([]byte, 0, size)}
	}
	class := bufferClass(size)
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{data: make([]byte, 0, 1<<(class+minBufferBits))}
}

// putBuffer takes back a buffer of getBuffer; nil is allowed.
func putBuffer(b *buffer) {
	if b == nil || cap(b.data) > maxPooled {
		return
	}
	b.data = b.data[:0]
	bufferPools[bufferClass(cap(b.data))].Put(b)
}

func bufferClass(size int) int {
	return max(bits.Len(uint(max(size, 1)-1))-minBufferBits, 0)
}

// growBuffer returns b, or a larger copy of it, with room for extra more bytes.
// total is the announced length of the data; last says that nothing follows the
// announced data.
func growBuffer(b *buffer, extra, total int, last bool) *buffer {
	have := 0
	if b != nil {
		if cap(b.data)-len(b.data) >= extra {
			return b
		}
		have = len(b.data)
	}
	want := have + extra
	// The power of two at or above what has arrived: at most twice as much, and
	// the work of copying is linear in the length of the message.
	size := 1 << bits.Len(uint(max(want, min(total, allocAhead), 1)-1))
	if last {
		size = min(size, total)
	}
	grown := getBuffer(size)
	if b != nil {
		grown.data = append(grown.data, b.data...)
		putBuffer(b)
	}
	return grown
}
