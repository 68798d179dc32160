package search

import (
	"errors"
	"testing"
)

func TestHighestFindsTheBorder(t *testing.T) {
	for _, border := range []float64{100, 101, 137, 999.9, 1000, 5000, 123456} {
		for _, start := range []float64{10, 100, 1000, 100000} {
			for _, factor := range []float64{1.1, 1.5, 2} {
				tries := 0
				best, err := Highest(Plan{Start: start, Factor: factor, Precision: 1.05, Min: 10, Max: 1e6}, func(rate float64) (bool, error) {
					tries++
					return rate <= border, nil
				})
				if err != nil || best > border || best < border/1.05 {
					t.Errorf("border %g from %g by %g: %g, %v", border, start, factor, best, err)
				}
				if factor == 2 && tries > 24 {
					t.Errorf("border %g from %g: %d tries", border, start, tries)
				}
			}
		}
	}
}

func TestHighestAtTheEnds(t *testing.T) {
	p := Plan{Start: 100, Factor: 2, Precision: 1.05, Min: 10, Max: 1000}
	if best, err := Highest(p, func(float64) (bool, error) { return true, nil }); best != 1000 || err != nil {
		t.Errorf("everything sustained: %g, %v", best, err)
	}
	if best, err := Highest(p, func(float64) (bool, error) { return false, nil }); best != 0 || !errors.Is(err, ErrNone) {
		t.Errorf("nothing sustained: %g, %v", best, err)
	}
	if best, err := Highest(p, func(r float64) (bool, error) { return r <= 10, nil }); best != 10 || err != nil {
		t.Errorf("only the least sustained: %g, %v", best, err)
	}
}

func TestHighestTriesAgain(t *testing.T) {
	seen := map[float64]int{}
	best, err := Highest(Plan{Start: 100, Factor: 2, Precision: 1.1, Retries: 1, Min: 10, Max: 1000}, func(rate float64) (bool, error) {
		seen[rate]++
		return rate <= 400 && seen[rate] > 1, nil // every first try fails
	})
	if err != nil || best > 400 || best < 400/1.1 {
		t.Errorf("%g, %v", best, err)
	}
	for rate, n := range seen {
		if n != 2 {
			t.Errorf("rate %g was tried %d times", rate, n)
		}
	}
}

func TestHighestKeepsWhatItHasOnError(t *testing.T) {
	broken := errors.New("broken")
	best, err := Highest(Plan{Start: 100, Factor: 2, Precision: 1.05, Min: 10, Max: 1e6}, func(rate float64) (bool, error) {
		if rate > 500 {
			return false, broken
		}
		return true, nil
	})
	if best != 400 || !errors.Is(err, broken) {
		t.Errorf("%g, %v", best, err)
	}
}

func TestHighestRefusesPlans(t *testing.T) {
	for _, p := range []Plan{
		{},
		{Start: 1, Factor: 1, Precision: 1.1, Min: 1, Max: 2},
		{Start: 1, Factor: 2, Precision: 1, Min: 1, Max: 2},
		{Start: 1, Factor: 2, Precision: 1.1, Min: 2, Max: 3},
		{Start: 4, Factor: 2, Precision: 1.1, Min: 2, Max: 3},
	} {
		if _, err := Highest(p, func(float64) (bool, error) { return true, nil }); err == nil {
			t.Errorf("%+v was accepted", p)
		}
	}
}
