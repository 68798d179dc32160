package admission

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestConnectionRateSpreads: those that are refused come back over the time that
// they need, and not all together.
func TestConnectionRateSpreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &connectionRate{rate: 100}
		waits := map[int]int{}
		for range 1100 {
			waits[g.take(time.Now())]++
		}
		if waits[0] != 100 {
			t.Errorf("%d let in at once, want 100", waits[0])
		}
		longest := 0
		for wait := range waits {
			longest = max(longest, wait)
		}
		if longest < 8 || longest > 11 {
			t.Errorf("1000 clients at 100 a second are spread over %d s: %v", longest, waits)
		}
		for range 20 {
			time.Sleep(50 * time.Millisecond)
			for range 5 {
				if wait := g.take(time.Now()); wait != 0 {
					t.Fatalf("at the rate: wait %d s", wait)
				}
			}
		}
		for range 1_000_000 {
			if wait := g.take(time.Now()); wait > maxRateWait {
				t.Fatalf("told to wait %d s", wait)
			}
		}
		time.Sleep(time.Hour)
		if wait := g.take(time.Now()); wait != 0 {
			t.Error("not let in after an hour")
		}
	})
	slow := &connectionRate{rate: 0.5}
	if wait := slow.take(time.Now()); wait != 0 {
		t.Errorf("the first of all waits %d s", wait)
	}
}
