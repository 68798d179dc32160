//go:build linux

package main

import (
	"slices"

	"github.com/labgate/labgate/bench/internal/stats"
)

// A metric is one figure of a record.
type metric struct {
	Name   string // in the result
	Unit   string
	higher bool // is better
	of     func(*Record) float64
}

// metricsOf lists the figures of a case.
func metricsOf(name string) []metric {
	rate := metric{"deliveries", "/s", true, func(r *Record) float64 { return r.Outcome.PerSecond }}
	cpu := metric{"server CPU", "s per million", false, func(r *Record) float64 { return r.Outcome.CPUPerM }}
	p50 := metric{"p50", "ms", false, func(r *Record) float64 { return r.Outcome.P50 / 1e3 }}
	p99 := metric{"p99", "ms", false, func(r *Record) float64 { return r.Outcome.P99 / 1e3 }}
	switch name {
	case caseFanOut, caseUni:
		// Latency just below saturation only shows how near the last step came
		// to saturation, and is no property of the product.
		return []metric{rate, cpu}
	case caseFanOutLight, caseUniLight:
		return []metric{p50, p99, cpu}
	case caseIdle:
		return []metric{
			{"memory", "KiB per connection", false, func(r *Record) float64 { return r.Idle.PerConnKiB }},
			{"opening", "s", false, func(r *Record) float64 { return r.Idle.OpenSeconds }},
		}
	case caseLimit:
		return []metric{
			{"deliveries", "/s", true, func(r *Record) float64 { return r.Limit.PerSecond }},
			{"server CPU", "s per million", false, func(r *Record) float64 { return r.Limit.CPUPerOne }},
		}
	}
	return nil
}

// Summary is one figure of a target over all rounds: a line of the result.
type Summary struct {
	Type   string  `json:"type"` // "summary"
	Target string  `json:"target"`
	Case   string  `json:"case"`
	Metric string  `json:"metric"`
	Unit   string  `json:"unit"`
	Rounds int     `json:"rounds"` // with a figure
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Ratio is labgate's median divided by this one's; 0 for labgate itself, and
	// when one of them has no figure.
	Ratio float64 `json:"labgate_ratio,omitempty"`
	// LoadLimited says that in most rounds the load program ended the search.
	LoadLimited bool `json:"load_limited,omitempty"`

	higher bool
}

// summarize takes medians and ratios, in the order of the records' targets.
func summarize(records []*Record) []*Summary {
	var all []*Summary
	var done []key
	for _, first := range records {
		k := key{first.Target, first.Case}
		if slices.Contains(done, k) {
			continue
		}
		done = append(done, k)
		var good []*Record
		limited := 0
		for _, r := range records {
			if r.Target == k.target && r.Case == k.name && r.Error == "" {
				good = append(good, r)
				if r.LoadLimited {
					limited++
				}
			}
		}
		if len(good) == 0 {
			continue
		}
		for _, m := range metricsOf(k.name) {
			s := &Summary{
				Type: "summary", Target: k.target, Case: k.name, Metric: m.Name, Unit: m.Unit,
				Rounds: len(good), LoadLimited: limited*2 > len(good), higher: m.higher,
			}
			values := make([]float64, 0, len(good))
			for _, r := range good {
				values = append(values, m.of(r))
			}
			s.Median, s.Min, s.Max = stats.Median(values), slices.Min(values), slices.Max(values)
			all = append(all, s)
		}
	}
	for _, s := range all {
		if own := find(all, product, s.Case, s.Metric); own != nil && s.Target != product && s.Median != 0 {
			s.Ratio = own.Median / s.Median
		}
	}
	return all
}

// product is the target that all others are compared with.
const product = "labgate"

func find(all []*Summary, target, name, metric string) *Summary {
	for _, s := range all {
		if s.Target == target && s.Case == name && s.Metric == metric {
			return s
		}
	}
	return nil
}
