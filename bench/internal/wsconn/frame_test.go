package wsconn

import (
	"bytes"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
)

// TestParseHeader reads headers of every length, whole and cut off.
func TestParseHeader(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20} {
		frame := wsframe.AppendFrame(nil, wsframe.OpBinary, make([]byte, size))
		head := len(frame) - size
		h, err := ParseHeader(frame, 1<<20)
		if err != nil || h.Len != head || h.Size != size || h.Opcode() != wsframe.OpBinary || !h.Final() || h.Check() != nil {
			t.Errorf("payload of %d: %+v, %v", size, h, err)
		}
		for n := range head {
			if h, err := ParseHeader(frame[:n], 1<<20); h.Len != 0 || err != nil {
				t.Errorf("payload of %d, %d bytes of the header: %+v, %v", size, n, h, err)
			}
		}
	}
}

func TestRefusedHeaders(t *testing.T) {
	for _, tc := range []struct {
		name string
		data []byte
		says string
	}{
		{"masked", []byte{0x82, 0x80, 0, 0, 0, 0}, "masked"},
		{"reserved bit", []byte{0xc1, 0}, "reserved bit"},
		{"reserved opcode", []byte{0x83, 0}, "opcode 0x3"},
		{"reserved control opcode", []byte{0x8b, 0}, "opcode 0xb"},
		{"fragmented ping", []byte{0x09, 0}, "control frame"},
		{"long ping", append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...), "control frame"},
		{"too large", []byte{0x82, 126, 0x10, 0x01}, "4097 bytes from the server, at most 4096"},
		{"far too large", bytes.Repeat([]byte{0xff}, 10), "masked"},
		{"beyond int", append([]byte{0x82, 127}, bytes.Repeat([]byte{0xff}, 8)...), "at most 4096"},
	} {
		h, err := ParseHeader(tc.data, 4096)
		if err == nil {
			err = h.Check()
		}
		if err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: error %v, want one saying %q", tc.name, err, tc.says)
		}
	}
	if err := NewCloseError([]byte{0x0f, 0xa4, 's'}); err.Error() != `closed by the server with 4004 "s"` {
		t.Error(err)
	}
	if err := NewCloseError([]byte{0x03, 0xe8}); err.Error() != "closed by the server with 1000" {
		t.Error(err)
	}
}
