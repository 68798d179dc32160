package wsframe

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestReaderSize: a Reader is held for every idle connection.
func TestReaderSize(t *testing.T) {
	if size := unsafe.Sizeof(Reader{}); size > 96 {
		t.Errorf("Reader is %d bytes, at most 96 allowed", size)
	}
}

// TestReaderHandlerError: the handler's error comes back as it is, at once,
// from every place that calls a handler.
func TestReaderHandlerError(t *testing.T) {
	refused := errors.New("refused")
	input := join(masked(wholeText, "a"), masked(firstText, "b"), masked(ping, "c"), masked(last, "d"),
		masked(firstBinary, ""), masked(last, "e"), masked(pong, ""), masked(closing, ""))
	for failAt := range 7 {
		for _, sizes := range [][]int{nil, ones(len(input))} {
			h := recorder{fail: refused, failAt: failAt}
			got := feedPieces(t, input, sizes, 100, false, &h)
			if failAt == 0 {
				if got.err != nil || len(got.events) != 6 {
					t.Errorf("without failure: %q, error %v", got.events, got.err)
				}
				continue
			}
			if got.err != refused || len(got.events) != failAt {
				t.Errorf("failure at event %d: error %v after %d events", failAt, got.err, len(got.events))
			}
		}
	}
}

// TestReaderReleaseInHandler: a handler may tear its connection down, and its
// payload stays its own until it returns.
func TestReaderReleaseInHandler(t *testing.T) {
	input := join(masked(firstText, strings.Repeat("b", 300)), masked(ping, "c"), masked(last, "d"), masked(wholeText, "e"), masked(wholeText, "f"))
	want := []string{control(OpPing, "c"), message(OpText, strings.Repeat("b", 300)+"d"), message(OpText, "e"), message(OpText, "f")}
	for releaseAt := 1; releaseAt <= 4; releaseAt++ {
		for _, size := range []int{1, 7, len(input)} {
			var r Reader
			r.Init(1000, false)
			n := 0
			h := recorder{after: func() {
				if n++; n < releaseAt {
					return
				}
				r.Release()
				// Whoever takes a buffer now must not get the payload's.
				for _, size := range []int{256, 512, 1024} {
					b := getBuffer(size)
					scribble(b.data[:cap(b.data)])
				}
			}}
			for piece := range slices.Chunk(slices.Clone(input), size) {
				if err := r.Feed(piece, &h); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(h.events, want[:releaseAt]) {
				t.Errorf("released at event %d, pieces of %d: %q", releaseAt, size, h.events)
			}
			if r.partial != nil {
				t.Errorf("released at event %d, pieces of %d: a buffer is held", releaseAt, size)
			}
		}
	}
}

// TestReaderInit: Init makes any Reader new again and corrects odd limits.
func TestReaderInit(t *testing.T) {
	var r Reader
	for _, start := range []string{"\x83", "\x02\x83\x00\x00\x00\x00ab", "\x88\x80\x00\x00\x00\x00", "\x01\x81\x00\x00\x00\x00a"} {
		r.Init(10, false)
		_ = r.Feed([]byte(start), &recorder{}) // only the state it leaves matters
		r.Init(10, false)
		var h recorder
		if err := r.Feed(masked(wholeText, "new"), &h); err != nil || len(h.events) != 1 {
			t.Errorf("after %q: %q, error %v", start, h.events, err)
		}
	}
	for given, want := range map[int]uint32{-1: 0, 0: 0, 1: 1, MaxMessageLimit: MaxMessageLimit, MaxMessageLimit + 1: MaxMessageLimit} {
		if r.Init(given, false); r.limit != want {
			t.Errorf("Init(%d): limit %d", given, r.limit)
		}
	}
}

// TestReaderTrustsOnlyBytes: a header that announces much gets little memory,
// and a message of many tiny fragments is not copied over and over.
func TestReaderTrustsOnlyBytes(t *testing.T) {
	var r Reader
	r.Init(1<<20, false)
	huge := AppendMaskedFrame(nil, OpBinary, testKey, make([]byte, 1<<20))
	fed := 0
	grown, size := 0, 0
	for piece := range slices.Chunk(huge[:len(huge)-1], 10) {
		if err := r.Feed(piece, &recorder{}); err != nil {
			t.Fatal(err)
		}
		fed += len(piece)
		checkInvariants(t, &r, fed)
		if r.partial != nil && cap(r.partial.data) != size {
			grown, size = grown+1, cap(r.partial.data)
		}
	}
	if size != 1<<20 || grown > 12 {
		t.Errorf("buffer of %d bytes after growing %d times", size, grown)
	}
	var h recorder
	if err := r.Feed(huge[len(huge)-1:], &h); err != nil || len(h.events) != 1 {
		t.Errorf("last byte: %d events, error %v", len(h.events), err)
	}
	r.Init(1<<20, true)
	buffers := map[*buffer]bool{}
	if err := r.Feed(plain(firstBinary, ""), &h); err != nil {
		t.Fatal(err)
	}
	for i := range 200_000 {
		if err := r.Feed([]byte{0, 1, 'x'}, &h); err != nil {
			t.Fatal(err)
		}
		checkInvariants(t, &r, 2+3*(i+1))
		buffers[r.partial] = true
	}
	if len(buffers) > 12 {
		t.Errorf("200,000 fragments of 1 byte went through %d buffers", len(buffers))
	}
	r.Release()
}

// TestReaderLargeBuffers: the last frame of a message above the pools' size
// gets no more than was announced, and control frames of growing length
// behind a full buffer do not make it move each time.
func TestReaderLargeBuffers(t *testing.T) {
	var r Reader
	r.Init(1<<20, true)
	defer r.Release()
	const odd = 100_000
	first := plain(wholeBinary, strings.Repeat("x", odd))
	if err := r.Feed(first[:len(first)-1], &recorder{}); err != nil {
		t.Fatal(err)
	}
	if cap(r.partial.data) > odd+odd/8 { // the allocator rounds up a little
		t.Errorf("buffer of %d bytes for a message of %d", cap(r.partial.data), odd)
	}
	r.Init(1<<20, true)
	if err := r.Feed(plain(firstBinary, strings.Repeat("x", 2*maxPooled)), &recorder{}); err != nil {
		t.Fatal(err)
	}
	buffers := map[*buffer]bool{r.partial: true}
	for n := 1; n <= MaxControlPayload; n++ {
		for piece := range slices.Chunk(plain(ping, strings.Repeat("p", n)), n+1) {
			if err := r.Feed(piece, &recorder{}); err != nil {
				t.Fatal(err)
			}
		}
		buffers[r.partial] = true
	}
	if len(buffers) > 2 {
		t.Errorf("pings went through %d buffers", len(buffers))
	}
}

// TestBufferPools: giants are not kept, everything else comes back in its class.
func TestBufferPools(t *testing.T) {
	for _, size := range []int{0, 1, 255, 256, 257, 1024, 1025, maxPooled - 1, maxPooled, maxPooled + 1, 1 << 20} {
		b := getBuffer(size)
		if len(b.data) != 0 || cap(b.data) < size || size <= maxPooled && cap(b.data) > max(2*size, 1<<minBufferBits) {
			t.Errorf("buffer for %d bytes has length %d, capacity %d", size, len(b.data), cap(b.data))
		}
		putBuffer(b)
	}
	putBuffer(nil)
	for class := range bufferPools {
		for range 100 {
			if b, ok := bufferPools[class].Get().(*buffer); ok && cap(b.data) != 1<<(class+minBufferBits) {
				t.Errorf("class %d holds a buffer of %d bytes", class, cap(b.data))
			}
		}
	}
}
