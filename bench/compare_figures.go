package bench

import (
	"math"
	"slices"

	"github.com/labgate/labgate/bench/internal/stats"
)

// The verdicts on a figure.
const (
	VerdictBetter = "better"
	VerdictWorse  = "worse"
	VerdictSame   = "same"    // chance explains the difference
	VerdictFew    = "too few" // runs for a verdict
)

// figureSet is one figure over the runs of a case.
type figureSet struct {
	name   string
	higher bool // a higher value is better
	values []float64
}

// collect returns the figures of the reports of one case.
func collect(reports []*Report) (all []*figureSet) {
	for _, r := range reports {
		for _, f := range figures(r) {
			i := slices.IndexFunc(all, func(s *figureSet) bool { return s.name == f.name })
			if i < 0 {
				i = len(all)
				all = append(all, &figureSet{name: f.name, higher: f.higher})
			}
			all[i].values = append(all[i].values, f.value)
		}
	}
	return all
}

// comparison is the result for one figure.
type comparison struct {
	first, second float64 // medians
	change        float64 // of the median, relative to the first; infinite when the first is 0
	p             float64 // of the rank test; not a number when there was none
	verdict       string
}

func compareFigure(a, b *figureSet) comparison {
	c := comparison{first: stats.Median(a.values), second: stats.Median(b.values), p: math.NaN(), verdict: VerdictFew}
	if c.first != c.second {
		c.change = (c.second - c.first) / math.Abs(c.first)
	}
	if len(a.values) < minSamples || len(b.values) < minSamples {
		return c
	}
	var u float64
	u, c.p = mannWhitney(a.values, b.values)
	half := float64(len(a.values)*len(b.values)) / 2
	switch {
	case c.p > alpha || u == half:
		c.verdict = VerdictSame
	case (u < half) == a.higher: // the second ones are the higher ones
		c.verdict = VerdictBetter
	default:
		c.verdict = VerdictWorse
	}
	return c
}

// spread is the range of values as a part of their median.
func spread(values []float64) float64 {
	width := slices.Max(values) - slices.Min(values)
	if width == 0 {
		return 0
	}
	return width / math.Abs(stats.Median(values))
}

// namedFigure is one figure of a report.
type namedFigure struct {
	name   string
	higher bool // a higher value is better
	value  float64
}

// figures returns the figures by which reports are compared.
func figures(r *Report) (fs []namedFigure) {
	rate := func(name string, v float64) { fs = append(fs, namedFigure{name, true, v}) }
	cost := func(name string, v float64) { fs = append(fs, namedFigure{name, false, v}) }
	latency := func(name string, l *Latency) {
		if l != nil {
			cost(name+" p50 µs", l.P50)
			cost(name+" p99 µs", l.P99)
			cost(name+" p99.9 µs", l.P999)
		}
	}
	res := &r.Results
	if c := res.Connects; c != nil {
		rate("connections/s", c.PerSecond)
	}
	if s := res.Saturation; s != nil {
		rate("saturation, deliveries/s", s.PerSecond)
	}
	if d := res.Telemetry; d != nil {
		rate("telemetry deliveries/s", d.PerSecond)
		cost("telemetry lost", float64(d.LostReported+d.Missing))
		latency("telemetry", d.Latency)
	}
	if d := res.Unicast; d != nil {
		rate("unicast messages/s", d.PerSecond)
		latency("unicast", d.Latency)
	}
	if c := res.Commands; c != nil {
		rate("commands/s", c.PerSecond)
		latency("command", c.Latency)
		latency("urgent command", c.Urgent)
	}
	if i := res.Idle; i != nil {
		cost("KiB a connection", i.PerConnKiB)
	}
	if s := res.Storm; s != nil {
		cost("recovered s", s.Recovered)
		latency("command during storm", s.During)
	}
	if c := res.Cluster; c != nil {
		fs = append(fs, c.figures()...)
		latency("command on one node", c.Near)
		latency("command across nodes", c.Far)
	}
	if s := res.Server; s != nil {
		cost("server CPU µs a message", s.CPUPerDelivery)
		cost("server RSS KiB", float64(s.RSSKiB))
	}
	return fs
}
