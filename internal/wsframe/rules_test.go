package wsframe

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// vector is an input with the one outcome it must have however it is cut.
type vector struct {
	name   string
	client bool // the reader's side; false: a server's
	limit  int  // 0 means 1 MiB here
	input  []byte
	events []string
	// The expected error; none if code is 0. at is the number of input bytes
	// after which it must be there when they come one by one: a rule must not
	// wait for bytes that it does not need.
	code    uint16
	section string
	at      int
}

func message(op Opcode, payload string) string { return event("message", op, payload) }
func control(op Opcode, payload string) string { return event("control", op, payload) }

func TestReaderRules(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			if v.limit == 0 {
				v.limit = 1 << 20
			}
			check := func(sizes []int) {
				t.Helper()
				got := feedPieces(t, v.input, sizes, v.limit, v.client, &recorder{})
				if !slices.Equal(got.events, v.events) {
					t.Fatalf("pieces %v: events\n%q, expected\n%q", sizes, got.events, v.events)
				}
				if (got.err != nil) != (v.code != 0) {
					t.Fatalf("pieces %v: error %v, expected code %d", sizes, got.err, v.code)
				}
				if got.err == nil {
					return
				}
				e := errorOf(t, got.err)
				if e.Code != v.code || e.Section != v.section {
					t.Fatalf("pieces %v: error %v, expected code %d, section %s", sizes, e, v.code, v.section)
				}
				if len(sizes) == len(v.input) && got.used != v.at {
					t.Fatalf("byte by byte: error after %d bytes, expected after %d", got.used, v.at)
				}
				if got.used < v.at {
					t.Fatalf("pieces %v: error after %d bytes, expected after %d", sizes, got.used, v.at)
				}
			}
			check([]int{len(v.input)})
			check(ones(len(v.input)))
			for _, cut := range cuts(len(v.input)) {
				check([]int{cut, len(v.input)})
			}
			rnd := rand.New(rand.NewPCG(6455, 3))
			for range 100 {
				check(randomSizes(rnd, len(v.input)))
			}
			checkModel(t, v.input, v.limit, v.client,
				feedPieces(t, v.input, nil, v.limit, v.client, &recorder{}))
			checkPeerClosed(t, v.input, nil, v.limit, v.client)
			checkPeerClosed(t, v.input, ones(len(v.input)), v.limit, v.client)
		})
	}
}

// cuts returns every position to cut n bytes at; for long inputs those near
// the ends and a sample between.
func cuts(n int) []int {
	var all []int
	for i := 1; i < n; i++ {
		if n <= 2048 || i < 64 || i > n-64 || i%997 == 0 {
			all = append(all, i)
		}
	}
	return all
}

// vectors is the table by section of RFC 6455.
func vectors() []vector {
	return slices.Concat(
		framingVectors(), maskingVectors(), headerVectors(), lengthVectors(),
		fragmentVectors(), controlVectors(), closeVectors(), limitVectors(), textVectors())
}

// framingVectors has the examples of section 5.7 and plain valid input.
func framingVectors() []vector {
	k256, k64 := strings.Repeat("\x01", 256), strings.Repeat("\x02", 65536)
	return []vector{
		{name: "5.7 unmasked text", client: true, input: []byte{0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f},
			events: []string{message(OpText, "Hello")}},
		{name: "5.7 masked text", input: []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58},
			events: []string{message(OpText, "Hello")}},
		{name: "5.7 fragmented text", client: true, input: []byte{0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f},
			events: []string{message(OpText, "Hello")}},
		{name: "5.7 ping and masked pong", input: []byte{0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58},
			events: []string{control(OpPong, "Hello")}},
		{name: "5.7 ping", client: true, input: []byte{0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f},
			events: []string{control(OpPing, "Hello")}},
		{name: "5.7 256 bytes", client: true, input: append([]byte{0x82, 0x7E, 0x01, 0x00}, k256...),
			events: []string{message(OpBinary, k256)}},
		{name: "5.7 64 KiB", client: true, input: append([]byte{0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0}, k64...),
			events: []string{message(OpBinary, k64)}},
		{name: "5.2 nothing", input: nil},
		{name: "5.2 half a header", input: []byte{0x82, 0xFE, 0x01}},
		{name: "5.2 half a frame", input: masked(wholeBinary, "half")[:8]},
		{name: "5.6 empty messages", input: join(masked(wholeText, ""), masked(wholeBinary, ""), masked(wholeText, "x")),
			events: []string{message(OpText, ""), message(OpBinary, ""), message(OpText, "x")}},
		{name: "5.6 empty messages from a server", client: true, input: join(plain(wholeText, ""), plain(wholeBinary, "")),
			events: []string{message(OpText, ""), message(OpBinary, "")}},
		{name: "5.6 many messages", input: slices.Repeat(join(masked(wholeText, "a"), masked(wholeBinary, "\xff\x00")), 5),
			events: slices.Repeat([]string{message(OpText, "a"), message(OpBinary, "\xff\x00")}, 5)},
	}
}

