package wsframe

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

// FuzzReader cuts any input into any pieces. The outcome must be that of the
// whole input and of the model; the harness bounds the buffers.
func FuzzReader(f *testing.F) {
	for i, v := range vectors() {
		if len(v.input) < 4096 {
			f.Add(v.input, []byte{byte(i), 1, byte(i / 2)}, v.client, uint32(min(max(v.limit, 0), 1000)))
		}
	}
	f.Fuzz(func(t *testing.T, input, pieces []byte, client bool, limit uint32) {
		limit %= 1 << 20
		sizes := make([]int, len(pieces))
		for i, p := range pieces {
			sizes[i] = int(p) + 1
		}
		whole := feedPieces(t, input, nil, int(limit), client, &recorder{})
		cut := feedPieces(t, input, sizes, int(limit), client, &recorder{})
		if !sameOutcome(whole, cut) {
			t.Fatalf("whole: %q, error %v\ncut: %q, error %v", whole.events, whole.err, cut.events, cut.err)
		}
		checkModel(t, input, int(limit), client, whole)
		checkPeerClosed(t, input, sizes, int(limit), client)
	})
}

// FuzzCutFrame cuts frames off any input. What CutFrame accepts is what the
// Reader of a client accepts as one whole frame, and what AppendFrame makes.
func FuzzCutFrame(f *testing.F) {
	for _, v := range vectors() {
		if v.client && len(v.input) < 4096 {
			f.Add(v.input)
		}
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		for len(wire) > 0 {
			op, payload, size := CutFrame(wire)
			if size == 0 {
				if payload != nil || len(Payload(wire)) > 0 {
					t.Fatalf("% x: refused, but there is a payload", wire)
				}
				return
			}
			if !bytes.Equal(AppendFrame(nil, op, payload), wire[:size]) || !bytes.Equal(Payload(wire[:size]), payload) {
				t.Fatalf("% x: cut as %v of %d bytes", wire, op, size)
			}
			if (op != OpText || utf8.Valid(payload)) && (op != OpClose || checkClose(payload) == nil) {
				got := feedPieces(t, wire[:size], nil, len(payload), true, &recorder{})
				if got.err != nil || len(got.events) != 1 {
					t.Fatalf("% x: cut as %v, but the Reader has %q, error %v", wire, op, got.events, got.err)
				}
			}
			wire = wire[size:]
		}
	})
}
