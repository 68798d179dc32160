//go:build linux

package main

import (
	"math"

	"github.com/labgate/labgate/bench"
)

// figure returns a number from a sample, NaN if there is none.
type figure func(*Sample) float64

var none = math.NaN()

// of returns the first value of f over all reports that is not NaN.
func of(s *Sample, f func(*bench.Report) float64) float64 {
	for _, r := range s.reports {
		if v := f(r); !math.IsNaN(v) {
			return v
		}
	}
	return none
}

// most is the highest figure of all reports.
func most(s *Sample, f func(*bench.Report) float64) float64 {
	highest := none
	for _, r := range s.reports {
		if v := f(r); math.IsNaN(highest) || v > highest {
			highest = v
		}
	}
	return highest
}

func limitRate(s *Sample) float64 {
	if s.limit == nil {
		return none
	}
	return s.limit.PerSecond
}

func limitCPU(s *Sample) float64 {
	if s.limit == nil {
		return none
	}
	return s.limit.CPUPerOne
}

// serverCPU is the cost of one delivery, in µs; what the limit's sender
// spends is comparable.
func serverCPU(s *Sample) float64 {
	if s.limit != nil {
		return s.limit.CPUPerOne
	}
	return of(s, func(r *bench.Report) float64 {
		if r.Results.Server == nil || r.Results.Server.CPUPerDelivery == 0 {
			return none
		}
		return r.Results.Server.CPUPerDelivery
	})
}

// serverShare is in percent of a core. Of several loads that run at once, the
// load with traffic measures the time.
func serverShare(s *Sample) float64 {
	return most(s, func(r *bench.Report) float64 {
		if r.Results.Server == nil || r.Results.Telemetry == nil {
			return none
		}
		return r.Results.Server.CPUShare * 100
	})
}

// saturationRate is the scheduled rate of the best step. The deliveries of the
// step itself may contain a backlog of the warm-up.
func saturationRate(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		sat := r.Results.Saturation
		switch {
		case sat == nil:
			return none
		case r.Scenario == bench.ScenarioFanout:
			return sat.Rate * float64(r.Options.Devices*r.Options.Frontends)
		}
		return sat.Rate
	})
}

// latency is that of the scenario's main traffic.
func latency(s *Sample, at func(*bench.Latency) float64) float64 {
	return of(s, func(r *bench.Report) float64 {
		var l *bench.Latency
		res := &r.Results
		switch {
		case res.Telemetry != nil:
			l = res.Telemetry.Latency
		case res.Unicast != nil:
			l = res.Unicast.Latency
		case res.Commands != nil:
			l = res.Commands.Latency
		}
		if l == nil {
			return none
		}
		return at(l)
	})
}

func p50(s *Sample) float64 { return latency(s, func(l *bench.Latency) float64 { return l.P50 }) }
func p99(s *Sample) float64 { return latency(s, func(l *bench.Latency) float64 { return l.P99 }) }

func urgentP99(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		if c := r.Results.Commands; c != nil && c.Urgent != nil {
			return c.Urgent.P99
		}
		return none
	})
}

func lateP99(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		if l := r.Results.Load; l != nil && l.Late != nil {
			return l.Late.P99
		}
		return none
	})
}

func cpuPerSampleOut(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		d, server := r.Results.Telemetry, r.Results.Server
		if d == nil || server == nil || d.UnitsPerS == 0 {
			return none
		}
		return server.CPUShare * 1e6 / d.UnitsPerS
	})
}

func cpuPerSampleIn(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 { return cpuPerSampleOut(s) * float64(r.Options.Frontends) })
}

func idleKiB(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		if i := r.Results.Idle; i != nil && i.PerConnKiB > 0 {
			return i.PerConnKiB
		}
		return none
	})
}

func idleRoutines(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		if i := r.Results.Idle; i != nil && r.Options.AdminURL != "" {
			return i.PerConnRoutines
		}
		return none
	})
}

func storm(s *Sample, f func(*bench.StormResult) float64) float64 {
	return of(s, func(r *bench.Report) float64 {
		if st := r.Results.Storm; st != nil && st.Back != nil {
			return f(st)
		}
		return none
	})
}

func stormMissing(s *Sample) float64 {
	return storm(s, func(st *bench.StormResult) float64 { return float64(st.Dropped - st.Back.Open) })
}

func stormSeconds(s *Sample) float64 {
	return storm(s, func(st *bench.StormResult) float64 { return st.Recovered })
}

func stormP99(s *Sample) float64 {
	return storm(s, func(st *bench.StormResult) float64 {
		if st.During == nil {
			return none
		}
		return st.During.P99
	})
}

func memory(s *Sample, f func(*bench.ServerResult) int64) float64 {
	return most(s, func(r *bench.Report) float64 {
		if r.Results.Server == nil {
			return none
		}
		return float64(f(r.Results.Server)) / 1024
	})
}

func rssMiB(s *Sample) float64 {
	return memory(s, func(r *bench.ServerResult) int64 { return r.RSSKiB })
}

func peakMiB(s *Sample) float64 {
	return memory(s, func(r *bench.ServerResult) int64 { return r.PeakRSSKiB })
}

// dropped is the share of the telemetry that the gateway reported as lost, in
// percent.
func dropped(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		if d := r.Results.Telemetry; d != nil && d.Expected > 0 {
			return float64(d.LostReported) / float64(d.Expected) * 100
		}
		return none
	})
}

// faults counts the faults in all reports of the sample, failed runs included.
func faults(s *Sample) float64 {
	if len(s.reports) == 0 {
		return none
	}
	var n uint64
	for _, r := range s.reports {
		for _, d := range []*bench.DeliveryResult{r.Results.Telemetry, r.Results.Unicast} {
			if d != nil && !r.Options.AllowLoss {
				n += d.LostReported
			}
			if d != nil {
				n += d.Missing + d.Duplicates + d.Disorder + d.FalseLost + uint64(d.Corrupt) + d.FramesUnsent
			}
		}
		if c := r.Results.Commands; c != nil {
			n += c.Unanswered + c.Refused + c.Duplicates + c.Disorder
		}
		if i := r.Results.Idle; i != nil {
			n += uint64(i.Closed)
		}
	}
	return float64(n)
}

// loadLimited reports whether the load program ended a search.
func loadLimited(s *Sample) bool {
	for _, r := range s.reports {
		if sat := r.Results.Saturation; sat != nil && sat.LoadLimited {
			return true
		}
	}
	return false
}

// delivered is the throughput of a run at a fixed rate.
func delivered(s *Sample) float64 {
	return of(s, func(r *bench.Report) float64 {
		if d := r.Results.Telemetry; d != nil {
			return d.PerSecond
		}
		return none
	})
}
