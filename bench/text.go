package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/labgate/labgate/internal/wsframe"
)

// Text messages carry check fields of fixed width at the start of their
// payload, {"bench":"KSSSSSSSSSSSSSSSSTTTTTTTTTTTTTTTTIIIIIIII","pad":"..."}: a
// kind letter, then in hexadecimal the sequence number, the time at which the
// message was due in ns, and the sender's index. The sender writes them into a
// prepared wire frame; the receiver finds them by their marker, because the
// gateway forwards a payload byte for byte.
const (
	checkMarker = `"bench":"`
	checkWidth  = 1 + 16 + 16 + 8

	kindUnicast = 'u'
	kindCommand = 'c'
	kindAnswer  = 'a'

	padStart       = `","pad":"`
	payloadEnd     = `"}`
	minTextPayload = 1 + len(checkMarker) + checkWidth + len(padStart) + len(payloadEnd)
)

// checkFields are the fields that a text message is checked by.
type checkFields struct {
	kind  byte
	seq   uint64
	due   int64
	index int
}

// put writes the fields into b, checkWidth bytes.
func (f *checkFields) put(b []byte) {
	b[0] = f.kind
	putHex(b[1:17], f.seq)
	putHex(b[17:33], uint64(f.due))
	putHex(b[33:41], uint64(f.index))
}

// read parses the fields after the marker.
func (f *checkFields) read(b []byte) bool {
	if len(b) < checkWidth {
		return false
	}
	var due, index uint64
	var a, c, d bool
	f.kind = b[0]
	f.seq, a = parseHex(b[1:17])
	due, c = parseHex(b[17:33])
	index, d = parseHex(b[33:41])
	f.due, f.index = int64(due), int(index)
	return a && c && d && (f.kind == kindUnicast || f.kind == kindCommand || f.kind == kindAnswer)
}

// textPayload is a payload of size bytes with empty check fields.
func textPayload(kind byte, size int) string {
	return "{" + checkMarker + string(kind) + strings.Repeat("0", checkWidth-1) + padStart +
		strings.Repeat("x", size-minTextPayload) + payloadEnd
}

// textFrame is a masked wire frame of an envelope; head is the envelope up to
// its payload.
func textFrame(head, payload string) []byte {
	return wsframe.AppendMaskedFrame(nil, wsframe.OpText, 0, []byte(head+`,"payload":`+payload+"}"))
}

// checkOffset is where the check fields begin in a wire frame.
func checkOffset(wire []byte) int {
	return bytes.Index(wire, []byte(checkMarker)) + len(checkMarker)
}

// quoted is a JSON string.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("bench: a string does not marshal: %v", err))
	}
	return string(b)
}

// field returns the value of a string field without escapes in raw; key
// includes the quotes and the colon. field finds only the first occurrence,
// which is enough: except for src, which the gateway inserts, all fields are
// the load generator's own.
func field(raw []byte, key string) []byte {
	i := bytes.Index(raw, []byte(key))
	if i < 0 {
		return nil
	}
	raw = raw[i+len(key):]
	if len(raw) == 0 || raw[0] != '"' {
		return nil
	}
	end := bytes.IndexByte(raw[1:], '"')
	if end < 0 {
		return nil
	}
	return raw[1 : 1+end]
}

const hexDigits = "0123456789abcdef"

// putHex fills b with the low digits of v.
func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[v&15]
		v >>= 4
	}
}

// parseHex reads lower-case digits.
func parseHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c-'a' <= 5:
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}

// onCheckedText processes a message of this run; check is the text after the
// marker.
func (c *conn) onCheckedText(raw, check []byte, now int64) {
	var f checkFields
	w := c.w
	if !f.read(check) {
		w.problems.add(problemCorrupt, "%s: check fields damaged: %.60q", c, check)
		return
	}
	switch {
	case c.state != stateOpen:
	case f.kind == kindUnicast && c.role == roleDevice && w.unicast != nil:
		w.unicast.receive(c, raw, &f, now)
	case f.kind == kindCommand && c.role == roleDevice && w.commands != nil:
		w.commands.atDevice(c, raw, &f)
	case f.kind == kindAnswer && c.role == roleFrontend && w.commands != nil:
		w.commands.atFrontend(c, raw, &f, now)
	default:
		w.problems.add(problemMisrouted, "%s: got a message of kind %q", c, f.kind)
	}
}
