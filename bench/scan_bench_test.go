package bench

import "testing"

// BenchmarkReceive is the user-space part of a delivery: one op is a 128-byte
// frame cut out of a read, verified and recorded.
func BenchmarkReceive(b *testing.B) {
	w, c, data, frames := telemetryRead(64 << 10)
	b.SetBytes(int64(len(data) / frames))
	b.ReportAllocs()
	for n := 0; n < b.N; n += frames {
		c.streams[0].next = 0
		if rest, err := c.scan(data, w.now); err != nil || len(rest) != 0 {
			b.Fatalf("%d bytes left: %v", len(rest), err)
		}
	}
	if len(w.problems.list) > 0 {
		b.Fatal(w.problems.list)
	}
}
