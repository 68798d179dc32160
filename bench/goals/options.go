//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/labgate/labgate/bench"
)

const (
	maxRounds = 100
	longest   = 10 * time.Minute
)

// The subcommands; without one the goals are measured.
const (
	commandTuning  = "tuning"
	commandCompare = "compare"
)

// Options are the flags of a run.
type Options struct {
	Command   string // the subcommand; empty: none
	Bin       string // not for compare
	Out       string
	ServerCPU int
	LoadCPU   int
	Rounds    int
	Short     bool
	Cases     []string      // by name, empty: all
	Measure   time.Duration // of one measurement at a fixed rate
	Step      time.Duration // of one rate of a search
	Small     time.Duration // of the case "small"
	Date      string        // in the names of the results
	Commit    string        // of the gateway, empty: the one that is in the binary
	Gateways  [2]string     // compare: the binaries, the old one first
	Threshold float64       // compare: part by which a median may be worse
	Markdown  bool          // compare: the table is Markdown
}

func parseOptions(args []string, log io.Writer) (*Options, error) {
	o := &Options{}
	fs := flag.NewFlagSet("goals", flag.ContinueOnError)
	fs.SetOutput(log)
	if len(args) > 0 && (args[0] == commandTuning || args[0] == commandCompare) {
		o.Command, args = args[0], args[1:]
	}
	rounds, measure, step, out, threshold := 5, 4*time.Second, time.Second, "bench/results", ""
	switch o.Command {
	case commandTuning:
		rounds = 3
	case commandCompare:
		measure, step, out = 3*time.Second, 500*time.Millisecond, "bin/compare"
		fs.StringVar(&threshold, "threshold", "3%", "change of a median from which on a figure that is worse fails the comparison")
		fs.BoolVar(&o.Markdown, "markdown", false, "print the comparison as a Markdown table")
	}
	names := make([]string, 0, len(cases))
	for _, c := range o.cases() {
		names = append(names, c.name)
	}
	if o.Command != commandCompare {
		fs.StringVar(&o.Bin, "bin", "bin", "`directory` of labgate and limit")
		fs.StringVar(&o.Commit, "commit", "", "`revision` of the gateway (default: what its binary says)")
	}
	fs.StringVar(&o.Out, "out", out, "`directory` of the results")
	fs.IntVar(&o.ServerCPU, "server-cpu", 0, "processor of the server")
	fs.IntVar(&o.LoadCPU, "load-cpu", 1, "processor of the load")
	fs.IntVar(&o.Rounds, "rounds", rounds, "times that everything is measured")
	fs.BoolVar(&o.Short, "short", false, "one short round, to see that everything works")
	only := fs.String("cases", "", "measure these only, by name, with commas between: "+strings.Join(names, ","))
	fs.DurationVar(&o.Measure, "measure", measure, "time of a measurement at a fixed rate")
	fs.DurationVar(&o.Step, "step", step, "time of each rate of a search")
	fs.DurationVar(&o.Small, "small", time.Minute, "time of the case small")
	fs.StringVar(&o.Date, "date", time.Now().Format("2006-01-02"), "`date` in the names of the results")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, errUsage
	}
	if *only != "" {
		o.Cases = strings.Split(*only, ",")
	}
	if o.Short {
		o.Rounds, o.Measure, o.Step, o.Small = 1, time.Second, 500*time.Millisecond, 5*time.Second
	}
	rest := fs.Args()
	if o.Command == commandCompare {
		var err error
		if rest, err = o.compareArgs(rest, threshold); err != nil {
			return nil, err
		}
	}
	return o, o.check(rest, names)
}

func (o *Options) check(rest, names []string) error {
	for _, name := range o.Cases {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--cases: %q is unknown; use some of %s", name, strings.Join(names, ","))
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; the subcommands are tuning and compare, and they come first", rest[0])
	case o.Command == commandTuning && len(o.Cases) > 0:
		return fmt.Errorf("--cases does not go with tuning")
	case o.Rounds < 1 || o.Rounds > maxRounds:
		return fmt.Errorf("--rounds %d is out of range; use 1 to %d", o.Rounds, maxRounds)
	case o.ServerCPU < 0 || o.LoadCPU < 0 || o.ServerCPU == o.LoadCPU:
		return fmt.Errorf("--server-cpu %d and --load-cpu %d must be two processors: figures of a shared one would mean nothing", o.ServerCPU, o.LoadCPU)
	}
	for name, d := range map[string]time.Duration{"measure": o.Measure, "step": o.Step, "small": o.Small} {
		if d < 100*time.Millisecond || d > longest {
			return fmt.Errorf("--%s %v is out of range; use 100ms to %v", name, d, longest)
		}
	}
	return nil
}

// compareArgs takes the two binaries of compare and returns what follows them.
func (o *Options) compareArgs(args []string, threshold string) (rest []string, err error) {
	if len(args) < len(o.Gateways) {
		return nil, fmt.Errorf("compare takes two labgate binaries, the old one and the new one; got %d", len(args))
	}
	for i := range o.Gateways {
		if o.Gateways[i], err = filepath.Abs(args[i]); err != nil {
			return nil, err
		}
		if _, err := exec.LookPath(o.Gateways[i]); err != nil {
			return nil, fmt.Errorf("compare: %w", err)
		}
	}
	o.Threshold, err = bench.ParseThreshold(threshold)
	return args[len(o.Gateways):], err
}

// cases are those that the subcommand measures.
func (o *Options) cases() []testCase {
	switch o.Command {
	case commandTuning:
		return tuningCases()
	case commandCompare:
		return compareCases
	}
	return cases
}

// loadProgram is the program whose load generator is used, as pinned takes it.
// A comparison has one for both gateways.
func (o *Options) loadProgram() string {
	if o.Command == commandCompare {
		return o.Gateways[1]
	}
	return "labgate"
}

// selected says whether --cases names a case.
func (o *Options) selected(name string) bool {
	return len(o.Cases) == 0 || slices.Contains(o.Cases, name)
}

// needed says whether a case is measured, for itself or for a selected case that
// needs its result.
func (o *Options) needed(name string) bool {
	return o.selected(name) || slices.ContainsFunc(o.cases(), func(c testCase) bool {
		return o.selected(c.name) && slices.Contains(c.after, name)
	})
}
