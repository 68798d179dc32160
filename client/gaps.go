package client

import "github.com/labgate/labgate/protocol"

// GapFinder follows one stream and finds the samples that are missing from it.
// The zero value is ready for a stream of which nothing has been seen.
type GapFinder struct {
	next uint64
	seen bool
}

// Next takes the header of the stream's next frame and returns the samples
// missing before it: [from, to), with from == to if there are none. A stream
// that starts again at a lower number has no gap; restarted is then true.
// Samples before the first frame do not count as missing. Frames of buckets,
// which contain fewer values than samples, are ignored.
func (g *GapFinder) Next(h *protocol.TelemetryHeader) (from, to uint64, restarted bool) {
	if h.Kind != protocol.KindSamples {
		return 0, 0, false
	}
	expected := g.next
	first := !g.seen
	g.next, g.seen = h.End(), true
	switch {
	case first || h.Seq == expected:
		return h.Seq, h.Seq, false
	case h.Seq < expected:
		return h.Seq, h.Seq, true
	}
	return expected, h.Seq, false
}
