// Command plot draws reports of labgate bench as SVG. It is a module of its
// own, so that the product does not depend on a plotting library.
//
//	plot latency -o latency.svg REPORTS.jsonl...
//	plot scaling -o scaling.svg REPORTS.jsonl...
//
// latency draws the percentiles of each report, scaling the server's CPU per
// delivery and the deliveries per second against the number of front ends. With
// -case, once or more, only reports with these labels are drawn; of several with
// one label, rounds of one case, the one with the median p50 is.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/labgate/labgate/bench"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("say what to draw: latency or scaling")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	out := flags.String("o", args[0]+".svg", "file to write")
	title := flags.String("title", "", "title of the drawing")
	var cases []string
	flags.Func("case", "`label` of a report to draw (all)", func(label string) error {
		cases = append(cases, label)
		return nil
	})
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	reports, err := readReports(flags.Args())
	if err != nil {
		return err
	}
	if len(cases) > 0 {
		if reports, err = choose(reports, cases); err != nil {
			return err
		}
	}
	switch args[0] {
	case "latency":
		return drawLatency(reports, *title, *out)
	case "scaling":
		return drawScaling(reports, *title, *out)
	}
	return fmt.Errorf("%q is unknown; use latency or scaling", args[0])
}

// report is one of labgate bench --json.
type report struct{ bench.Report }

// flow is one kind of traffic in a report.
type flow struct {
	perSecond float64 // deliveries
	latency   *bench.Latency
}

// flow is the main traffic of a report; latency is nil without traffic.
func (r *report) flow() flow {
	switch res := &r.Results; {
	case res.Telemetry != nil:
		return flow{res.Telemetry.PerSecond, res.Telemetry.Latency}
	case res.Unicast != nil:
		return flow{res.Unicast.PerSecond, res.Unicast.Latency}
	case res.Commands != nil:
		return flow{res.Commands.PerSecond, res.Commands.Latency}
	}
	return flow{}
}

func (r *report) label() string {
	if r.Label != "" {
		return r.Label
	}
	return fmt.Sprintf("%s, %d devices, %d front ends, %g/s", r.Scenario, r.Options.Devices, r.Options.Frontends, r.Options.Rate)
}

// readReports reads files of one JSON object a line.
func readReports(files []string) ([]report, error) {
	var all []report
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		dec := json.NewDecoder(f)
		for {
			var line json.RawMessage
			err := dec.Decode(&line)
			if errors.Is(err, io.EOF) {
				break
			}
			// Lines with a type are written by make bench, and describe the
			// following lines.
			var head struct{ Type string }
			var r report
			if err == nil {
				err = json.Unmarshal(line, &head)
			}
			if err == nil && head.Type == "" {
				err = json.Unmarshal(line, &r)
			}
			if err != nil {
				_ = f.Close()
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if r.flow().latency != nil {
				all = append(all, r)
			}
		}
		_ = f.Close()
	}
	if len(all) == 0 {
		return nil, errors.New("no report with deliveries; give files written by labgate bench --json")
	}
	return all, nil
}

// choose returns a report for each label, the median one by p50, in the order of
// the labels.
func choose(all []report, labels []string) ([]report, error) {
	chosen := make([]report, 0, len(labels))
	for _, label := range labels {
		var rounds []report
		for _, r := range all {
			if r.Label == label {
				rounds = append(rounds, r)
			}
		}
		if len(rounds) == 0 {
			return nil, fmt.Errorf("no report has the label %q", label)
		}
		slices.SortFunc(rounds, func(a, b report) int { return cmp.Compare(a.flow().latency.P50, b.flow().latency.P50) })
		chosen = append(chosen, rounds[len(rounds)/2])
	}
	return chosen, nil
}
