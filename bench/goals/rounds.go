//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/labgate/labgate/bench/internal/stats"
)

// maxAgain is the default of runner.maxAgain.
const maxAgain = 5 * time.Minute

// runner carries out a run. It belongs to one goroutine; loads only read it.
type runner struct {
	o       *Options
	out     *output
	samples []*Sample
	again   time.Duration // spent on measuring again
	// maxAgain bounds the time of measurements that are made again: on a busy
	// machine the run would take twice as long.
	maxAgain time.Duration
}

// rounds measures everything once a round. Every second round takes the works
// of each case in the opposite order, so that nothing always comes first. The
// error says what failed; the others were measured all the same.
func (r *runner) rounds(ctx context.Context) error {
	var failed []error
	for round := range r.o.Rounds {
		for _, c := range r.plan() {
			if c.rounds > 0 && round >= c.rounds {
				continue
			}
			works := slices.Clone(c.works)
			if round%2 == 1 {
				slices.Reverse(works)
			}
			for i := range works {
				if ctx.Err() != nil {
					return errors.Join(append(failed, ctx.Err())...)
				}
				failed = append(failed, r.work(ctx, round+1, &works[i]))
			}
		}
	}
	return errors.Join(failed...)
}

// plan is what is to be measured in a round.
func (r *runner) plan() (plan []testCase) {
	for _, c := range r.o.cases() {
		if r.o.needed(c.name) {
			plan = append(plan, c)
		}
	}
	return plan
}

// work measures once, and once more when others on the machine took part; the
// quieter one counts. A failure is never measured away.
func (r *runner) work(ctx context.Context, round int, w *work) error {
	s := r.measure(ctx, w)
	if s.Error == "" && s.Other > foreignShare && w.repeatable() && r.again < r.maxAgain {
		begun := time.Now()
		if again := r.measure(ctx, w); again.Error != "" || again.Other < s.Other {
			s = again
			s.Again = true
		}
		r.again += time.Since(begun)
	}
	s.Round = round
	r.samples = append(r.samples, s)
	err := r.out.sample(s)
	if s.Error != "" {
		err = errors.Join(err, fmt.Errorf("round %d, %s: %s", round, w.label, s.Error))
	}
	return err
}

// repeatable says whether a disturbed measurement is made again. A search tries
// each rate twice by itself, and several loads at once take long.
func (w *work) repeatable() bool {
	return len(w.loads) == 0 || len(w.loads) == 1 && !slices.Contains(w.loads[0].args, "--saturate")
}

// saturation is a part of the rate per device that a search found so far.
func (r *runner) saturation(label string, part float64) (float64, error) {
	var rates []float64
	for _, s := range r.samples {
		for _, rep := range s.reports {
			if s.Label == label && s.Error == "" && rep.Results.Saturation != nil {
				rates = append(rates, rep.Results.Saturation.Rate)
			}
		}
	}
	if len(rates) == 0 {
		return 0, fmt.Errorf("no rate known: %s found none", label)
	}
	return stats.Median(rates) * part, nil
}
