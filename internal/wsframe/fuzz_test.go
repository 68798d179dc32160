package wsframe

import "testing"

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
	})
}
