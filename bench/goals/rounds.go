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

// runner executes a run. A runner belongs to one goroutine; the goroutines of
// loads only read it.
type runner struct {
	o       *Options
	out     *output
	samples []*Sample
	again   time.Duration // spent on repeated measurements
	// maxAgain bounds the time of repeated measurements: on a busy machine the
	// run would take twice as long.
	maxAgain time.Duration
}

// rounds measures every case once a round. Every second round reverses the order
// of a case's workloads, so that none is always the first. The error lists the
// failed measurements; a failure does not end the run.
func (r *runner) rounds(ctx context.Context) error {
	var failed []error
	for round := range r.o.Rounds {
		for _, c := range r.plan() {
			if c.rounds > 0 && round >= c.rounds {
				continue
			}
			workloads := slices.Clone(c.workloads)
			if round%2 == 1 {
				slices.Reverse(workloads)
			}
			for i := range workloads {
				if ctx.Err() != nil {
					return errors.Join(append(failed, ctx.Err())...)
				}
				failed = append(failed, r.work(ctx, round+1, &workloads[i]))
			}
		}
	}
	return errors.Join(failed...)
}

// plan returns the cases of a round.
func (r *runner) plan() (plan []testCase) {
	for _, c := range r.o.cases() {
		if r.o.needed(c.name) {
			plan = append(plan, c)
		}
	}
	return plan
}

// work measures a workload, and again when other programs disturbed it; the
// less disturbed measurement counts. A failed measurement always counts.
func (r *runner) work(ctx context.Context, round int, w *workload) error {
	s := r.measure(ctx, w)
	if s.Error == "" && s.Other > otherShare && w.repeatable() && r.again < r.maxAgain {
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

// repeatable says whether a disturbed measurement is repeated. A search already
// tries each rate twice, and a workload with several loads takes long.
func (w *workload) repeatable() bool {
	return len(w.loads) == 0 || len(w.loads) == 1 && !slices.Contains(w.loads[0].args, "--saturate")
}

// saturation returns part × the median rate that the searches of a label have
// found so far.
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
