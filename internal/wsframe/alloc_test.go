//go:build !race

// The race detector makes sync.Pool drop buffers at random, on purpose, so
// these figures exist only without it.

package wsframe

import (
	"strings"
	"testing"
)

// discard is a Handler that only counts.
type discard struct{ messages, controls, size int }

func (h *discard) HandleMessage(_ Opcode, payload []byte) error {
	h.messages++
	h.size += len(payload)
	return nil
}

func (h *discard) HandleControl(Opcode, []byte) error {
	h.controls++
	return nil
}

func TestReaderAllocs(t *testing.T) {
	text := strings.Repeat("zwölf ", 20)
	split := strings.Repeat("s", 5000)
	for _, c := range []struct {
		name  string
		input []byte
		cuts  []int // pieces of the input; the rest is the last one
	}{
		{"one frame", masked(wholeBinary, text), nil},
		{"many frames", join(masked(wholeBinary, text), masked(wholeText, text), masked(ping, "p"), masked(wholeText, "")), nil},
		{"long frame", masked(wholeBinary, strings.Repeat("x", 100_000)), nil},
		{"split header", masked(wholeText, text), []int{3}},
		{"split payload", masked(wholeText, split), []int{4000}},
		{"split control frame", masked(ping, "payload"), []int{8}},
		{"three pieces", masked(wholeBinary, split), []int{10, 3000}},
		{"fragments", join(masked(firstText, text), masked(ping, ""), masked(last, text)), []int{100, 70}},
		{"64 KiB", masked(wholeBinary, strings.Repeat("x", maxPooled)), []int{10_000}},
	} {
		var r Reader
		var h discard
		r.Init(1<<20, false)
		work := make([]byte, len(c.input))
		allocs := testing.AllocsPerRun(200, func() {
			copy(work, c.input)
			rest := work
			for _, n := range c.cuts {
				if err := r.Feed(rest[:n], &h); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := r.Feed(rest, &h); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 || h.messages+h.controls < 200 {
			t.Errorf("%s: %v allocations per run, %d messages", c.name, allocs, h.messages)
		}
		if r.partial != nil {
			t.Errorf("%s: an idle Reader holds a buffer", c.name)
		}
	}
}

func TestWriterAllocs(t *testing.T) {
	dst := make([]byte, 0, 1024)
	payload := make([]byte, 128)
	allocs := testing.AllocsPerRun(100, func() {
		dst = AppendFrame(dst[:0], OpBinary, payload)
		dst = AppendMaskedFrame(dst, OpText, testKey, payload)
		dst = AppendClose(dst, 1000, "bye")
	})
	if allocs != 0 {
		t.Errorf("%v allocations per run", allocs)
	}
}
