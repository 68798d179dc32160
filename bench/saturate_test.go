package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

func TestSearch(t *testing.T) {
	errStop := errors.New("stop")
	for _, tc := range []struct {
		name    string
		limit   float64 // clean up to here
		spoiled int     // this trial is not clean whatever its rate; 0: none
		stop    int     // this trial fails; 0: none
		want    [2]float64
		trials  int
		err     error
	}{
		{name: "first is unclean", limit: 999, want: [2]float64{0, 0}, trials: 2},
		{name: "just the first", limit: 1000, want: [2]float64{1000, 1000}, trials: 13},
		{name: "in the middle", limit: 5200, want: [2]float64{4952, 5200}, trials: 13},
		{name: "no limit", limit: 1e9, want: [2]float64{maxRate / 2, maxRate}, trials: 16},
		{name: "one trial spoiled", limit: 5200, spoiled: 2, want: [2]float64{4952, 5200}, trials: 14},
		{name: "out of time", limit: 5200, stop: 5, want: [2]float64{4000, 4000}, trials: 5, err: errStop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			sat, err := search(1000, func(rate float64) (Step, error) {
				if n++; n == tc.stop {
					return Step{}, errStop
				}
				return Step{Rate: rate, Clean: rate <= tc.limit && n != tc.spoiled, PerSecond: 2 * rate}, nil
			})
			if !errors.Is(err, tc.err) || sat.Rate < tc.want[0] || sat.Rate > tc.want[1] || sat.PerSecond != 2*sat.Rate || n > tc.trials {
				t.Errorf("rate %g (%g/s) after %d trials, %v; want within %v after at most %d, %v", sat.Rate, sat.PerSecond, n, err, tc.want, tc.trials, tc.err)
			}
			if tc.stop == 0 && len(sat.Steps) != n {
				t.Errorf("%d steps of %d trials reported", len(sat.Steps), n)
			}
		})
	}
}

func TestLoadLimited(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []Step
		want  bool
	}{
		{"gateway", []Step{{Rate: 1, Clean: true}, {Rate: 2, LoadShare: 0.5}}, false},
		{"no CPU left", []Step{{Rate: 1, Clean: true}, {Rate: 2, LoadShare: 0.99}}, true},
		{"late", []Step{{Rate: 1, Clean: true}, {Rate: 2, LateP99: 200e3}}, true},
		{"at a higher rate only", []Step{{Rate: 1, Clean: true}, {Rate: 2, LoadShare: 0.99}, {Rate: 1.5}}, false},
		{"first try only", []Step{{Rate: 1, Clean: true}, {Rate: 2, LoadShare: 0.99}, {Rate: 2, LoadShare: 0.5}}, false},
		{"below the clean rate", []Step{{Rate: 0.5, LoadShare: 0.99}, {Rate: 0.5, Clean: true}, {Rate: 1, Clean: true}, {Rate: 2}}, false},
	} {
		s := Saturation{Rate: 1, Steps: tc.steps}
		if s.judge(100 * time.Millisecond); s.LoadLimited != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, s.LoadLimited, tc.want)
		}
	}
}

func TestStepVerdict(t *testing.T) {
	o := Options{Scenario: ScenarioFanout, Saturate: true, Rate: 1000}.withDefaults()
	load := &LoadResult{CPUShare: 0.5, Late: &Latency{P99: 100}}
	for _, tc := range []struct {
		name     string
		problems []Problem
		rest     outcome
		drained  time.Duration
		late     float64 // µs
		why      string  // "": clean
		fault    string  // kind that is no excuse
	}{
		{name: "clean", drained: 90 * time.Millisecond},
		{name: "backlog", drained: 110 * time.Millisecond, why: "backlog of 110 ms"},
		{name: "backlog that never went", rest: cutRest, why: "backlog"},
		{name: "load generator late", late: 150e3, why: "load generator was 150.00 ms late"},
		{name: "reported loss", problems: []Problem{{Kind: problemLost, Count: 5, First: "x"}}, why: problemLost},
		{name: "closed", problems: []Problem{{Kind: problemClosed, Count: 1, First: "4004"}, {Kind: problemMissing, Count: 9}}, why: "4004"},
		{name: "silent loss", problems: []Problem{{Kind: problemMissing, Count: 9}}, why: problemMissing, fault: problemMissing},
		{name: "duplicate", problems: []Problem{{Kind: problemDuplicate, Count: 9}}, why: problemDuplicate, fault: problemDuplicate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tr := &trial{problems: problems{tc.problems}, rest: tc.rest, drained: int64(tc.drained)}
			l := *load
			l.Late = &Latency{P99: tc.late}
			tr.results.Load, tr.results.Telemetry = &l, &DeliveryResult{PerSecond: 7}
			var found problems
			s := newStep(&o, tr, &found)
			if s.Clean != (tc.why == "") || !strings.Contains(s.Why, tc.why) || s.PerSecond != 7 {
				t.Errorf("step %+v, want why %q", s, tc.why)
			}
			var kinds []string
			for _, p := range found.list {
				kinds = append(kinds, p.Kind)
			}
			if tc.fault == "" && kinds != nil || tc.fault != "" && !slices.Equal(kinds, []string{tc.fault}) {
				t.Errorf("faults %v, want %q", kinds, tc.fault)
			}
		})
	}
}

// TestSaturate drives a gateway that closes front ends after so many frames.
// The clean rate depends on the machine. On every machine the search must end,
// and must report no other fault of the gateway.
func TestSaturate(t *testing.T) {
	t.Parallel()
	const limit = 400 // frames a front end
	tr := tricks{telemetry: func(p *fakePeer, n int, f []byte) [][]byte {
		if n == limit {
			p.raw(wsframe.AppendClose(nil, uint16(protocol.CloseSlowConsumer), "slow_consumer"))
		}
		return [][]byte{f}
	}}
	o := short(ScenarioFanout, newFake(t, tr).url())
	o.Devices, o.Saturate, o.StepDuration = 1, true, 100*time.Millisecond
	rep, err := Run(context.Background(), o)
	if rep == nil {
		t.Fatal(err)
	}
	s := rep.Results.Saturation
	for _, p := range rep.Problems {
		if p.Kind != problemNoRate || s.Rate != 0 {
			t.Errorf("problem %v", p)
		}
	}
	if s.Rate > limit/0.12 {
		t.Errorf("highest clean rate %g, but no front end gets more than %d frames", s.Rate, limit)
	}
	if len(s.Steps) < 2 || (s.Rate == 0) == rep.OK {
		t.Errorf("ok %v after steps %+v", rep.OK, s.Steps)
	}
}
