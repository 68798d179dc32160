package tensile

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestPacerNeitherDriftsNorRepeats(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	start := time.Unix(1000, 0)
	p, err := NewPacer(start, 100*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	now, next := start, uint64(0)
	for range 10_000 {
		now = now.Add(time.Duration(rng.IntN(20_000_000)) - 2*time.Millisecond) // late ticks, and sometimes back
		first, n := p.Due(now)
		if first != next || n < 0 {
			t.Fatalf("hands out %d samples from %d, want them from %d", n, first, next)
		}
		next += uint64(n)
	}
	end := start.Add(24 * time.Hour)
	first, n := p.Due(end)
	if got, want := first+uint64(n), uint64(24*3600*10_000+1); got != want {
		t.Errorf("%d samples in a day, want %d", got, want)
	}
}

func TestPacerRefusesNoPeriod(t *testing.T) {
	if _, err := NewPacer(time.Time{}, 0); err == nil {
		t.Error("a period of 0 is accepted")
	}
}