func maskingVectors() []vector {
	return []vector{
		{name: "5.1 unmasked text to a server", input: join(masked(wholeText, "ok"), plain(wholeText, "no")),
			events: []string{message(OpText, "ok")}, code: 1002, section: "5.1", at: 10},
		{name: "5.1 unmasked ping to a server", input: plain(ping, ""), code: 1002, section: "5.1", at: 2},
		{name: "5.1 unmasked close to a server", input: plain(closing, ""), code: 1002, section: "5.1", at: 2},
		{name: "5.1 unmasked fragment to a server", input: join(masked(firstText, "a"), plain(last, "b")),
			code: 1002, section: "5.1", at: 9},
		{name: "5.1 masked text to a client", client: true, input: join(plain(wholeText, "ok"), masked(wholeText, "no")),
			events: []string{message(OpText, "ok")}, code: 1002, section: "5.1", at: 6},
		{name: "5.1 masked pong to a client", client: true, input: masked(pong, ""), code: 1002, section: "5.1", at: 2},
		{name: "5.3 zero key", input: join([]byte{0x82, 0x83, 0, 0, 0, 0}, []byte("abc")),
			events: []string{message(OpBinary, "abc")}},
	}
}

func headerVectors() []vector {
	var all []vector
	for _, b := range []byte{0x40, 0x20, 0x10, 0x70} {
		all = append(all,
			vector{name: "5.2 RSV in text", input: masked(wholeText|b, "x"), code: 1002, section: "5.2", at: 1},
			vector{name: "5.2 RSV in ping", input: masked(ping|b, ""), code: 1002, section: "5.2", at: 1},
			vector{name: "5.2 RSV in continuation", client: true, input: join(plain(firstBinary, "x"), plain(last|b, "x")),
				code: 1002, section: "5.2", at: 4})
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		all = append(all,
			vector{name: "5.2 reserved opcode", input: join(masked(wholeText, "x"), masked(finBit|op, "x")),
				events: []string{message(OpText, "x")}, code: 1002, section: "5.2", at: 8},
			vector{name: "5.2 reserved opcode without FIN", client: true, input: plain(op, "x"),
				code: 1002, section: "5.2", at: 1})
	}
	return all
}

func lengthVectors() []vector {
	at125, at126 := strings.Repeat("a", 125), strings.Repeat("b", 126)
	at64k := strings.Repeat("c", 65535)
	return []vector{
		{name: "5.2 lengths 125 and 126", input: join(masked(wholeText, at125), masked(wholeText, at126)),
			events: []string{message(OpText, at125), message(OpText, at126)}},
		{name: "5.2 lengths 65535 and 65536", input: join(masked(wholeText, at64k), masked(wholeText, at64k+"d")),
			events: []string{message(OpText, at64k), message(OpText, at64k+"d")}},
		{name: "5.2 5 bytes as 16-bit length", input: []byte{0x82, 0xFE, 0, 5, 1, 2, 3, 4, 1, 2, 3, 4, 5},
			code: 1002, section: "5.2", at: 4},
		{name: "5.2 125 bytes as 16-bit length", client: true, input: join([]byte{0x82, 0x7E, 0, 125}, make([]byte, 125)),
			code: 1002, section: "5.2", at: 4},
		{name: "5.2 126 bytes as 64-bit length", client: true, input: join([]byte{0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0, 126}, make([]byte, 126)),
			code: 1002, section: "5.2", at: 10},
		{name: "5.2 65535 bytes as 64-bit length", input: []byte{0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4},
			code: 1002, section: "5.2", at: 10},
		{name: "5.2 64-bit length with the top bit", input: []byte{0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4},
			code: 1002, section: "5.2", at: 10},
		{name: "5.2 64-bit length of ones", input: []byte{0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255},
			code: 1002, section: "5.2", at: 10},
	}
}

