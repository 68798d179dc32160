//go:build linux

package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/labgate/labgate/bench/internal/stats"
)

// goalsTable is the result as Markdown.
func goalsTable(h *Head, verdicts []*Verdict, samples []*Sample) string {
	var b strings.Builder
	intro(&b, "Goals", h, samples)
	b.WriteString("Each figure is the median of the rounds, in parentheses the lowest and the highest one; × is the median of its ratios to the reference in the same round.\n\n")
	b.WriteString("| case | figure | measured | × | reference | goal | |\n|---|---|---:|---:|---|---|---|\n")
	tally := map[string]int{}
	for _, v := range verdicts {
		b.WriteString(v.row())
		tally[v.Verdict]++
	}
	fmt.Fprintf(&b, "\n%d met, %d not met, %d where the load program was the limit, %d not measured.\n", tally[met], tally[notMet], tally[loadLimit], tally[notMeasured])
	failures(&b, samples)
	return b.String()
}

func (v *Verdict) row() string {
	if v.Verdict == notMeasured && v.Rounds == 0 {
		return fmt.Sprintf("| %s | %s | | | %s | %s | %s |\n", v.Case, v.Name, v.Reference, v.Goal, notMeasured)
	}
	ratio, reference := "", ""
	if v.Reference != "" && v.Ratio > 0 {
		ratio = fmt.Sprintf("%.2f", v.Ratio)
		reference = fmt.Sprintf("%s: %s", v.Reference, quantity(v.Against, v.Unit))
	}
	verdict := v.Verdict
	switch verdict {
	case stated:
		verdict = ""
	case notMet, loadLimit:
		verdict = "**" + verdict + "**"
	}
	return fmt.Sprintf("| %s | %s | %s (%s–%s) | %s | %s | %s | %s |\n",
		v.Case, v.Name, quantity(v.Median, v.Unit), number(v.Min), number(v.Max), ratio, reference, v.Goal, verdict)
}

// intro describes the machine, and how precise the figures are.
func intro(b *strings.Builder, title string, h *Head, samples []*Sample) {
	fmt.Fprintf(b, "# %s, %s\n\n", title, h.Date)
	fmt.Fprintf(b, "Host %s: %s, %d processors, Linux %s, %s. Commit %s. Server on processor %d, load on %d. %d rounds of %g s.\n\n",
		h.HostName, h.CPU, h.Processors, h.Kernel, h.Go, h.Commit, h.ServerCPU, h.LoadCPU, h.Rounds, h.Seconds)
	others := make([]float64, 0, len(samples))
	highest := 0.0
	for _, s := range samples {
		others = append(others, s.Other)
		highest = max(highest, s.Other)
	}
	if len(others) > 0 {
		fmt.Fprintf(b, "Others on the machine took %.1f %% of a core during a measurement (median; %.0f %% at most).", stats.Median(others)*100, highest*100)
		if highest > otherShare {
			b.WriteString(" Take the figures as a hint.")
		}
		b.WriteString("\n\n")
	}
	if h.Short {
		b.WriteString("A short run: it shows that everything works, not how fast it is.\n\n")
	}
}

// failures lists the failed measurements.
func failures(b *strings.Builder, samples []*Sample) {
	head := "\n## Failed\n\n"
	for _, s := range samples {
		if s.Error != "" {
			fmt.Fprintf(b, "%s- round %d, %s: %s\n", head, s.Round, s.Label, strings.ReplaceAll(s.Error, "\n", "; "))
			head = ""
		}
	}
}

func quantity(v float64, unit string) string {
	if unit == "" {
		return number(v)
	}
	return number(v) + " " + unit
}

// number has three significant digits.
func number(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0"
	case a >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case a >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	case a >= 0.01:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.5f", v)
}
