package bench

import (
	"math"
	"testing"
	"time"

	"github.com/labgate/labgate/bench/internal/stats"
)

// TestCoordinatedOmission simulates a responder that stalls once, and compares
// the latencies of the open loop with those of a client that waits for each
// answer.
func TestCoordinatedOmission(t *testing.T) {
	const ms = float64(1000) // in µs
	for _, tc := range []struct {
		name              string
		perSecond         float64
		seconds           float64
		service           time.Duration
		stallAt, stallFor time.Duration
		p50, p90, p99     float64 // µs
		max               float64
		closedP99         float64
	}{
		{name: "no stall", perSecond: 1000, seconds: 10, service: 100 * time.Microsecond,
			p50: 100, p90: 100, p99: 100, max: 100, closedP99: 100},
		// Message k after the start of a stall waits for stall - k × (1 ms -
		// service): the p99 of 10,000 messages is k = 100.
		{name: "1 s in 10 s", perSecond: 1000, seconds: 10, service: 100 * time.Microsecond, stallAt: 5 * time.Second, stallFor: time.Second,
			p50: 100, p90: 100 * ms, p99: 910 * ms, max: 1000 * ms, closedP99: 100},
		{name: "5 s in 10 s", perSecond: 1000, seconds: 10, service: 100 * time.Microsecond, stallAt: time.Second, stallFor: 5 * time.Second,
			p50: 500 * ms, p90: 4100 * ms, p99: 4910 * ms, max: 5000 * ms, closedP99: 100},
		// Above what the responder can do, the wait grows to the end.
		{name: "overload", perSecond: 1000, seconds: 10, service: 2 * time.Millisecond,
			p50: 5000 * ms, p90: 9000 * ms, p99: 9900 * ms, max: 10000 * ms, closedP99: 2 * ms},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var open, closed recorder
			open.begin("x", 0, true)
			closed.begin("x", 0, true)
			sched := newSchedule(1e9, tc.perSecond)
			free := int64(0)
			stall := [2]int64{sched.start + int64(tc.stallAt), sched.start + int64(tc.stallAt+tc.stallFor)}
			for g := range uint64(tc.perSecond * tc.seconds) {
				due := sched.due(g)
				begin := max(due, free)
				if begin >= stall[0] && begin < stall[1] {
					begin = stall[1]
				}
				free = begin + int64(tc.service)
				open.record(due, free)
				closed.record(begin, free) // asks only when the one before is answered
			}
			l := open.summary("x")
			for _, v := range []struct {
				name      string
				got, want float64
			}{{"p50", l.P50, tc.p50}, {"p90", l.P90, tc.p90}, {"p99", l.P99, tc.p99}, {"max", l.Max, tc.max}, {"closed p99", closed.summary("x").P99, tc.closedP99}} {
				if math.Abs(v.got-v.want) > v.want*0.02 {
					t.Errorf("%s = %.0f µs, want %.0f within 2 %%", v.name, v.got, v.want)
				}
			}
		})
	}
}

func TestRecorderSortsByDueTime(t *testing.T) {
	var r recorder
	r.begin("warmup", 0, false)
	r.begin("before", 1000, true)
	r.begin("during", 2000e3, true)
	for _, m := range []struct{ due, arrived int64 }{
		{500, 900e6},           // warm-up: not kept
		{1000, 1000 + 5e6},     // before
		{1999e3, 1999e3 + 9e6}, // before, although it arrived later
		{2000e3, 2000e3 + 1e6}, // during
		{3000e3, 2900e3},       // during; clocks never give this, but it must not panic
		{4000e3, 1 << 62},      // during; beyond the range
		{-5, 0},                // before all phases
	} {
		r.record(m.due, m.arrived)
	}
	for _, tc := range []struct {
		phase string
		count int64
		max   float64 // µs
	}{{"before", 2, 9000}, {"during", 3, stats.MaxDuration / 1e3}} {
		l := r.summary(tc.phase)
		if l == nil || l.Count != tc.count || math.Abs(l.Max-tc.max) > tc.max*0.001 {
			t.Errorf("%s: %+v, want %d up to %v µs", tc.phase, l, tc.count, tc.max)
		}
	}
	if r.summary("warmup") != nil || r.summary("absent") != nil {
		t.Error("a phase that is not kept has a summary")
	}
}

func TestScheduleCounts(t *testing.T) {
	for _, tc := range []struct {
		perSecond float64
		d         time.Duration
		want      uint64
	}{
		{1000, time.Second, 1000}, {1000, time.Second + 1, 1001}, {3, time.Second, 3}, {1e6 / 3, time.Second, 333334},
		{1000, 0, 0}, {1000, -1, 0}, {0.5, time.Second, 1}, {40e6, 10 * time.Second, 400e6},
	} {
		s := newSchedule(1_700_000_000_000_000_000, tc.perSecond)
		until := s.start + int64(tc.d)
		n := s.count(until)
		// A rate that is no whole number of ns may be off by one at the end.
		if n > tc.want+1 || n+1 < tc.want {
			t.Errorf("%g/s for %v: %d messages, want %d", tc.perSecond, tc.d, n, tc.want)
		}
		if n > 0 && s.due(n-1) >= until || s.due(n) < until {
			t.Errorf("%g/s for %v: %d is not the number due before the end", tc.perSecond, tc.d, n)
		}
	}
}
