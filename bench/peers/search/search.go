// Package search finds the highest rate that can be sustained, in few tries.
package search

import (
	"errors"
	"fmt"
	"math"
)

// Try reports whether a rate was sustained. An error ends the search.
type Try func(rate float64) (clean bool, err error)

// Plan describes a search. The search assumes that all rates below some border
// are sustained, and none above.
type Plan struct {
	Start float64 // first rate tried
	// Factor is the ratio of one rate to the next, to begin with; above 1. It
	// grows while the border is not between two rates: Start may be far off.
	Factor float64
	// Precision ends the search: the ratio of the lowest rate that was not
	// sustained to the highest that was; above 1.
	Precision float64
	// Retries is how often a rate that was not sustained is tried again,
	// because a busy machine may have spoiled the try.
	Retries  int
	Min, Max float64 // rates beyond are not tried
}

// ErrNone is the result of a search in which no rate was sustained.
var ErrNone = errors.New("no rate was sustained")

// Highest returns the highest rate that was sustained; 0 and ErrNone: none.
// With another error best is the highest rate found until then.
func Highest(p Plan, try Try) (best float64, err error) {
	if p.Factor <= 1 || p.Precision <= 1 || p.Min <= 0 || p.Start < p.Min || p.Start > p.Max {
		return 0, fmt.Errorf("search: plan %+v is contradictory", p)
	}
	clean, unclean := 0.0, math.Inf(1)
	factor := p.Factor
	for rate := p.Start; ; {
		ok, err := insist(p.Retries, rate, try)
		if err != nil {
			return clean, err
		}
		if ok {
			clean = rate
		} else {
			unclean = rate
		}
		switch {
		case unclean/clean <= p.Precision || clean == p.Max:
			return clean, nil
		case clean == 0 && unclean == p.Min:
			return 0, ErrNone
		case clean == 0:
			rate = max(rate/factor, p.Min)
		case math.IsInf(unclean, 1):
			rate = min(rate*factor, p.Max)
		default:
			rate = math.Sqrt(clean * unclean)
		}
		factor = min(factor*factor, max(p.Factor, maxFactor))
	}
}

// maxFactor bounds the growth of Plan.Factor.
const maxFactor = 2

// insist tries a rate until it is sustained, at most 1 + retries times.
func insist(retries int, rate float64, try Try) (clean bool, err error) {
	for range 1 + retries {
		if clean, err = try(rate); clean || err != nil {
			return clean, err
		}
	}
	return false, nil
}
