package bench

import "github.com/labgate/labgate/bench/internal/stats"

// recorder stores latencies by the phase in which the message was due, however
// late the message arrived.
type recorder struct {
	phases []latencyPhase
}

type latencyPhase struct {
	name string
	from int64
	hist *stats.Histogram // nil: not kept
}

// begin starts a phase at a time, in ns; keep says whether it is recorded.
func (r *recorder) begin(name string, from int64, keep bool) {
	p := latencyPhase{name: name, from: from}
	if keep {
		p.hist = &stats.Histogram{}
	}
	r.phases = append(r.phases, p)
}

// record takes the latency of a message that was due at one time and arrived
// at another, both in ns.
func (r *recorder) record(due, arrived int64) {
	for i := len(r.phases) - 1; i >= 0; i-- {
		if p := &r.phases[i]; due >= p.from {
			if p.hist != nil {
				p.hist.Record(arrived - due)
			}
			return
		}
	}
}

// summary returns the latencies of the named phase; nil when it has none.
func (r *recorder) summary(name string) *Latency {
	for i := range r.phases {
		if p := &r.phases[i]; p.name == name && p.hist != nil && p.hist.Count() > 0 {
			return newLatency(p.hist)
		}
	}
	return nil
}

// p99 is that of the last phase so far, in ns.
func (r *recorder) p99() int64 {
	if n := len(r.phases); n > 0 && r.phases[n-1].hist != nil {
		return r.phases[n-1].hist.Quantile(0.99)
	}
	return 0
}

// Latency summarises delays in microseconds, counted from the moment each
// message was due.
type Latency struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   float64 `json:"p50_us"`
	P90   float64 `json:"p90_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p99_9_us"`
	Max   float64 `json:"max_us"`
}

func newLatency(h *stats.Histogram) *Latency {
	at := func(q float64) float64 { return float64(h.Quantile(q)) / 1e3 }
	return &Latency{
		Count: h.Count(), Mean: h.Mean() / 1e3,
		P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: float64(h.Max()) / 1e3,
	}
}
