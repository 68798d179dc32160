package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/labgate/labgate/bench"
)

// BenchCmd is `labgate bench`: it loads a gateway and checks every delivery,
// or compares two files of earlier reports. Values left at 0 take the
// scenario's default.
type BenchCmd struct {
	Scenario string   `argument:"SCENARIO" required:"true" enum:"fanout,unicast,telemetry,commands,idle,storm,cluster,compare" help:"One of the scenarios above."`
	Files    []string `argument:"FILE" help:"compare: two files of reports, one JSON object a line. Reports with the same --label are runs of one case; without a label, reports of the same scenario and load. A verdict needs five runs of a case in each file."`

	FailOnWorse bool   `option:"fail-on-worse" help:"compare: fail when a figure is worse, or when more runs failed."`
	Threshold   string `option:"threshold" default:"5%" placeholder:"PERCENT" help:"compare: --fail-on-worse ignores a median that changed by less than this."`
	Markdown    bool   `option:"markdown" help:"compare: print a Markdown table."`
	JSON        bool   `option:"json" help:"Print the report as one JSON object on one line instead of a table."`

	Load bench.Options `options:""`
}

// scenarioHelp explains the scenarios.
const scenarioHelp = `Scenarios:
  fanout     telemetry frames of one size, from devices to every front end
  unicast    text messages from each front end to its own device
  telemetry  telemetry at a sample rate, from devices to every front end
  commands   commands and their answers
  idle       connections that stay open and send nothing
  storm      connections that are all dropped, and connect again at once
  cluster    messages, telemetry and commands across two nodes: devices on
             --target, front ends on --frontend-target
  compare    compares two files of --json reports with several runs of each case`

// Run runs the scenario and prints its report. The error says what was lost,
// damaged, unanswered or closed unexpectedly.
func (c *BenchCmd) Run(ctx context.Context, out *Streams) error {
	if c.Scenario == "compare" {
		return c.compare(out.Out)
	}
	if len(c.Files) > 0 {
		return fmt.Errorf("bench %s takes no files; they are for bench compare", c.Scenario)
	}
	o := c.Load
	o.Scenario = c.Scenario
	if isTerminal(out.Err) {
		o.Progress = out.Err
	}
	report, err := bench.Run(ctx, o)
	if report == nil {
		return err
	}
	if c.JSON {
		if werr := json.NewEncoder(out.Out).Encode(report); werr != nil {
			return werr
		}
	} else if werr := report.WriteTable(out.Out); werr != nil {
		return werr
	}
	return err
}

// compare compares two files of reports.
func (c *BenchCmd) compare(out io.Writer) error {
	if len(c.Files) != 2 {
		return fmt.Errorf("bench compare takes two files of reports, got %d", len(c.Files))
	}
	threshold, err := bench.ParseThreshold(c.Threshold)
	if err != nil {
		return err
	}
	var files [2]*os.File
	for i, name := range c.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		files[i] = f
	}
	return bench.Compare(out, files[0], files[1], bench.CompareOptions{FailOnWorse: c.FailOnWorse, Threshold: threshold, Markdown: c.Markdown})
}

// isTerminal reports whether w writes to a character device, directly or
// through other writers.
func isTerminal(w io.Writer) bool {
	if outer, ok := w.(interface{ Unwrap() io.Writer }); ok {
		return isTerminal(outer.Unwrap())
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
