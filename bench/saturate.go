package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Saturation is the search for the highest clean rate.
type Saturation struct {
	Rate      float64 `json:"rate"`             // highest clean: frames/s of each device (fanout), messages/s in all (unicast)
	PerSecond float64 `json:"deliveries_per_s"` // delivered at that rate
	// LoadLimited says that the load generator, not the gateway, ended the
	// search: the generator was out of CPU or late.
	LoadLimited bool   `json:"load_limited"`
	Steps       []Step `json:"steps"` // in the order tried; a rate that was not clean was tried twice
}

// Step is one rate tried.
type Step struct {
	Rate      float64  `json:"rate"`
	Clean     bool     `json:"clean"`
	Why       string   `json:"why,omitempty"` // when not clean
	PerSecond float64  `json:"deliveries_per_s"`
	Drained   float64  `json:"drained_ms"`
	LoadShare float64  `json:"load_cpu_share"`
	LateP99   float64  `json:"load_late_p99_us"` // of the load generator's ticks
	Server    float64  `json:"server_cpu_share,omitempty"`
	Latency   *Latency `json:"latency,omitempty"`
}

const (
	growth = 2.0  // from one clean step to the next
	narrow = 1.05 // the search ends when unclean / clean is below this
	// A backlog that takes longer than this part of a step to drain was growing:
	// the gateway was slower than the rate by this part.
	backlogShare = 0.05
	minBacklog   = 100 * time.Millisecond
	loadLimit    = 0.97 // CPU share of the load generator that spoils a step
)

// saturate is a run that searches for the highest clean rate.
func (r *runner) saturate(ctx context.Context, found *problems) error {
	best, sat, err := r.highest(ctx, &r.o, r.o.Prefix, found)
	r.report.Results.Saturation = sat
	if best != nil {
		r.report.Results = best.results
	}
	return err
}

// highest opens a new population for each rate, so that a rate does not affect
// the next. It returns the best trial, nil if no rate was clean.
func (r *runner) highest(ctx context.Context, at *Options, prefix string, found *problems) (*trial, *Saturation, error) {
	var best *trial
	n := 0
	try := func(rate float64) (Step, error) {
		o := *at
		o.Rate = rate
		t, err := r.trial(ctx, &o, fmt.Sprintf("%s-s%d", prefix, n), o.StepDuration, o.StepDuration+2*time.Second)
		n++
		if err != nil {
			if t != nil {
				found.merge(&t.problems)
			}
			return Step{}, err
		}
		step := newStep(&o, t, found)
		if step.Clean {
			best = t
		}
		return step, nil
	}
	sat, err := search(at.Rate, try)
	switch {
	case best != nil && errors.Is(err, context.DeadlineExceeded):
		// Out of time: the rate found so far is valid.
	case err != nil:
		return nil, sat, err
	case best == nil:
		found.add(problemNoRate, "%g is not clean already: %s; start lower with --rate", at.Rate, sat.Steps[0].Why)
		return nil, sat, nil
	}
	sat.judge(backlogOf(at))
	best.results.Saturation = sat
	return best, sat, nil
}

// search raises the rate by steps until one is not clean, then narrows the
// highest clean rate down between the last two rates. A rate counts as not
// clean after two trials that were not clean: a busy machine may spoil one.
func search(rate float64, try func(rate float64) (Step, error)) (*Saturation, error) {
	sat := &Saturation{}
	clean, unclean := 0.0, 0.0
	for rate <= maxRate {
		step, err := try(rate)
		if err == nil {
			sat.Steps = append(sat.Steps, step)
		}
		if err == nil && !step.Clean {
			if step, err = try(rate); err == nil {
				sat.Steps = append(sat.Steps, step)
			}
		}
		if err != nil {
			return sat, err
		}
		if step.Clean {
			clean = rate
			sat.Rate, sat.PerSecond = rate, step.PerSecond
		} else {
			unclean = rate
		}
		switch {
		case clean == 0:
			return sat, nil
		case unclean == 0:
			rate *= growth
		case unclean/clean < narrow:
			return sat, nil
		default:
			rate = (clean + unclean) / 2
		}
	}
	return sat, nil
}

// judge sets LoadLimited: the load generator was too slow for the lowest rate
// that was not clean.
func (s *Saturation) judge(backlog time.Duration) {
	lowest := 0.0
	for _, st := range s.Steps {
		if !st.Clean && st.Rate > s.Rate && (lowest == 0 || st.Rate <= lowest) {
			lowest = st.Rate
			s.LoadLimited = st.loadLimited(backlog)
		}
	}
}

// loadLimited reports whether the load generator was too slow for the step.
func (s *Step) loadLimited(backlog time.Duration) bool {
	return s.LoadShare > loadLimit || s.LateP99*1e3 > float64(backlog)
}

// backlogOf is the longest time that the messages in flight at the end of a clean
// step may take.
func backlogOf(o *Options) time.Duration {
	return max(time.Duration(float64(o.StepDuration)*backlogShare), minBacklog)
}

// newStep judges a trial. Faults that overload does not excuse are added to found.
func newStep(o *Options, t *trial, found *problems) Step {
	s := Step{Rate: o.Rate, Drained: float64(t.drained) / 1e6, LoadShare: t.results.Load.CPUShare}
	if t.results.Server != nil {
		s.Server = t.results.Server.CPUShare
	}
	d := t.results.Telemetry
	if d == nil {
		d = t.results.Unicast
	}
	s.PerSecond, s.Latency = d.PerSecond, d.Latency
	if late := t.results.Load.Late; late != nil {
		s.LateP99 = late.P99
	}
	backlog := backlogOf(o)
	has := func(kind string) bool {
		return slices.ContainsFunc(t.problems.list, func(p Problem) bool { return p.Kind == kind })
	}
	// Between two nodes a message without an id may be lost when the link fails;
	// only the messages after it are answered with an error.
	excused := has(problemClosed) || o.FrontendTarget != "" && has(problemRefused)
	for _, p := range t.problems.list {
		if s.Why == "" {
			s.Why = p.String()
		}
		// Messages in flight are lost with a connection that the gateway closed
		// under overload.
		if !overload(p.Kind) && !(excused && (p.Kind == problemMissing || p.Kind == problemUnanswered)) {
			found.addN(p.Kind, p.Count, "at rate %g: %s", o.Rate, p.First)
		}
	}
	switch {
	case s.Why != "":
	case s.LateP99*1e3 > float64(backlog):
		s.Why = fmt.Sprintf("the load generator was %s late", micros(s.LateP99))
	case t.rest != settledAll || time.Duration(t.drained) > backlog:
		s.Why = fmt.Sprintf("backlog of %.0f ms after the step, at most %v allowed", s.Drained, backlog)
	default:
		s.Clean = true
	}
	return s
}
