//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/labgate/labgate/bench/peers/load"
	"github.com/labgate/labgate/bench/peers/target"
)

// markdown is the table of a run.
func markdown(h *Head, all []*Summary, records []*Record, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# labgate and its peers, %s\n\n", h.Date)
	fmt.Fprintf(&b, "%s, %d processors, Linux %s, %s. Server on processor %d, load on %d. Medians of %d rounds (idle: %d), %d bytes a message; %.0f s in all.\n\n",
		h.Host.CPU, h.Host.CPUs, h.Host.Kernel, h.Host.Go, h.ServerCPU, h.LoadCPU, h.Rounds, h.IdleRounds, h.Payload, took.Seconds())
	b.WriteString("Saturation is the highest rate at which nothing was lost and no backlog grew. CPU is the server's own, per million deliveries. In parentheses the lowest and the highest round. × is labgate's figure divided by the other's, bold where labgate is ahead. bench/peers/README.md says how each was measured and set.\n\n")
	if share := contention(records); share > load.ForeignShare {
		fmt.Fprintf(&b, "Others on the machine took up to %.0f %% of a core during a measurement: take the figures as a hint.\n\n", share*100)
	}
	if h.Quick {
		b.WriteString("A quick run: it shows that everything works, not how fast it is.\n\n")
	}
	section(&b, h, all, "Fan-out 1 → "+fmt.Sprint(h.Receivers)+", saturation", caseFanOut, caseLimit)
	section(&b, h, all, fmt.Sprintf("Fan-out 1 → %d, %.0f messages/s", h.Receivers, h.FanOutLight), caseFanOutLight)
	section(&b, h, all, fmt.Sprintf("Unicast %d → %d distinct, saturation", h.Receivers, h.Receivers), caseUni)
	section(&b, h, all, fmt.Sprintf("Unicast %d → %d distinct, %.0f messages/s", h.Receivers, h.Receivers, h.UniLight), caseUniLight)
	section(&b, h, all, fmt.Sprintf("%d idle connections", h.Connections), caseIdle)
	best(&b, h, all)
	b.WriteString("## What was measured\n\n| | version | settings | work for a message |\n|---|---|---|---|\n")
	for _, t := range h.Targets {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", t.Name, orUnknown(t.Version), t.Settings, t.Work)
	}
	failures(&b, records)
	return b.String()
}

// section is the table of a case; a reference case's rows come last.
func section(b *strings.Builder, h *Head, all []*Summary, title, name string, references ...string) {
	metrics := metricsOf(name)
	var rows strings.Builder
	for _, t := range targetNames(h) {
		row(&rows, all, t, name, metrics, name)
	}
	for _, ref := range references {
		row(&rows, all, "plain sockets", ref, metrics, name)
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n| |", title)
	line := "\n|---|"
	for _, m := range metrics {
		fmt.Fprintf(b, " %s, %s | × |", m.Name, m.Unit)
		line += "---:|---:|"
	}
	b.WriteString(line + "\n" + rows.String() + "\n")
	if strings.Contains(rows.String(), limitedMark) {
		b.WriteString(limitedMark + " the load program was the limit: the server can do more. Compare the CPU time.\n\n")
	}
}

const limitedMark = "≥"

// row is a target's line; ratios are to labgate's figures in the case own.
func row(b *strings.Builder, all []*Summary, t, name string, metrics []metric, own string) {
	line, some := "| "+t+" |", false
	for _, m := range metrics {
		s := find(all, t, name, m.Name)
		if s == nil {
			line += " | |"
			continue
		}
		some = true
		mark := ""
		if s.LoadLimited && m.Name == "deliveries" {
			mark = limitedMark + " "
		}
		line += fmt.Sprintf(" %s%s%s |", mark, figure(s.Median), spread(s))
		ratio := s.Ratio
		if p := find(all, product, own, m.Name); name != own && p != nil && s.Median != 0 {
			ratio = p.Median / s.Median
		}
		line += " " + ratioText(ratio, m.higher) + " |"
	}
	if some {
		b.WriteString(line + "\n")
	}
}

// contention is the largest part of a core that others took from a figure.
func contention(records []*Record) (share float64) {
	for _, r := range records {
		if r.Outcome != nil {
			share = max(share, r.Outcome.Foreign)
		}
	}
	return share
}

// spread is the range of a figure over the rounds.
func spread(s *Summary) string {
	if s.Rounds < 2 {
		return ""
	}
	return fmt.Sprintf(" (%s–%s)", figure(s.Min), figure(s.Max))
}

// best compares with the best of the peers, figure by figure.
func best(b *strings.Builder, h *Head, all []*Summary) {
	var rows strings.Builder
	for _, name := range []string{caseFanOut, caseFanOutLight, caseUni, caseUniLight, caseIdle} {
		for _, m := range metricsOf(name) {
			var top *Summary
			for _, t := range h.Targets {
				s := find(all, t.Name, name, m.Name)
				if t.Kind == string(target.Peer) && s != nil && (top == nil || (s.Median > top.Median) == m.higher) {
					top = s
				}
			}
			if own := find(all, product, name, m.Name); own != nil && top != nil {
				fmt.Fprintf(&rows, "| %s: %s, %s | %s | %s | %s | %s |\n", name, m.Name, m.Unit, figure(own.Median), figure(top.Median), top.Target, ratioText(top.Ratio, m.higher))
			}
		}
	}
	if rows.Len() > 0 {
		fmt.Fprintf(b, "## labgate and the best peer of each case\n\n| | labgate | best peer | which | × |\n|---|---:|---:|---|---:|\n%s\n", rows.String())
	}
}

// failures lists what gave no figure.
func failures(b *strings.Builder, records []*Record) {
	head := "\n## Without a figure\n\n"
	for _, r := range records {
		if r.Error != "" {
			fmt.Fprintf(b, "%s- round %d: %s\n", head, r.Round, r.Error)
			head = ""
		}
	}
}

func targetNames(h *Head) (names []string) {
	for _, t := range h.Targets {
		names = append(names, t.Name)
	}
	return names
}

// figure has three digits that count, and no more than the value needs.
func figure(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0f k", v/1e3)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func ratioText(ratio float64, higher bool) string {
	if ratio == 0 {
		return ""
	}
	text := fmt.Sprintf("%.2f", ratio)
	if ratio >= 10 {
		text = fmt.Sprintf("%.0f", ratio)
	}
	if ratio != 1 && (ratio > 1) == higher {
		return "**" + text + "**"
	}
	return text
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
