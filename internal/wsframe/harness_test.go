package wsframe

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// testKey is the masking key of RFC 6455, 5.7.
const testKey = 0x37fa213d

// outcome is everything a Reader's user can see of one input.
type outcome struct {
	events []string
	err    error
	used   int // bytes fed before the error, all of them without one
}

// recorder is a Handler that notes what it gets and then overwrites it, as
// handlers may.
type recorder struct {
	events []string
	fail   error // returned for the event failAt (counted from 1)
	failAt int
	after  func() // called within every event
}

func (h *recorder) HandleMessage(op Opcode, payload []byte) error {
	return h.note("message", op, payload)
}

func (h *recorder) HandleControl(op Opcode, payload []byte) error {
	return h.note("control", op, payload)
}

func (h *recorder) note(kind string, op Opcode, payload []byte) error {
	if h.after != nil {
		h.after()
	}
	h.events = append(h.events, event(kind, op, string(payload)))
	scribble(payload)
	scribble(payload[:cap(payload)][len(payload):])
	if len(h.events) == h.failAt {
		return h.fail
	}
	return nil
}

func event(kind string, op Opcode, payload string) string {
	return kind + " " + op.String() + " " + payload
}

func scribble(b []byte) {
	for i := range b {
		b[i] = 0xA5
	}
}

// feedPieces feeds input in pieces of the given sizes (the rest in one) from
// one shared buffer, which is overwritten after each piece like a poller's.
// It checks what must hold after every Feed whatever the input.
func feedPieces(t testing.TB, input []byte, sizes []int, limit int, client bool, h *recorder) outcome {
	t.Helper()
	var r Reader
	r.Init(limit, client)
	defer r.Release()
	shared := make([]byte, len(input))
	fed := 0
	for i := 0; fed < len(input); i++ {
		n := len(input) - fed
		if i < len(sizes) {
			n = min(n, sizes[i])
		}
		piece := shared[:n]
		copy(piece, input[fed:])
		err := r.Feed(piece, h)
		scribble(piece)
		fed += n
		checkInvariants(t, &r, fed)
		if err != nil {
			if again := r.Feed([]byte{0x89, 0x00}, h); again != err {
				t.Fatalf("Feed after the error %v: %v", err, again)
			}
			return outcome{h.events, err, fed}
		}
	}
	return outcome{h.events, nil, fed}
}

// checkInvariants bounds the memory r holds after fed bytes of input.
func checkInvariants(t testing.TB, r *Reader, fed int) {
	t.Helper()
	if r.partial == nil {
		return
	}
	if r.stage == ended || r.stage == inHeader && r.message == 0 {
		t.Fatalf("after %d bytes: a buffer is held although no message is unfinished", fed)
	}
	if size := cap(r.partial.data); size > max(allocAhead, 2*fed) {
		t.Fatalf("after %d bytes: a buffer of %d bytes is held", fed, size)
	}
}

// sameOutcome compares all but the number of bytes used, which depends on the
// sizes of the pieces.
func sameOutcome(a, b outcome) bool {
	return slices.Equal(a.events, b.events) && errorText(a.err) == errorText(b.err)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func errorOf(t testing.TB, err error) Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is not an *Error", err, err)
	}
	return *e
}

// ones returns n piece sizes of one byte.
func ones(n int) []int { return slices.Repeat([]int{1}, n) }

// randomSizes cuts n bytes at random, with short and long pieces mixed.
func randomSizes(rnd *rand.Rand, n int) []int {
	var sizes []int
	for n > 0 {
		size := 1 + rnd.IntN(1<<rnd.IntN(12))
		sizes = append(sizes, size)
		n -= size
	}
	return sizes
}

// frame builds a frame with any first byte, valid or not, masked as the
// reader's side wants it and with the shortest length.
func frame(client bool, first byte, payload string) []byte {
	var b []byte
	if client {
		b = AppendFrame(nil, 0, []byte(payload))
	} else {
		b = AppendMaskedFrame(nil, 0, testKey, []byte(payload))
	}
	b[0] = first
	return b
}

// masked builds a frame of a client.
func masked(first byte, payload string) []byte { return frame(false, first, payload) }

// plain builds a frame of a server.
func plain(first byte, payload string) []byte { return frame(true, first, payload) }

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// First header bytes of valid frames.
const (
	firstText   = byte(OpText)
	firstBinary = byte(OpBinary)
	more        = byte(OpContinuation)
	last        = finBit | byte(OpContinuation)
	wholeText   = finBit | byte(OpText)
	wholeBinary = finBit | byte(OpBinary)
	closing     = finBit | byte(OpClose)
	ping        = finBit | byte(OpPing)
	pong        = finBit | byte(OpPong)
)
