package federation

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// ledger is what a device sent through an Outbound and what an Inbound made of
// it.
type ledger struct {
	out        Outbound
	in         Inbound
	sent, came uint64
	next       uint64
	// missing are the samples of the batches that did not come since the last
	// that did, in the order in which they were sent.
	missing []uint64
	told    []Samples
}

// send sends n samples, behind a gap (or, below 0, with numbers used before).
func (l *ledger) send(gap int64, n uint64, lost bool) {
	l.next += uint64(gap)
	rg := l.out.place(l.next, l.next+n)
	l.next, l.sent = l.next+n, l.sent+n
	if lost {
		for s := rg.From; s < rg.To; s++ {
			l.missing = append(l.missing, s)
		}
		return
	}
	l.came += n
	l.take(&rg)
}

func (l *ledger) take(rg *Range) {
	told, _ := l.in.Take(1, rg, false)
	l.check(told)
}

// check compares what was told at once with what did not come.
func (l *ledger) check(told []Samples) {
	l.told = append(l.told, told...)
	left := l.missing
	for _, s := range told {
		if s.From >= s.To || s.Count == 0 || s.Count > s.To-s.From || s.Count > uint64(len(left)) {
			panic(fmt.Sprintf("told %+v, %d are missing: %v", s, len(left), left))
		}
		for i, missing := range left[:s.Count] {
			if missing < s.From || missing >= s.To || s.Exact() && missing != s.From+uint64(i) {
				panic(fmt.Sprintf("told %+v, and sample %d is missing; all: %v", s, missing, left))
			}
		}
		left = left[s.Count:]
	}
	if len(left) > 0 {
		panic(fmt.Sprintf("nobody was told of %v, after %+v", left, told))
	}
	l.missing = nil
}

// end tells the position that a device in silence has.
func (l *ledger) end() {
	rg := l.out.Position()
	l.take(&rg)
}

// TestBooksBalance loses batches of a device that leaves gaps and starts its
// numbering over, many times within one loss: each sample comes or is told as
// lost, within the bounds that are told with it.
func TestBooksBalance(t *testing.T) {
	for _, kind := range []struct {
		name                 string
		gaps, restarts, lost float64
		longest              int
	}{
		{"no gaps", 0, 0, 0.3, 5},
		{"few gaps", 0.05, 0.01, 0.3, 5},
		{"a gap after each batch", 1, 0, 0.5, 100},
		{"gaps and restarts", 0.7, 0.1, 0.9, 300},
		{"restarts all the time", 0, 1, 0.9, 300},
		{"nothing arrives", 0.8, 0.05, 1, 400},
	} {
		t.Run(kind.name, func(t *testing.T) {
			for range 300 {
				seed := rand.Uint64()
				r := rand.New(rand.NewPCG(seed, 0))
				l := new(ledger)
				if r.IntN(2) == 0 {
					start := l.out.Position()
					l.in.Begin(1, &start)
				} else {
					l.send(0, 3, false)
				}
				for range 1 + r.IntN(kind.longest) {
					var gap int64
					switch p := r.Float64(); {
					case p < kind.restarts:
						gap = -r.Int64N(int64(l.next) + 1)
					case p < kind.restarts+kind.gaps:
						gap = 1 + r.Int64N(20)
					}
					l.send(gap, 1+r.Uint64N(6), r.Float64() < kind.lost)
				}
				l.end()
				var told uint64
				for _, s := range l.told {
					told += s.Count
				}
				if l.came+told != l.sent {
					t.Fatalf("seed %d: %d came, %d told as lost, %d sent", seed, l.came, told, l.sent)
				}
			}
		})
	}
}

// TestHowMuchIsExact: of a loss over many chains the latest are told exactly,
// and the others with their bounds.
func TestHowMuchIsExact(t *testing.T) {
	l := new(ledger)
	l.send(0, 10, false)
	for range 50 { // [20, 30), [40, 50) and so on
		l.send(10, 10, true)
	}
	l.send(0, 10, false) // goes on with the last chain
	var want []Samples
	want = append(want, Samples{10, 840, 41 * 10})
	for from := uint64(840); from <= 1000; from += 20 {
		want = append(want, Samples{from, from + 10, 10})
	}
	if !slices.Equal(l.told, want) {
		t.Errorf("told %v,\nwant %v", l.told, want)
	}
	if l.told[0].Exact() || !l.told[1].Exact() {
		t.Error("exactness is not told from the count")
	}
}

// TestANodeForgetsADevice: a node that has forgotten a device counts anew, and
// others do not take that for what they know.
func TestANodeForgetsADevice(t *testing.T) {
	l := new(ledger)
	for range 20 {
		l.send(3, 5, false)
	}
	// Chains are numbered by the microsecond; a device sends less than one in each.
	time.Sleep(time.Millisecond)
	l.out = Outbound{}
	for range 30 {
		l.send(3, 5, true)
	}
	l.send(0, 5, false)
	l.end()
	var told uint64
	for _, s := range l.told {
		told += s.Count
	}
	if told != 150 || l.sent != l.came+told {
		t.Errorf("%d told as lost, %d came, %d sent", told, l.came, l.sent)
	}
}

// FuzzInbound takes ranges that no Outbound would make: they come from a
// network.
func FuzzInbound(f *testing.F) {
	f.Add(uint64(1), uint64(1), uint64(0), uint64(0), uint64(10), uint64(10), uint64(1), uint64(0), uint64(0), 0)
	f.Add(uint64(1), uint64(20), uint64(5), uint64(7), uint64(9), uint64(1<<63), uint64(3), uint64(2), uint64(1), 8)
	f.Add(uint64(5), uint64(2), uint64(math.MaxUint64), uint64(7), uint64(3), uint64(math.MaxUint64), uint64(3), uint64(9), uint64(1), 3)
	f.Fuzz(func(t *testing.T, first, chain, start, from, to, count, rising, low, high uint64, n int) {
		var in Inbound
		known := Range{First: 1, Chain: 3, Start: 5, From: 5, To: 10, Count: 10}
		in.Begin(1, &known)
		rg := Range{First: first, Chain: chain, Start: start, From: from, To: to, Count: count, Older: Older{rising, low, high}}
		for i := range min(max(n, 0), MaxChainsBefore) {
			rg.Before = append(rg.Before, Chain{start * uint64(i), to * uint64(i)})
		}
		for range 2 {
			lost, _ := in.Take(1, &rg, false)
			for _, s := range lost {
				if s.From >= s.To || s.Count == 0 || s.Count > s.To-s.From {
					t.Errorf("%+v of %+v", s, rg)
				}
			}
			if len(lost) > MaxChainsBefore+3 {
				t.Errorf("%d losses of one range", len(lost))
			}
		}
	})
}
