package router

import (
	"github.com/labgate/labgate/router/federation"
	"math/rand/v2"
	"slices"
	"testing"
)

// sent is a batch as it went out, and whether it came.
type sent struct {
	from, to uint64
	lost     bool
}

// TestInflowTellsWhatWasLost: whatever gaps a device leaves and whatever
// batches the bus loses, what came and what is told as lost is what was sent.
func TestInflowTellsWhatWasLost(t *testing.T) {
	for _, tt := range []struct {
		name    string
		batches []sent
		want    []sampleRange
	}{
		{"nothing", []sent{{0, 10, false}, {10, 20, false}}, nil},
		{"one in between", []sent{{0, 10, false}, {10, 20, true}, {20, 30, false}}, []sampleRange{{10, 20}}},
		{"several", []sent{{0, 10, false}, {10, 20, true}, {20, 30, true}, {30, 31, false}}, []sampleRange{{10, 30}}},
		{"a gap of the device's own", []sent{{0, 10, false}, {15, 20, false}}, nil},
		{"a gap behind a loss", []sent{{0, 10, false}, {10, 20, true}, {25, 30, false}}, []sampleRange{{10, 20}}},
		{"a gap before a loss", []sent{{0, 10, false}, {15, 20, true}, {20, 30, false}}, []sampleRange{{15, 20}}},
		{"gaps within a loss", []sent{{0, 10, false}, {10, 12, true}, {15, 20, true}, {30, 40, true}, {40, 50, false}}, []sampleRange{{10, 12}, {15, 20}, {30, 40}}},
		{"a new beginning", []sent{{0, 10, false}, {0, 5, false}, {5, 6, false}}, nil},
		{"a new beginning within a loss", []sent{{0, 10, false}, {10, 20, true}, {0, 5, true}, {5, 6, false}}, []sampleRange{{10, 20}, {0, 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f feed
			var in inflow
			var lost []sampleRange
			for _, b := range tt.batches {
				rg := f.advance(b.from, b.to)
				if b.lost {
					continue
				}
				more, fresh := in.take(1, &rg, false)
				lost = append(lost, more...)
				if fresh != b.from {
					t.Errorf("batch from %d is new from %d on", b.from, fresh)
				}
			}
			if !slices.Equal(lost, tt.want) {
				t.Errorf("lost %v, want %v", lost, tt.want)
			}
		})
	}
}

// TestInflowBalances does it at random, with the end told by a position.
func TestInflowBalances(t *testing.T) {
	for range 500 {
		var f feed
		var in inflow
		start := f.position()
		in.begin(1, &start)
		var next, out, came, lost uint64
		gaps := 0
		for range 200 {
			n := 1 + rand.Uint64N(50)
			if rand.IntN(10) == 0 && gaps < federation.MaxChainsBefore {
				next, gaps = rand.Uint64N(10_000), gaps+1
			}
			rg := f.advance(next, next+n)
			next, out = next+n, out+n
			if rand.IntN(3) == 0 {
				continue
			}
			more, fresh := in.take(1, &rg, false)
			came += rg.To - fresh
			for _, l := range more {
				lost += l.to - l.from
			}
			gaps = 0
		}
		end := f.position()
		more, _ := in.take(1, &end, false)
		for _, l := range more {
			lost += l.to - l.from
		}
		if came+lost != out {
			t.Fatalf("%d came, %d told as lost, %d sent", came, lost, out)
		}
	}
}

// TestInflowTakesNothingTwice: a batch that comes after it was told as lost
// does not come at all, and what comes again is known.
func TestInflowTakesNothingTwice(t *testing.T) {
	var f feed
	var in inflow
	first, late, third := f.advance(0, 10), f.advance(10, 20), f.advance(20, 30)
	in.take(1, &first, false)
	if lost, _ := in.take(1, &third, false); !slices.Equal(lost, []sampleRange{{10, 20}}) {
		t.Fatalf("lost %v", lost)
	}
	for _, rg := range []federation.Range{late, third, first, f.position()} {
		if lost, fresh := in.take(1, &rg, false); len(lost) != 0 || fresh != rg.To {
			t.Errorf("%+v: lost %v, new from %d on", rg, lost, fresh)
		}
	}
	// Another node's count is its own.
	var other feed
	rg := other.advance(5, 7)
	if lost, fresh := in.take(2, &rg, false); len(lost) != 0 || fresh != 5 {
		t.Errorf("another node: lost %v, new from %d on", lost, fresh)
	}
}

// TestInflowThatComesBeforeItsHolder: what was lost before the first batch is
// told when it is known where the telemetry began.
func TestInflowThatComesBeforeItsHolder(t *testing.T) {
	for name, c := range map[string]struct {
		sent  []sampleRange // in front of the first that comes
		early bool
		want  []sampleRange
	}{
		"nothing was sent before": {nil, true, nil},
		"some was":                {[]sampleRange{{100, 110}, {110, 120}}, true, []sampleRange{{100, 120}}},
		"in several chains":       {[]sampleRange{{15, 19}, {100, 120}}, true, []sampleRange{{15, 19}, {100, 120}}},
		"the holder was known":    {[]sampleRange{{100, 120}}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var f feed
			var in inflow
			f.advance(0, 5) // of an earlier holding
			at := f.position()
			for _, r := range c.sent {
				f.advance(r.from, r.to)
			}
			for i, rg := range []federation.Range{f.advance(120, 130), f.advance(130, 140)} {
				if lost, fresh := in.take(1, &rg, c.early); len(lost) > 0 || fresh != rg.From {
					t.Errorf("batch %d: lost %v, new from %d on", i, lost, fresh)
				}
			}
			if lost := in.begin(1, &at); !slices.Equal(lost, c.want) {
				t.Errorf("lost %v, want %v", lost, c.want)
			}
			if lost := in.begin(1, &at); len(lost) > 0 {
				t.Errorf("told again: %v", lost)
			}
		})
	}
}
