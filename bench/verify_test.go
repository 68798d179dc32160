package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// step is a frame seen, or with lost a report.
type step struct {
	from, to uint64
	lost     bool
}

func TestVerifier(t *testing.T) {
	for _, tc := range []struct {
		name  string
		sent  uint64
		steps []step
		want  tally
	}{
		{name: "nothing sent"},
		{name: "nothing received", sent: 10, want: tally{missing: 10}},
		{name: "all in order", sent: 30, steps: []step{{from: 0, to: 10}, {from: 10, to: 20}, {from: 20, to: 30}}, want: tally{received: 30}},
		{name: "gap", sent: 30, steps: []step{{from: 0, to: 10}, {from: 20, to: 30}}, want: tally{received: 20, missing: 10}},
		{name: "first missing", sent: 20, steps: []step{{from: 10, to: 20}}, want: tally{received: 10, missing: 10}},
		{name: "last missing", sent: 20, steps: []step{{from: 0, to: 10}}, want: tally{received: 10, missing: 10}},
		{name: "reported before the gap", sent: 30, steps: []step{{from: 0, to: 10}, {10, 20, true}, {from: 20, to: 30}}, want: tally{received: 20, lost: 10}},
		{name: "reported after the gap", sent: 30, steps: []step{{from: 0, to: 10}, {from: 20, to: 30}, {10, 20, true}}, want: tally{received: 20, lost: 10}},
		{name: "reported in parts", sent: 40, steps: []step{{10, 15, true}, {from: 0, to: 10}, {from: 30, to: 40}, {15, 30, true}}, want: tally{received: 20, lost: 20}},
		{name: "one report over two gaps and a frame", sent: 50, steps: []step{{from: 0, to: 10}, {from: 20, to: 30}, {from: 40, to: 50}, {10, 40, true}},
			want: tally{received: 30, lost: 20, falseLost: 10}},
		{name: "reported at the end", sent: 20, steps: []step{{from: 0, to: 10}, {10, 20, true}}, want: tally{received: 10, lost: 10}},
		{name: "reported too little", sent: 30, steps: []step{{10, 19, true}, {from: 0, to: 10}, {from: 20, to: 30}}, want: tally{received: 20, lost: 9, missing: 1}},
		{name: "reported too much, then received", sent: 30, steps: []step{{10, 21, true}, {from: 0, to: 10}, {from: 20, to: 30}}, want: tally{received: 20, lost: 10, falseLost: 1}},
		{name: "reported twice", sent: 30, steps: []step{{10, 20, true}, {10, 20, true}, {from: 0, to: 10}, {from: 20, to: 30}}, want: tally{received: 20, lost: 10, falseLost: 10}},
		{name: "reported twice after the gap", sent: 30, steps: []step{{from: 0, to: 10}, {from: 20, to: 30}, {10, 20, true}, {10, 20, true}}, want: tally{received: 20, lost: 10, falseLost: 10}},
		{name: "reported though received", sent: 20, steps: []step{{from: 0, to: 20}, {5, 10, true}}, want: tally{received: 20, falseLost: 5}},
		{name: "reported though never sent", sent: 20, steps: []step{{from: 0, to: 20}, {20, 30, true}}, want: tally{received: 20, falseLost: 10}},
		{name: "empty report", sent: 10, steps: []step{{from: 0, to: 10}, {5, 5, true}, {7, 6, true}}, want: tally{received: 10, badReports: 2}},
		{name: "duplicate", sent: 20, steps: []step{{from: 0, to: 10}, {from: 0, to: 10}, {from: 10, to: 20}}, want: tally{received: 20, duplicates: 10}},
		{name: "half a duplicate", sent: 20, steps: []step{{from: 0, to: 10}, {from: 5, to: 20}}, want: tally{received: 20, duplicates: 5}},
		{name: "swapped", sent: 30, steps: []step{{from: 0, to: 10}, {from: 20, to: 30}, {from: 10, to: 20}}, want: tally{received: 30, disorder: 10}},
		{name: "late and reported", sent: 30, steps: []step{{from: 0, to: 10}, {from: 20, to: 30}, {10, 20, true}, {from: 10, to: 20}}, want: tally{received: 20, lost: 10, duplicates: 10}},
		{name: "index that cannot be", sent: 10, steps: []step{{from: 0, to: 10}, {from: 1<<64 - 1, to: 5}}, want: tally{received: 10, duplicates: 6}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s streamState
			var got tally
			for _, st := range tc.steps {
				if st.lost {
					s.report(&got, st.from, st.to)
				} else {
					s.observe(&got, st.from, st.to-st.from)
				}
			}
			s.finish(&got, tc.sent)
			if got != tc.want {
				t.Errorf("got %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

// TestVerifierAccounts simulates correct gateways: frames are dropped at
// random, and reported in ranges at random times, split or joined at random.
func TestVerifierAccounts(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s streamState
		var got tally
		var owed []step // reports to be made
		var seq, received uint64
		for range 200 {
			n := 1 + rng.Uint64N(20)
			switch rng.IntN(4) {
			case 0: // drop, and tell some time
				cut := seq + rng.Uint64N(n)
				owed = append(owed, step{from: seq, to: cut}, step{from: cut, to: seq + n})
			default:
				s.observe(&got, seq, n)
				received += n
			}
			seq += n
			for len(owed) > 0 && rng.IntN(3) == 0 {
				i := rng.IntN(len(owed))
				if owed[i].from < owed[i].to {
					s.report(&got, owed[i].from, owed[i].to)
				}
				owed = slices.Delete(owed, i, i+1)
			}
		}
		for _, o := range owed {
			if o.from < o.to {
				s.report(&got, o.from, o.to)
			}
		}
		if got.accounted() != seq {
			t.Fatalf("seed %d: %d of %d accounted for before the end", seed, got.accounted(), seq)
		}
		s.finish(&got, seq)
		if want := (tally{received: received, lost: seq - received}); got != want {
			t.Fatalf("seed %d: got %+v, want %+v", seed, got, want)
		}
	}
}

func TestVerifierIsBounded(t *testing.T) {
	var s streamState
	var got tally
	for i := range uint64(2 * maxOpenSpans) {
		s.observe(&got, 2*i, 1)
	}
	if got.overflow == 0 {
		t.Error("no overflow noted")
	}
	if s.open != nil && len(s.open.missing) > maxOpenSpans {
		t.Errorf("%d ranges kept, at most %d allowed", len(s.open.missing), maxOpenSpans)
	}
}

// TestSpans compares with a simple set.
func TestSpans(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var s spans
		var plain [64]bool
		for range 100 {
			a := rng.Uint64N(64)
			n := span{a, min(a+rng.Uint64N(12), 64)}
			add := rng.IntN(2) == 0
			var want, got uint64
			for i := n.from; i < n.to; i++ {
				if plain[i] != add {
					want++
				}
				plain[i] = add
			}
			if add {
				got = s.add(n)
			} else {
				got = s.remove(n)
			}
			if got != want {
				t.Fatalf("seed %d: %v changed %d, want %d", seed, n, got, want)
			}
			var back [64]bool
			for i, p := range s {
				if p.from >= p.to || i > 0 && s[i-1].to >= p.from {
					t.Fatalf("seed %d: not sorted, disjoint and apart: %v", seed, s)
				}
				for j := p.from; j < p.to; j++ {
					back[j] = true
				}
			}
			if back != plain {
				t.Fatalf("seed %d: %v holds %v, want %v", seed, s, back, plain)
			}
		}
	}
}
