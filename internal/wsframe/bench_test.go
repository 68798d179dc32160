package wsframe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// benchHandler does nothing, so that the Reader alone is measured.
type benchHandler struct{}

func (benchHandler) HandleMessage(Opcode, []byte) error { return nil }
func (benchHandler) HandleControl(Opcode, []byte) error { return nil }

// BenchmarkReaderWhole feeds whole masked frames. Frames with key 0 come out
// of the reader as they went in, so the input needs no copy per round; the
// unmasking is done all the same.
func BenchmarkReaderWhole(b *testing.B) {
	for _, c := range []struct {
		op          Opcode
		size, count int
	}{
		{OpBinary, 128, 1}, {OpBinary, 128, 64}, {OpText, 128, 64}, {OpBinary, 4096, 1}, {OpBinary, 4096, 16}, {OpText, 4096, 1}, {OpPing, 8, 1},
	} {
		b.Run(fmt.Sprintf("%v/%dB/%dperFeed", c.op, c.size, c.count), func(b *testing.B) {
			one := AppendMaskedFrame(nil, c.op, 0, []byte(strings.Repeat("x", c.size)))
			input := slices.Repeat(one, c.count)
			var r Reader
			r.Init(1<<20, false)
			b.ReportAllocs()
			b.SetBytes(int64(len(input)))
			for b.Loop() {
				if err := r.Feed(input, benchHandler{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*c.count), "ns/frame")
		})
	}
}

// BenchmarkReaderSplit feeds one frame in two halves.
func BenchmarkReaderSplit(b *testing.B) {
	for _, size := range []int{128, 4096} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			input := AppendMaskedFrame(nil, OpBinary, 0, make([]byte, size))
			var r Reader
			r.Init(1<<20, false)
			b.ReportAllocs()
			for b.Loop() {
				for _, piece := range [2][]byte{input[:size/2], input[size/2:]} {
					if err := r.Feed(piece, benchHandler{}); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{16, 128, 4096} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			data := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				maskAt(data, [4]byte{1, 2, 3, 4}, 0)
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := make([]byte, 128)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], OpBinary, payload)
	}
}