func fragmentVectors() []vector {
	big := strings.Repeat("z", 700)
	return []vector{
		{name: "5.4 two fragments", input: join(masked(firstBinary, "ab"), masked(last, "cd"), masked(wholeText, "x")),
			events: []string{message(OpBinary, "abcd"), message(OpText, "x")}},
		{name: "5.4 byte fragments", input: join(masked(firstText, "a"), masked(more, "b"), masked(more, "c"), masked(last, "d")),
			events: []string{message(OpText, "abcd")}},
		{name: "5.4 empty fragments", input: join(masked(firstText, ""), masked(more, ""), masked(last, "")),
			events: []string{message(OpText, "")}},
		{name: "5.4 empty fragments from a server", client: true, input: join(plain(firstBinary, ""), plain(more, ""), plain(last, "")),
			events: []string{message(OpBinary, "")}},
		{name: "5.4 empty first and last", input: join(masked(firstText, ""), masked(more, "ab"), masked(last, "")),
			events: []string{message(OpText, "ab")}},
		{name: "5.4 all in the last", input: join(masked(firstText, ""), masked(last, "äb"), masked(wholeText, "c")),
			events: []string{message(OpText, "äb"), message(OpText, "c")}},
		{name: "5.4 growing", input: join(masked(firstBinary, big), masked(more, big), masked(last, big)),
			events: []string{message(OpBinary, big+big+big)}},
		{name: "5.4 control frames between", input: join(
			masked(ping, "0"), masked(firstText, "a"), masked(ping, "1"), masked(ping, ""), masked(more, "b"),
			masked(pong, strings.Repeat("p", 125)), masked(last, "c"), masked(ping, "2")),
			events: []string{control(OpPing, "0"), control(OpPing, "1"), control(OpPing, ""),
				control(OpPong, strings.Repeat("p", 125)), message(OpText, "abc"), control(OpPing, "2")}},
		{name: "5.4 control frame after an empty fragment", client: true, input: join(
			plain(firstBinary, ""), plain(ping, "hello"), plain(last, "c")),
			events: []string{control(OpPing, "hello"), message(OpBinary, "c")}},
		{name: "5.4 control frame within a character", input: join(masked(firstText, "\xe2"), masked(ping, "\xff"), masked(more, "\x82"),
			masked(pong, ""), masked(last, "\xac")),
			events: []string{control(OpPing, "\xff"), control(OpPong, ""), message(OpText, "€")}},
		{name: "5.4 continuation first", input: masked(last, "x"), code: 1002, section: "5.4", at: 1},
		{name: "5.4 open continuation first", input: masked(more, "x"), code: 1002, section: "5.4", at: 1},
		{name: "5.4 continuation after a whole message", input: join(masked(wholeText, "x"), masked(last, "y")),
			events: []string{message(OpText, "x")}, code: 1002, section: "5.4", at: 8},
		{name: "5.4 continuation after the last", input: join(masked(firstText, "x"), masked(last, "y"), masked(more, "z")),
			events: []string{message(OpText, "xy")}, code: 1002, section: "5.4", at: 15},
		{name: "5.4 text inside a message", input: join(masked(firstText, "x"), masked(wholeText, "y")),
			code: 1002, section: "5.4", at: 8},
		{name: "5.4 new fragments inside a message", client: true, input: join(plain(firstText, ""), plain(firstBinary, "y")),
			code: 1002, section: "5.4", at: 3},
	}
}

func controlVectors() []vector {
	full := strings.Repeat("\xfe", 125)
	return []vector{
		{name: "5.5 full ping and pong", input: join(masked(ping, full), masked(pong, full)),
			events: []string{control(OpPing, full), control(OpPong, full)}},
		{name: "5.5 ping of 126 bytes", input: masked(ping, full+"x"), code: 1002, section: "5.5", at: 2},
		{name: "5.5 pong of 64-bit length", client: true, input: []byte{0x8A, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0},
			code: 1002, section: "5.5", at: 2},
		{name: "5.5 close of 126 bytes", input: masked(closing, "\x03\xe8"+strings.Repeat("x", 124)),
			code: 1002, section: "5.5", at: 2},
		{name: "5.5 fragmented ping", input: masked(byte(OpPing), "x"), code: 1002, section: "5.5", at: 1},
		{name: "5.5 fragmented close", input: masked(byte(OpClose), ""), code: 1002, section: "5.5", at: 1},
		{name: "5.5 fragmented pong inside a message", input: join(masked(firstText, "x"), masked(byte(OpPong), "")),
			code: 1002, section: "5.5", at: 8},
	}
}
