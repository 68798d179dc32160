package wsframe

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// model is a second reading of RFC 6455, one byte at a time and with no eye
// to speed, that the Reader is compared with.
type model struct {
	client  bool
	limit   uint64
	head    []byte
	payload []byte // of the frame
	size    uint64 // of the frame; valid once inBody is set
	inBody  bool
	message []byte // finished fragments
	empty   int    // of them without a payload
	op      Opcode // of the message in progress
	utf8    utf8Machine
	events  []string
	code    uint16
	section string
	done    bool
	frame   []byte // the bytes of the current frame so far
	closed  bool   // a close frame has come, valid or not
}

func (m *model) feed(input []byte) {
	for _, b := range input {
		m.frame = append(m.frame, b)
		switch {
		case m.done:
		case m.inBody:
			m.body(b)
		default:
			m.header(b)
		}
		if m.done {
			m.passOver()
		}
	}
}

// passOver forgets the current frame when it is complete by its own length,
// whatever is wrong with it.
func (m *model) passOver() {
	f := m.frame
	if len(f) < 2 {
		return
	}
	size := map[byte]int{126: 4, 127: 10}[f[1]&127]
	if size == 0 {
		size = 2
	}
	if len(f) < size {
		return
	}
	n := uint64(f[1] & 127)
	if size > 2 {
		n = binary.BigEndian.Uint64(append(make([]byte, 10-size), f[2:size]...))
	}
	if f[1] >= 128 {
		size += 4
	}
	if len(f) < size || uint64(len(f)-size) < n {
		return
	}
	m.closed = m.closed || f[0]&15 == 8
	m.frame = nil
}

func (m *model) fail(code uint16, section string) {
	m.code, m.section, m.done = code, section, true
}

func (m *model) frameOp() Opcode { return Opcode(m.head[0] & 15) }

func (m *model) header(b byte) {
	m.head = append(m.head, b)
	op, control := m.frameOp(), m.head[0]&8 != 0
	known := slices.Contains([]Opcode{0, 1, 2, 8, 9, 10}, op)
	if len(m.head) == 1 {
		switch {
		case b&0x70 != 0 || !known:
			m.fail(1002, "5.2")
		case control && b < 0x80:
			m.fail(1002, "5.5")
		case !control && (op == 0) != (m.op != 0):
			m.fail(1002, "5.4")
		}
		return
	}
	short := m.head[1] & 127
	if len(m.head) == 2 {
		switch {
		case (m.head[1] >= 128) == m.client:
			m.fail(1002, "5.1")
			return
		case control && short > 125:
			m.fail(1002, "5.5")
			return
		}
	}
	lengthEnd := map[byte]int{126: 4, 127: 10}[short]
	if lengthEnd == 0 {
		lengthEnd = 2
	}
	end := lengthEnd
	if !m.client {
		end += 4
	}
	if len(m.head) == lengthEnd {
		wide := make([]byte, 8)
		switch short {
		case 126:
			copy(wide[6:], m.head[2:4])
		case 127:
			copy(wide, m.head[2:10])
		default:
			wide[7] = short
		}
		m.size = binary.BigEndian.Uint64(wide)
		if short == 126 && m.size <= 125 || short == 127 && (m.size <= 0xFFFF || wide[0] >= 128) {
			m.fail(1002, "5.2")
			return
		}
		if !control && uint64(len(m.message))+m.size > m.limit {
			m.fail(1009, "10.4")
			return
		}
		if !control && m.size == 0 && m.head[0] < 128 && m.empty == 1000 {
			m.fail(1009, "10.4")
			return
		}
	}
	if len(m.head) == end {
		m.inBody = true
		m.payload = nil
		if m.size == 0 {
			m.endFrame()
		}
	}
}

func (m *model) body(b byte) {
	if !m.client {
		b ^= m.head[len(m.head)-4+len(m.payload)%4]
	}
	m.payload = append(m.payload, b)
	text := m.frameOp() == OpText || m.frameOp() == OpContinuation && m.op == OpText
	if text && !m.utf8.next(b) {
		m.fail(1007, "8.1")
		return
	}
	if uint64(len(m.payload)) == m.size {
		m.endFrame()
	}
}

func (m *model) endFrame() {
	op, fin := m.frameOp(), m.head[0] >= 128
	m.head, m.inBody, m.frame = nil, false, nil
	switch op {
	case OpPing, OpPong:
		m.events = append(m.events, event("control", op, string(m.payload)))
		return
	case OpClose:
		m.endClose()
		return
	case OpText, OpBinary:
		m.op = op
	}
	m.message = append(m.message, m.payload...)
	if !fin {
		if m.size == 0 {
			m.empty++
		}
		return
	}
	if m.op == OpText && !m.utf8.atBoundary() {
		m.fail(1007, "8.1")
		return
	}
	m.events = append(m.events, event("message", m.op, string(m.message)))
	m.message, m.op, m.empty = nil, 0, 0
}

func (m *model) endClose() {
	m.done, m.closed = true, true
	if len(m.payload) == 1 {
		m.fail(1002, "5.5.1")
		return
	}
	if len(m.payload) > 1 {
		code := int(m.payload[0])<<8 | int(m.payload[1])
		illegal := []int{1004, 1005, 1006, 1015}
		if code < 1000 || code >= 1016 && code < 3000 || code >= 5000 || slices.Contains(illegal, code) {
			m.fail(1002, "7.4")
			return
		}
		var text utf8Machine
		for _, b := range m.payload[2:] {
			if !text.next(b) {
				m.fail(1007, "8.1")
				return
			}
		}
		if !text.atBoundary() {
			m.fail(1007, "8.1")
			return
		}
	}
	m.events = append(m.events, event("control", OpClose, string(m.payload)))
}

