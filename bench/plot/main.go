// Command plot draws reports of labgate bench as SVG. It is a module of its
// own, so that the product does not depend on a plotting library.
//
//	plot latency -o latency.svg REPORTS.jsonl...
//	plot scaling -o scaling.svg REPORTS.jsonl...
//
// latency draws the percentiles of each report, scaling the server's CPU per
// delivery and the deliveries per second against the number of front ends.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
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
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	reports, err := readReports(flags.Args())
	if err != nil {
		return err
	}
	switch args[0] {
	case "latency":
		return drawLatency(reports, *title, *out)
	case "scaling":
		return drawScaling(reports, *title, *out)
	}
	return fmt.Errorf("%q is unknown; use latency or scaling", args[0])
}

// report is what the drawings need of a report of labgate bench --json.
type report struct {
	Scenario string `json:"scenario"`
	Label    string `json:"label"` // set by hand or by a script, else made up here
	Options  struct {
		Devices   int     `json:"devices"`
		Frontends int     `json:"frontends"`
		Rate      float64 `json:"rate"`
	} `json:"options"`
	Results struct {
		Telemetry *flow `json:"telemetry"`
		Messages  *flow `json:"messages"`
		Commands  *flow `json:"commands"`
		Server    struct {
			CPUPerMessage float64 `json:"cpu_us_per_message"`
		} `json:"server"`
	} `json:"results"`
}

// flow is one kind of traffic in a report.
type flow struct {
	DeliveriesPerSecond float64 `json:"deliveries_per_s"`
	Latency             struct {
		P50   float64 `json:"p50_us"`
		P90   float64 `json:"p90_us"`
		P99   float64 `json:"p99_us"`
		P99_9 float64 `json:"p99_9_us"`
		Max   float64 `json:"max_us"`
	} `json:"latency"`
}

func (r *report) flow() *flow {
	for _, f := range []*flow{r.Results.Telemetry, r.Results.Messages, r.Results.Commands} {
		if f != nil {
			return f
		}
	}
	return nil
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
			var r report
			if err := dec.Decode(&r); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				_ = f.Close()
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			if r.flow() != nil {
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
