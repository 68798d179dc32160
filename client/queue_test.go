package client

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

func testFrame(seq uint64, samples uint16) []byte {
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI16, Seq: seq, Channels: 1, Count: samples}
	return protocol.AppendI16(h.Append(nil), make([]int16, samples)...)
}

func TestQueueBoundsText(t *testing.T) {
	q := newQueue(SendBuffer{Text: 10 * (100 + frameOverhead), Telemetry: 1})
	msg := []byte(strings.Repeat("x", 100))
	if err := q.putText(0, msg, false); !errors.Is(err, ErrNotConnected) {
		t.Errorf("before the first connection: %v", err)
	}
	q.connect(100)
	epoch, err := q.present()
	check(t, err)
	for i := range 10 {
		check(t, q.putText(epoch, msg, i%2 == 0))
	}
	for _, urgent := range []bool{false, true} {
		if err := q.putText(epoch, msg, urgent); !errors.Is(err, ErrQueueFull) {
			t.Errorf("the eleventh: %v", err)
		}
	}
	if err := q.putText(epoch, append(msg, 'x'), false); !errors.Is(err, ErrTooLarge) {
		t.Errorf("101 bytes: %v", err)
	}
	if _, _, ok := q.take(false); !ok {
		t.Error("nothing to take")
	}
	check(t, q.putText(epoch, msg, false))
	q.disconnect()
	if q.textBytes != 0 {
		t.Errorf("%d bytes left of a connection that is gone", q.textBytes)
	}
	q.connect(100)
	if err := q.putText(epoch, msg, false); !errors.Is(err, ErrNotConnected) {
		t.Errorf("for the connection before: %v", err)
	}
	if _, _, ok := q.take(false); ok {
		t.Error("text of the connection before is sent on the next")
	}
}

// For all sequences of calls the limits hold, the order is kept, and each
// queued message is either taken or counted as dropped.
func TestQueueDropsTheOldestTelemetry(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	q := newQueue(SendBuffer{Telemetry: 4000})
	q.connect(0)
	var next, expected, given, taken uint64
	for range 100_000 {
		if rng.IntN(10) < 6 {
			samples := uint16(1 + rng.IntN(200))
			check(t, q.putTelemetry(testFrame(next, samples)))
			next += uint64(samples)
			given += uint64(samples)
		} else if b, from, ok := q.take(false); ok {
			var h protocol.TelemetryHeader
			check(t, h.Parse(b))
			if from != priorityTelemetry || h.Seq < expected {
				t.Fatalf("takes %d after %d", h.Seq, expected)
			}
			expected = h.End()
			taken += uint64(h.Count)
			q.recycle(b)
		}
		if q.telemetryBytes > 4000 {
			t.Fatalf("%d bytes queued, bound is 4000", q.telemetryBytes)
		}
	}
	for {
		b, _, ok := q.take(false)
		if !ok {
			break
		}
		var h protocol.TelemetryHeader
		check(t, h.Parse(b))
		taken += uint64(h.Count)
	}
	if q.telemetryBytes != 0 || taken+q.droppedSamples != given || q.droppedSamples == 0 {
		t.Errorf("%d samples given, %d taken, %d dropped, %d bytes left", given, taken, q.droppedSamples, q.telemetryBytes)
	}
}

func TestDequeKeepsOrderAcrossGrowthAndWrapping(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	var d deque[int]
	in, out := 0, 0
	for i := range 100_000 {
		if rng.IntN(100) < 50+10*(i/1000%2) || d.len() == 0 {
			d.push(in)
			in++
		} else if v := d.pop(); v != out {
			t.Fatalf("pops %d, want %d", v, out)
		} else {
			out++
		}
		if d.len() != in-out {
			t.Fatalf("length %d, want %d", d.len(), in-out)
		}
	}
}

func TestGapFinder(t *testing.T) {
	var g GapFinder
	for i, tc := range []struct {
		seq       uint64
		count     uint16
		kind      uint8
		from, to  uint64
		restarted bool
	}{
		{1000, 10, protocol.KindSamples, 1000, 1000, false}, // the first seen
		{1010, 5, protocol.KindSamples, 1010, 1010, false},
		{1020, 5, protocol.KindSamples, 1015, 1020, false},
		{1025, 4, protocol.KindBuckets, 0, 0, false},
		{1025, 1, protocol.KindSamples, 1025, 1025, false},
		{0, 3, protocol.KindSamples, 0, 0, true},
		{4, 1, protocol.KindSamples, 3, 4, false},
	} {
		h := protocol.TelemetryHeader{Kind: tc.kind, Seq: tc.seq, Count: tc.count}
		if from, to, restarted := g.Next(&h); from != tc.from || to != tc.to || restarted != tc.restarted {
			t.Errorf("frame %d: [%d,%d) restarted %v, want [%d,%d) %v", i, from, to, restarted, tc.from, tc.to, tc.restarted)
		}
	}
}
