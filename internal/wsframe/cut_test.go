package wsframe

import (
	"bytes"
	"strings"
	"testing"
)

func TestCutFrame(t *testing.T) {
	for _, op := range []Opcode{OpText, OpBinary, OpClose, OpPing, OpPong} {
		for _, n := range []int{0, 1, 125, 126, 65535, 65536, 70000} {
			if op.IsControl() && n > MaxControlPayload {
				continue
			}
			want := bytes.Repeat([]byte{'p'}, n)
			first := AppendFrame(nil, op, want)
			wire := append(bytes.Clone(first), "\x82\x01x"...)
			gotOp, payload, size := CutFrame(wire)
			if got := OpcodeOf(wire); got != op {
				t.Errorf("%v of %d bytes: opcode %v", op, n, got)
			}
			if gotOp != op || size != len(first) || !bytes.Equal(payload, want) {
				t.Errorf("%v of %d bytes: cut as %v of %d bytes, size %d", op, n, gotOp, len(payload), size)
			}
			if got := append(payload, 'y'); len(got) != n+1 || wire[size] != 0x82 {
				t.Errorf("%v of %d bytes: appending to the payload reaches the next frame", op, n)
			}
			if got := Payload(first); got == nil || !bytes.Equal(got, want) {
				t.Errorf("%v of %d bytes: payload of %d bytes", op, n, len(got))
			}
			if got := Payload(wire); got != nil {
				t.Errorf("%v of %d bytes: two frames have a payload of %d bytes", op, n, len(got))
			}
			for end := range min(len(first), 300) {
				if _, payload, size := CutFrame(first[:end]); payload != nil || size != 0 {
					t.Errorf("%v of %d bytes, only %d there: cut with size %d", op, n, end, size)
				}
			}
		}
	}
}

// TestCutFrameRefuses has frames that a server never sends.
func TestCutFrameRefuses(t *testing.T) {
	for name, wire := range map[string][]byte{
		"masked":                    masked(wholeBinary, "x"),
		"first fragment":            plain(firstBinary, "x"),
		"last fragment":             plain(last, "x"),
		"RSV bit":                   plain(wholeText|0x40, "x"),
		"reserved opcode":           plain(finBit|3, "x"),
		"reserved control opcode":   plain(finBit|11, "x"),
		"long ping":                 plain(ping, strings.Repeat("x", MaxControlPayload+1)),
		"5 bytes as 16-bit length":  append([]byte{0x82, 126, 0, 5}, "12345"...),
		"5 bytes as 64-bit length":  append([]byte{0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5}, "12345"...),
		"300 bytes, 64-bit length":  append([]byte{0x82, 127, 0, 0, 0, 0, 0, 0, 1, 44}, make([]byte, 300)...),
		"64-bit length of ones":     append([]byte{0x82, 127}, bytes.Repeat([]byte{0xFF}, 20)...),
		"64-bit length, top bit":    append([]byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}, "x"...),
		"more announced than there": {0x82, 5, 'x'},
	} {
		if op, payload, size := CutFrame(wire); size != 0 || payload != nil {
			t.Errorf("%s: cut as %v of %d bytes", name, op, size)
		}
		if Payload(wire) != nil {
			t.Errorf("%s: has a payload", name)
		}
	}
}
