//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/labgate/labgate/bench"
)

// maxCompareAgain bounds the time of repeated measurements of each gateway.
const maxCompareAgain = 30 * time.Second

// compareCases are the cases of a comparison. Most rates are fixed, because the
// CPU time of a message at a fixed rate is precise; a search finds a rate to 5 %
// only.
var compareCases = []testCase{
	{name: "fanout", workloads: []workload{
		{label: workFanout, server: gateway(), loads: search("16000", "fanout", "--warmup", "200ms")},
	}},
	{name: "fanout-2m", workloads: []workload{
		{label: workFanout2M, server: gateway(), loads: benchRun("fanout", "--rate", "10000")},
	}},
	{name: "telemetry-20", workloads: []workload{
		{label: workTelemetry20, server: gateway(), loads: benchRun("telemetry", "--devices", "20", "--samples", "1", "--frontends", "5")},
	}},
	{name: "unicast", workloads: []workload{
		{label: workUnicastFixed, server: gateway(), loads: benchRun("unicast", "--rate", "50000")},
	}},
	{name: "commands", workloads: []workload{
		{label: workCommands, server: gateway(), loads: benchRun("commands")},
	}},
	{name: "idle", workloads: []workload{
		{label: workIdle10, server: gateway(), loads: benchRun("idle", "--connections", "10000")},
	}},
	{name: "storm", workloads: []workload{
		{label: workStorm, server: gateway(), loads: benchRun("storm", "--connections", "9900")},
	}},
	{name: "cluster", workloads: []workload{
		// Telemetry of 20 devices to one front end, messages and commands. The CPU
		// time is that of both gateways.
		{label: "two nodes, telemetry 200 k/s", server: gateway("--telemetry-bytes", "4194304"), nodes: true,
			loads: benchRun("fanout", "--devices", "20", "--frontends", "1", "--rate", "10000")},
		{label: "two nodes, unicast 50 k/s", server: gateway(), nodes: true, loads: benchRun("unicast", "--rate", "50000")},
		{label: "two nodes, commands", server: gateway(), nodes: true, loads: benchRun("commands")},
	}},
}

// compare measures two gateways in alternation, with the load generator of the
// new one for both, and prints the comparison. The error lists the figures that
// are worse and the cases without figures.
func compare(ctx context.Context, o *Options, out, log io.Writer) error {
	var sides [2]*runner
	for i, name := range []string{"old", "new"} {
		head, err := newGatewayHead(o, o.Gateways[i])
		if err != nil {
			return fmt.Errorf("compare: %w", err)
		}
		head.Gateway = name
		w, err := newOutput(o, head, log)
		if err != nil {
			return err
		}
		sides[i] = &runner{o: o, out: w, maxAgain: maxCompareAgain}
	}
	err := compareRounds(ctx, o, sides)
	for _, r := range sides {
		err = errors.Join(err, r.out.close())
	}
	if err != nil {
		return err
	}
	table, err := compareResults(o, sides)
	_, werr := out.Write(table)
	return errors.Join(err, werr, sides[0].complete(), sides[1].complete())
}

// compareRounds measures every case of every round with one gateway and then
// with the other; the order changes with every round. A failed measurement is in
// the result and does not end the run.
func compareRounds(ctx context.Context, o *Options, sides [2]*runner) error {
	for round := range o.Rounds {
		for _, c := range sides[0].plan() {
			for i := range c.workloads {
				for k := range sides {
					side := (k + round) % len(sides)
					w := c.workloads[i]
					w.server = slices.Concat([]string{o.Gateways[side]}, w.server[1:])
					_ = sides[side].work(ctx, round+1, &w)
					if err := ctx.Err(); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// compareResults compares the files of the two sides and writes the table to a
// file as well.
func compareResults(o *Options, sides [2]*runner) (table []byte, err error) {
	var files [2]*os.File
	for i, r := range sides {
		if files[i], err = os.Open(r.out.base + ".jsonl"); err != nil {
			return nil, err
		}
		defer func() { _ = files[i].Close() }()
	}
	var text bytes.Buffer
	err = bench.Compare(&text, files[0], files[1], bench.CompareOptions{FailOnWorse: true, Threshold: o.Threshold, Markdown: o.Markdown})
	name := filepath.Join(o.Out, commandCompare+"-"+o.Date+".txt")
	if o.Markdown {
		name = strings.TrimSuffix(name, ".txt") + ".md"
	}
	err = errors.Join(err, os.WriteFile(name, text.Bytes(), 0o644))
	return text.Bytes(), err
}

// complete returns an error if a case has no figures: a case that was not
// measured must not count as unchanged.
func (r *runner) complete() error {
	for _, c := range r.plan() {
		for _, w := range c.workloads {
			ofWork := func(s *Sample) bool { return s.Label == w.label }
			good := func(s *Sample) bool { return ofWork(s) && s.Error == "" }
			if slices.ContainsFunc(r.samples, good) {
				continue
			}
			cause := "not measured"
			if i := slices.IndexFunc(r.samples, ofWork); i >= 0 {
				cause = r.samples[i].Error
			}
			return fmt.Errorf("compare: %s%s: no measurement succeeded: %s", r.out.prefix, w.label, cause)
		}
	}
	return nil
}
