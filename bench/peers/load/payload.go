//go:build linux

package load

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/labgate/labgate/protocol"
)

// PayloadSize is the size of every message, in bytes. A product's addressing
// and framing come on top.
const PayloadSize = 128

// payload is the form of the messages of a run. Each carries a number, the
// time at which it was due (ns) and the number of its pair.
type payload interface {
	// template is a message whose fields put fills in.
	template() []byte
	put(b []byte, seq uint64, due int64, pair int)
	// read compares a message with the template and returns the fields.
	read(b []byte) (seq uint64, due int64, pair int, ok bool)
}

// binaryPayload is one telemetry frame of labgate.v1: a sample of 24 channels,
// so that a frame's number is also its sample's. All products get the same.
type binaryPayload struct{ ref []byte }

// Offsets of the used fields in a telemetry frame (docs/protocol.md).
const (
	offStream = 4 // written by the gateway
	offSeq    = 8
	offT0     = 16
	offDT     = 24
	offCheck  = PayloadSize - 4 // the last channel
)

func newBinaryPayload() *binaryPayload {
	const channels = (PayloadSize - protocol.TelemetryHeaderSize) / 4
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI32, DT: 100_000, Channels: channels, Count: 1}
	ref := h.Append(nil)
	for i := range channels {
		ref = binary.LittleEndian.AppendUint32(ref, uint32(i)*0x01020304)
	}
	return &binaryPayload{ref: ref}
}

func (p *binaryPayload) template() []byte { return bytes.Clone(p.ref) }

func (p *binaryPayload) put(b []byte, seq uint64, due int64, pair int) {
	binary.LittleEndian.PutUint64(b[offSeq:], seq)
	binary.LittleEndian.PutUint64(b[offT0:], uint64(due))
	binary.LittleEndian.PutUint32(b[offCheck:], checkWord(seq, pair))
}

func (p *binaryPayload) read(b []byte) (seq uint64, due int64, pair int, ok bool) {
	if len(b) != PayloadSize || !bytes.Equal(b[:offStream], p.ref[:offStream]) || !bytes.Equal(b[offDT:offCheck], p.ref[offDT:offCheck]) {
		return 0, 0, 0, false
	}
	seq = binary.LittleEndian.Uint64(b[offSeq:])
	due = int64(binary.LittleEndian.Uint64(b[offT0:]))
	return seq, due, 0, binary.LittleEndian.Uint32(b[offCheck:]) == checkWord(seq, 0)
}

// checkWord ties a frame's body to its header.
func checkWord(seq uint64, pair int) uint32 {
	return uint32(seq)*0x9e3779b1 ^ uint32(pair)*0x85ebca6b
}

// textPayload is a message from a front end to its device, as JSON:
// {"type":"bench.unicast","payload":{"bench":"…","pad":"…"}}. The fields are
// hexadecimal digits of fixed width.
type textPayload struct {
	ref []byte
	at  int // of the fields
}

const (
	textHead  = `{"type":"bench.unicast","payload":{"bench":"`
	textMid   = `","pad":"`
	textTail  = `"}}`
	seqWidth  = 16
	dueWidth  = 16
	pairWidth = 4
	allWidth  = seqWidth + dueWidth + pairWidth
)

func newTextPayload() *textPayload {
	pad := PayloadSize - len(textHead) - allWidth - len(textMid) - len(textTail)
	ref := textHead + strings.Repeat("0", allWidth) + textMid + strings.Repeat("x", pad) + textTail
	return &textPayload{ref: []byte(ref), at: len(textHead)}
}

func (p *textPayload) template() []byte { return bytes.Clone(p.ref) }

func (p *textPayload) put(b []byte, seq uint64, due int64, pair int) {
	f := b[p.at:]
	putHex(f[:seqWidth], seq)
	putHex(f[seqWidth:seqWidth+dueWidth], uint64(due))
	putHex(f[seqWidth+dueWidth:allWidth], uint64(pair))
}

// read compares all bytes of a message except the first brace, from the end: a
// gateway inserts addresses between that brace and the rest.
func (p *textPayload) read(b []byte) (seq uint64, due int64, pair int, ok bool) {
	if len(b) < PayloadSize || b[0] != '{' {
		return 0, 0, 0, false
	}
	b = b[len(b)-PayloadSize:]
	f, end := b[p.at:p.at+allWidth], p.at+allWidth
	if !bytes.Equal(b[1:p.at], p.ref[1:p.at]) || !bytes.Equal(b[end:], p.ref[end:]) {
		return 0, 0, 0, false
	}
	seq, ok1 := parseHex(f[:seqWidth])
	t, ok2 := parseHex(f[seqWidth : seqWidth+dueWidth])
	n, ok3 := parseHex(f[seqWidth+dueWidth:])
	return seq, int64(t), int(n), ok1 && ok2 && ok3
}

const hexDigits = "0123456789abcdef"

// hexValue is a digit's value; 0xff: not a digit.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for v, c := range []byte(hexDigits) {
		t[c] = byte(v)
	}
	return t
}()

// putHex fills b with the low digits of v.
func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[v&15]
		v >>= 4
	}
}

func parseHex(b []byte) (v uint64, ok bool) {
	bad := byte(0)
	for _, c := range b {
		d := hexValue[c]
		bad |= d & 0xf0
		v = v<<4 | uint64(d&15)
	}
	return v, bad == 0
}
