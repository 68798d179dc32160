//go:build linux

package main

import (
	"math"
	"slices"
	"strings"

	"github.com/labgate/labgate/bench/internal/stats"
)

// The verdicts on a goal.
const (
	met         = "met"
	notMet      = "NOT MET"
	loadLimit   = "not met; the load program was the limit"
	stated      = "stated" // the figure has no goal
	notMeasured = "not measured"
)

// Verdict is one line of the table and of the result.
type Verdict struct {
	Type      string  `json:"type"` // "goal"
	Case      string  `json:"case"`
	Name      string  `json:"name"`
	Unit      string  `json:"unit"`
	Work      string  `json:"work"`
	Rounds    int     `json:"rounds"` // with a figure
	Median    float64 `json:"median"`
	Min       float64 `json:"min"`
	Max       float64 `json:"max"`
	Reference string  `json:"reference,omitempty"`
	Against   float64 `json:"reference_median,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"` // median of the rounds' own ratios
	Goal      string  `json:"goal,omitempty"`
	Limit     float64 `json:"limit"`
	Verdict   string  `json:"verdict"`
}

// judgeAll judges the goals of the cases that were selected.
func judgeAll(goals []goal, samples []*Sample, selected func(string) bool) (all []*Verdict) {
	for i := range goals {
		if selected(goals[i].of) {
			all = append(all, goals[i].judge(samples))
		}
	}
	return all
}

func (g *goal) judge(samples []*Sample) *Verdict {
	v := &Verdict{Type: "goal", Case: g.of, Name: g.name, Unit: g.unit, Work: g.work, Reference: g.reference, Goal: g.text, Limit: g.limit, Verdict: notMeasured}
	var values, ratios, against []float64
	limited := 0
	for _, s := range samples {
		if !slices.Contains(strings.Split(g.work, "\n"), s.Label) || s.Error != "" && !g.worst {
			continue
		}
		value := g.figure(s)
		if math.IsNaN(value) {
			continue
		}
		values = append(values, value)
		if s.limited {
			limited++
		}
		if ref := g.referenceIn(samples, s.Round); ref > 0 {
			against = append(against, ref)
			ratios = append(ratios, value/ref)
		}
	}
	if len(values) == 0 {
		return v
	}
	v.Rounds, v.Median, v.Min, v.Max = len(values), stats.Median(values), slices.Min(values), slices.Max(values)
	decides := v.Median
	if g.worst {
		decides = v.Max
	}
	if g.reference != "" {
		if len(ratios) == 0 {
			return v
		}
		v.Against, v.Ratio = stats.Median(against), stats.Median(ratios)
		decides = v.Ratio
	}
	switch {
	case g.text == "":
		v.Verdict = stated
	case g.least && decides >= g.limit, !g.least && decides <= g.limit:
		v.Verdict = met
	case g.least && limited*2 > len(values):
		v.Verdict = loadLimit
	default:
		v.Verdict = notMet
	}
	return v
}

// referenceIn is the reference's figure of a round; 0: none.
func (g *goal) referenceIn(samples []*Sample, round int) float64 {
	for _, s := range samples {
		if g.reference != "" && s.Label == g.reference && s.Round == round && s.Error == "" {
			if v := g.figure(s); !math.IsNaN(v) {
				return v
			}
		}
	}
	return 0
}