// utf8Machine checks UTF-8 byte by byte after the table of RFC 3629, 4.
type utf8Machine struct {
	rest   int // continuation bytes still to come
	lo, hi byte
}

func (u *utf8Machine) atBoundary() bool { return u.rest == 0 }

func (u *utf8Machine) next(b byte) bool {
	if u.rest > 0 {
		ok := b >= u.lo && b <= u.hi
		u.rest--
		u.lo, u.hi = 0x80, 0xBF
		return ok
	}
	u.lo, u.hi = 0x80, 0xBF
	switch {
	case b < 0x80:
	case b >= 0xC2 && b <= 0xDF:
		u.rest = 1
	case b >= 0xE0 && b <= 0xEF:
		u.rest = 2
		if b == 0xE0 {
			u.lo = 0xA0
		} else if b == 0xED {
			u.hi = 0x9F
		}
	case b >= 0xF0 && b <= 0xF4:
		u.rest = 3
		if b == 0xF0 {
			u.lo = 0x90
		} else if b == 0xF4 {
			u.hi = 0x8F
		}
	default:
		return false
	}
	return true
}

// checkModel compares an outcome with what the model makes of the input.
func checkModel(t testing.TB, input []byte, limit int, client bool, got outcome) {
	t.Helper()
	m := model{client: client, limit: uint64(limit)}
	m.feed(input)
	if !slices.Equal(got.events, m.events) {
		t.Fatalf("events\n%q\nbut the model has\n%q", got.events, m.events)
	}
	if got.err == nil {
		if m.code != 0 {
			t.Fatalf("no error but the model has %d, section %s", m.code, m.section)
		}
		return
	}
	if e := errorOf(t, got.err); e.Code != m.code || e.Section != m.section {
		t.Fatalf("error %v but the model has %d, section %q", got.err, m.code, m.section)
	}
}

// TestReaderModel sends random valid conversations in random fragments and
// pieces and expects exactly what was sent.
func TestReaderModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6455, 1))
	for range 1500 {
		client := rnd.IntN(2) == 0
		var stream []byte
		var sent []string
		for range 1 + rnd.IntN(12) {
			stream = appendRandomMessage(rnd, stream, client, &sent)
		}
		got := feedPieces(t, stream, randomSizes(rnd, len(stream)), 1<<20, client, &recorder{})
		if got.err != nil || !slices.Equal(got.events, sent) {
			t.Fatalf("sent\n%q\ngot\n%q, error %v", sent, got.events, got.err)
		}
		checkModel(t, stream, 1<<20, client, got)
	}
}

// TestReaderModelDamaged damages such conversations and expects the model's
// verdict, however the input is cut.
func TestReaderModelDamaged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6455, 2))
	for range 3000 {
		client := rnd.IntN(2) == 0
		limit := []int{0, 125, 126, 1000, 70000}[rnd.IntN(5)]
		var stream []byte
		var sent []string
		for range 1 + rnd.IntN(4) {
			stream = appendRandomMessage(rnd, stream, client, &sent)
		}
		for range rnd.IntN(3) {
			stream[rnd.IntN(min(len(stream), 64))] ^= 1 << rnd.IntN(8)
			stream[rnd.IntN(len(stream))] = byte(rnd.Uint32())
		}
		stream = stream[:1+rnd.IntN(len(stream))]
		got := feedPieces(t, stream, randomSizes(rnd, len(stream)), limit, client, &recorder{})
		checkModel(t, stream, limit, client, got)
	}
}

func appendRandomMessage(rnd *rand.Rand, stream []byte, client bool, sent *[]string) []byte {
	op, payload := OpBinary, randomBytes(rnd)
	if rnd.IntN(2) == 0 {
		op, payload = OpText, randomText(rnd)
	}
	rest, first := payload, byte(op)
	for rnd.IntN(3) == 0 {
		n := rnd.IntN(len(rest) + 1)
		stream = appendRandomFrame(rnd, stream, client, first, rest[:n])
		rest, first = rest[n:], more
		if rnd.IntN(2) == 0 {
			control := []Opcode{OpPing, OpPong}[rnd.IntN(2)]
			data := randomBytes(rnd)
			data = data[:min(len(data), MaxControlPayload)]
			stream = appendRandomFrame(rnd, stream, client, finBit|byte(control), data)
			*sent = append(*sent, event("control", control, data))
		}
	}
	*sent = append(*sent, event("message", op, payload))
	return appendRandomFrame(rnd, stream, client, finBit|first, rest)
}

func appendRandomFrame(rnd *rand.Rand, dst []byte, client bool, first byte, payload string) []byte {
	start := len(dst)
	if client {
		dst = AppendFrame(dst, 0, []byte(payload))
	} else {
		dst = AppendMaskedFrame(dst, 0, rnd.Uint32(), []byte(payload))
	}
	dst[start] = first
	return dst
}

func randomBytes(rnd *rand.Rand) string {
	b := make([]byte, randomSize(rnd))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

func randomText(rnd *rand.Rand) string {
	var s strings.Builder
	for n := randomSize(rnd); s.Len() < n; {
		// Every length of character, and surrogates become U+FFFD.
		s.WriteRune(rune(rnd.Uint32() >> (11 + rnd.IntN(21)) % 0x110000))
	}
	return s.String()
}

// randomSize prefers the borders of the length encodings and buffer classes.
func randomSize(rnd *rand.Rand) int {
	borders := []int{0, 1, 125, 126, 127, 256, 1024, 4096}
	switch rnd.IntN(20) {
	case 0:
		return 65530 + rnd.IntN(12)
	case 1, 2, 3:
		return rnd.IntN(3000)
	}
	return max(borders[rnd.IntN(len(borders))]+rnd.IntN(5)-2, 0)
}
