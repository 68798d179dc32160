package wsframe

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendHeader(t *testing.T) {
	for _, c := range []struct {
		op   Opcode
		n    int
		want []byte
	}{
		{OpText, 0, []byte{0x81, 0}},
		{OpBinary, 125, []byte{0x82, 125}},
		{OpBinary, 126, []byte{0x82, 126, 0, 126}},
		{OpText, 65535, []byte{0x81, 126, 255, 255}},
		{OpText, 65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{OpPong, 5, []byte{0x8A, 5}},
	} {
		got := AppendHeader([]byte("x"), c.op, c.n)
		if !bytes.Equal(got[1:], c.want) || got[0] != 'x' {
			t.Errorf("header of %v, %d bytes: % x, expected % x", c.op, c.n, got[1:], c.want)
		}
		if HeaderSize(c.n) != len(c.want) {
			t.Errorf("HeaderSize(%d) = %d", c.n, HeaderSize(c.n))
		}
	}
}

// TestAppendFrame has the examples of RFC 6455, 5.7.
func TestAppendFrame(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(AppendFrame(nil, OpText, []byte("Hello"))), "\x81\x05Hello"},
		{string(AppendFrame([]byte("before"), OpPing, nil)), "before\x89\x00"},
		{string(AppendMaskedFrame(nil, OpText, testKey, []byte("Hello"))), "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{string(AppendMaskedFrame([]byte("before"), OpPong, testKey, []byte("Hello"))), "before\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
	} {
		if c.got != c.want {
			t.Errorf("% x, expected % x", c.got, c.want)
		}
	}
	payload := []byte("kept")
	AppendMaskedFrame(nil, OpText, testKey, payload)
	if string(payload) != "kept" {
		t.Errorf("AppendMaskedFrame changed the payload to %q", payload)
	}
}

// TestFramesRoundTrip reads what the writers wrote.
func TestFramesRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 100000} {
		payload := strings.Repeat("r", n)
		want := []string{message(OpBinary, payload)}
		for _, client := range []bool{true, false} {
			got := feedPieces(t, frame(client, wholeBinary, payload), nil, n, client, &recorder{})
			if got.err != nil || !sameOutcome(got, outcome{events: want}) {
				t.Errorf("%d bytes, client %v: error %v or wrong payload", n, client, got.err)
			}
		}
	}
}

func TestMask(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6455, 4))
	for n := range 300 {
		for pos := range 9 {
			key := [4]byte{byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32()), byte(rnd.Uint32())}
			got, want := make([]byte, n), make([]byte, n)
			for i := range got {
				got[i] = byte(rnd.Uint32())
				want[i] = got[i] ^ key[(pos+i)%4]
			}
			maskAt(got, key, pos)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes from %d on are masked wrongly", n, pos)
			}
		}
	}
	big := []byte{0, 0}
	maskAt(big, [4]byte{1, 2, 3, 4}, math.MaxInt)
	if big[0] != 4 || big[1] != 1 {
		t.Errorf("highest position: % x", big)
	}
}

func TestAppendClose(t *testing.T) {
	long := strings.Repeat("€", 41) // 123 bytes
	for _, c := range []struct {
		code   uint16
		reason string
		want   string // reason on the wire
	}{
		{1000, "", ""},
		{4001, "bye", "bye"},
		{1000, long, long},
		{1000, long + "x", long},
		{1000, "x" + long, "x" + long[:120]},
		{1000, "xy" + long, "xy" + long[:120]},
		{1000, "xyz" + long, "xyz" + long[:120]},
		{1000, strings.Repeat("😀", 40), strings.Repeat("😀", 30)},
		{1000, "a\xff", "a\uFFFD"},
	} {
		b := AppendClose([]byte("before"), c.code, c.reason)[len("before"):]
		if b[0] != 0x88 || int(b[1]) != len(b)-2 || len(b)-2 > MaxControlPayload {
			t.Errorf("close %d %q: frame % x", c.code, c.reason, b)
		}
		code, reason := ParseClose(b[2:])
		if code != c.code || reason != c.want || !utf8.ValidString(reason) {
			t.Errorf("close %d %q: read as %d %q", c.code, c.reason, code, reason)
		}
	}
	for _, code := range []uint16{0, 1005} {
		if b := AppendClose(nil, code, "ignored"); !bytes.Equal(b, []byte{0x88, 0}) {
			t.Errorf("close %d: % x", code, b)
		}
	}
	if code, reason := ParseClose(nil); code != 1005 || reason != "" {
		t.Errorf("empty payload: %d %q", code, reason)
	}
}

func TestOpcodeString(t *testing.T) {
	for op, want := range map[Opcode]string{
		OpContinuation: "continuation", OpText: "text", OpBinary: "binary",
		OpClose: "close", OpPing: "ping", OpPong: "pong", 3: "opcode 3", 15: "opcode 15",
	} {
		if op.String() != want || fmt.Sprint(op) != want {
			t.Errorf("opcode %d is %q", uint8(op), op.String())
		}
	}
}

// TestErrorReasons: reasons are sent in close frames, so they must fit.
func TestErrorReasons(t *testing.T) {
	for _, err := range []error{
		errRSV, errFragControl, errLongControl, errNoStart, errInterleaved, errUnmasked, errMasked, errNotMinimal,
		errLengthTopBit, errTextNotUTF8, errCloseOneByte, errCloseNotUTF8,
		errReservedOpcode(15), errTooBig(math.MaxUint64, MaxMessageLimit), errCloseCode(65535),
	} {
		e := errorOf(t, err)
		if len(e.Reason) > maxCloseReason || e.Section == "" || e.Code < 1002 {
			t.Errorf("error %+v", e)
		}
		if !strings.Contains(err.Error(), e.Reason) || !strings.Contains(err.Error(), e.Section) {
			t.Errorf("text %q", err)
		}
	}
}

// TestCheckText compares with the byte-by-byte machine on all sequences of
// four of the bytes at which the table of RFC 3629 changes.
func TestCheckText(t *testing.T) {
	edges := []byte{0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
		0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF}
	for n := range 5 {
		total := 1
		for range n {
			total *= len(edges)
		}
		for i := range total {
			b := make([]byte, n)
			for j, rest := 0, i; j < n; j++ {
				b[j], rest = edges[rest%len(edges)], rest/len(edges)
			}
			var m utf8Machine
			wantOK, wantComplete := true, 0
			for j, c := range b {
				if wantOK = m.next(c); !wantOK {
					break
				}
				if m.atBoundary() {
					wantComplete = j + 1
				}
			}
			complete, ok := checkText(b)
			if ok != wantOK || ok && complete != wantComplete {
				t.Fatalf("% x: %d, %v; expected %d, %v", b, complete, ok, wantComplete, wantOK)
			}
		}
	}
}
