package wsframe

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// feedOn feeds all of input in pieces of the given sizes (the rest in one), also
// behind an error, and returns the Reader.
func feedOn(input []byte, sizes []int, limit int, client bool) *Reader {
	var r Reader
	r.Init(limit, client)
	input = slices.Clone(input)
	for i := 0; len(input) > 0; i++ {
		n := len(input)
		if i < len(sizes) {
			n = min(n, sizes[i])
		}
		_ = r.Feed(input[:n], &recorder{}) // what it finds is tested elsewhere
		input = input[n:]
	}
	return &r
}

// checkPeerClosed: each close frame that the model finds is found by the
// Reader, which may find more when a piece looks like one.
func checkPeerClosed(t testing.TB, input []byte, sizes []int, limit int, client bool) {
	t.Helper()
	m := model{client: client, limit: uint64(limit)}
	m.feed(input)
	if r := feedOn(input, sizes, limit, client); m.closed && !r.PeerClosed() {
		t.Fatalf("% x in pieces %v: there is a close frame, and the Reader has not seen it", input, sizes)
	}
}

// TestPeerClosed: a close frame is seen whether it is valid, invalid itself, or
// behind a frame that broke the protocol, and nothing else is taken for one.
func TestPeerClosed(t *testing.T) {
	const limit = 1000
	bad := masked(wholeText, "\xff")
	for _, c := range []struct {
		name  string
		input []byte
		want  bool
	}{
		{"nothing", nil, false},
		{"a message", masked(wholeText, "x"), false},
		{"an error", bad, false},
		{"a valid close", masked(closing, closePayload(1000, "")), true},
		{"an unfinished close", masked(closing, closePayload(1000, "bye"))[:8], false},

		{"a close of 1 byte", masked(closing, "\x03"), true},
		{"a close of 126 bytes", masked(closing, "\x03\xe8"+strings.Repeat("x", 124)), true},
		{"a close of 126 bytes, unfinished", masked(closing, "\x03\xe8"+strings.Repeat("x", 124))[:50], false},
		{"a close of 70,000 bytes", masked(closing, strings.Repeat("x", 70_000)), true},
		{"a close whose reason is not UTF-8", masked(closing, closePayload(1000, "\xff")), true},
		{"a close with a forbidden code", masked(closing, closePayload(1005, "")), true},
		{"a fragmented close", masked(byte(OpClose), closePayload(1000, "")), true},
		{"a close with an RSV bit", masked(closing|0x40, ""), true},
		{"an unmasked close", plain(closing, closePayload(1000, "")), true},
		{"a close inside a message", join(masked(firstText, "x"), masked(closing, "\x03")), true},

		{"an error, then a close", join(bad, masked(closing, "")), true},
		{"an error, then an invalid close", join(bad, masked(closing, "\x03")), true},
		{"an error, then messages and a close", join(bad, masked(wholeText, "a"), masked(wholeBinary, strings.Repeat("b", 300)), masked(closing, ""), masked(ping, "")), true},
		{"a reserved opcode, then a close", join(masked(finBit|3, "abc"), masked(closing, "")), true},
		{"an unmasked frame, then a close", join(plain(wholeText, "abc"), masked(closing, "")), true},
		{"a length that is not minimal, then a close", join([]byte{0x82, 0xFE, 0, 3, 1, 2, 3, 4, 5, 6, 7}, masked(closing, "")), true},
		{"a message too large, then a close", join(masked(wholeBinary, strings.Repeat("\x88", limit+1)), masked(closing, "")), true},
		{"a message far too large, then a close", join(masked(wholeBinary, strings.Repeat("x", 1<<17)), masked(closing, "")), true},
		{"a message too large, unfinished, that ends like a close",
			masked(wholeBinary, strings.Repeat("x", 2*limit)+string(masked(closing, "")))[:limit], false},
		{"a message too large of closes", join(masked(wholeBinary, strings.Repeat("\x88\x80\x00\x00\x00\x00", limit))), false},
		{"a message in which text fails early, then a close", join(masked(firstText, "\xff"+strings.Repeat("x", 500)), masked(more, "x"), masked(closing, "")), true},
		{"an error, then a close cut short", join(bad, masked(closing, closePayload(1000, "bye"))[:9]), false},
	} {
		rnd := rand.New(rand.NewPCG(6455, 5))
		for round := range 20 {
			sizes := randomSizes(rnd, len(c.input))
			if round == 0 {
				sizes = nil
			}
			if got := feedOn(c.input, sizes, limit, false).PeerClosed(); got != c.want {
				t.Fatalf("%s, pieces %v: %v", c.name, sizes, got)
			}
			checkPeerClosed(t, c.input, sizes, limit, false)
		}
	}
}

// TestPeerClosedOutOfStep: when the borders of frames are lost, a piece of input
// that is exactly one close frame counts as one, and nothing else does.
func TestPeerClosedOutOfStep(t *testing.T) {
	announced := []byte{0x82, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4}
	for _, c := range []struct {
		name  string
		piece []byte
		want  bool
	}{
		{"empty close", masked(closing, ""), true},
		{"with a code", masked(closing, closePayload(1002, "")), true},
		{"with the longest reason", masked(closing, closePayload(4000, strings.Repeat("r", 123))), true},
		{"short", masked(closing, "")[:5], false},
		{"something behind it", append(masked(closing, closePayload(1002, "")), 'x'), false},
		{"something before it", append([]byte("x"), masked(closing, closePayload(1002, ""))...), false},
		{"one byte", masked(closing, "x"), false},
		{"no code at all", masked(closing, "\x00\x01"), false},
		{"not masked", plain(closing, "\x03\xea1234"), false},
		{"a ping", masked(ping, closePayload(1002, "")), false},
		{"a fragment", masked(byte(OpClose), closePayload(1002, "")), false},
	} {
		var r Reader
		r.Init(1000, false)
		if err := r.Feed(slices.Clone(announced), &recorder{}); err == nil {
			t.Fatal("the message is not too large")
		}
		if err := r.Feed(c.piece, &recorder{}); errorOf(t, err).Code != 1009 || r.PeerClosed() != c.want {
			t.Errorf("%s: %v, error %v", c.name, r.PeerClosed(), err)
		}
	}
}

// TestReaderAbort: nothing is delivered behind a Handler's panic, and the
// peer's close frame is still seen.
func TestReaderAbort(t *testing.T) {
	gone := errors.New("the handler panicked")
	var r Reader
	r.Init(1000, false)
	h := recorder{after: func() { panic("in a handler") }}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come through")
			}
			r.Abort(gone)
		}()
		_ = r.Feed(join(masked(wholeText, "a"), masked(wholeText, "b")), &h)
	}()
	var behind recorder
	if err := r.Feed(masked(wholeText, "c"), &behind); err != gone || len(behind.events) != 0 || r.PeerClosed() {
		t.Errorf("after the panic: %q, error %v, closed %v", behind.events, err, r.PeerClosed())
	}
	r.Abort(errors.New("another"))
	if err := r.Feed(masked(closing, ""), &behind); err != gone || len(behind.events) != 0 || !r.PeerClosed() {
		t.Errorf("after the close: %q, error %v, closed %v", behind.events, err, r.PeerClosed())
	}
}
