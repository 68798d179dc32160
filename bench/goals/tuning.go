//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labgate/labgate/bench/internal/stats"
)

// settings are the options that goals tuning compares: the defaults, and then
// one changed option at a time.
var settings = [][]string{
	{},
	{"--pollers", "2"},
	{"--io-mode", "blocking"},
	{"--io-mode", "mixed", "--mixed-threshold", "100"},
	{"--flush-interval", "0"},
	{"--flush-interval", "5ms"},
	{"--read-buffer", "4096"},
	{"--read-buffer", "65536"},
}

// defaultSettings is the name of the line that the others are compared with.
const defaultSettings = "defaults: 1 poller, nonblocking, 1ms, 16384"

// Parts of a setting, in the labels of their workloads.
const (
	partSaturation = "saturation"
	partFanout     = "fan-out 500 k/s"
	partCommands   = "commands 1 k/s"
)

func settingName(options []string) string {
	if len(options) == 0 {
		return defaultSettings
	}
	return strings.Join(options, " ")
}

func partLabel(setting, part string) string { return setting + ": " + part }

// tuningCases measures all settings of a part directly after each other.
func tuningCases() []testCase {
	parts := []struct {
		name  string
		loads []load
	}{
		{partFanout, benchRun("fanout", "--rate", "2500")},
		{partCommands, benchRun("commands", "--rate", "1000")},
		// Low enough for a goroutine a connection on one processor.
		{partSaturation, search("1000", "fanout")},
	}
	all := make([]testCase, 0, len(parts))
	for _, p := range parts {
		c := testCase{name: p.name}
		for _, s := range settings {
			c.workloads = append(c.workloads, workload{
				label: partLabel(settingName(s), p.name), server: gateway(s...), loads: p.loads,
				shared: slices.Contains(s, "--pollers"),
			})
		}
		all = append(all, c)
	}
	return all
}

// tuningTable is the result as Markdown.
func tuningTable(h *Head, samples []*Sample) string {
	var b strings.Builder
	intro(&b, "What options of labgate serve change", h, samples)
	b.WriteString("Fan-out is 1 → 200 of 128 bytes, CPU is per delivery (commands: per message, two of them a round trip). Medians of the rounds. With `--pollers 2` the server may use both processors and shares one with the load: it would do better on a machine of its own.\n\n")
	b.WriteString("| setting | saturation, deliveries/s | fan-out 500 k/s: deliveries/s | p50, µs | p99, µs | CPU, µs | memory, MiB | commands 1 k/s: p50, µs | p99, µs | CPU, µs | memory, MiB |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, s := range settings {
		name := settingName(s)
		fmt.Fprintf(&b, "| `%s` |", name)
		for _, col := range []struct {
			part string
			of   figure
		}{
			{partSaturation, saturationRate},
			{partFanout, delivered}, {partFanout, p50}, {partFanout, p99}, {partFanout, serverCPU}, {partFanout, rssMiB},
			{partCommands, p50}, {partCommands, p99}, {partCommands, serverCPU}, {partCommands, rssMiB},
		} {
			var values []float64
			for _, sample := range samples {
				if v := col.of(sample); sample.Label == partLabel(name, col.part) && sample.Error == "" && v == v {
					values = append(values, v)
				}
			}
			if len(values) == 0 {
				b.WriteString(" not measured |")
				continue
			}
			fmt.Fprintf(&b, " %s |", number(stats.Median(values)))
		}
		b.WriteString("\n")
	}
	failures(&b, samples)
	return b.String()
}
