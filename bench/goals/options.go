//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const (
	maxRounds = 100
	longest   = 10 * time.Minute
)

// Options are the flags of a run.
type Options struct {
	Tuning    bool // the subcommand
	Bin       string
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
}

func parseOptions(args []string, log io.Writer) (*Options, error) {
	o := &Options{}
	fs := flag.NewFlagSet("goals", flag.ContinueOnError)
	fs.SetOutput(log)
	if len(args) > 0 && args[0] == "tuning" {
		o.Tuning, args = true, args[1:]
	}
	rounds := 5
	if o.Tuning {
		rounds = 3
	}
	names := make([]string, 0, len(cases))
	for _, c := range cases {
		names = append(names, c.name)
	}
	fs.StringVar(&o.Bin, "bin", "bin", "`directory` of labgate and limit")
	fs.StringVar(&o.Out, "out", "bench/results", "`directory` of the results")
	fs.IntVar(&o.ServerCPU, "server-cpu", 0, "processor of the server")
	fs.IntVar(&o.LoadCPU, "load-cpu", 1, "processor of the load")
	fs.IntVar(&o.Rounds, "rounds", rounds, "times that everything is measured")
	fs.BoolVar(&o.Short, "short", false, "one short round, to see that everything works")
	only := fs.String("cases", "", "measure these only, by name, with commas between: "+strings.Join(names, ","))
	fs.DurationVar(&o.Measure, "measure", 4*time.Second, "time of a measurement at a fixed rate")
	fs.DurationVar(&o.Step, "step", time.Second, "time of each rate of a search")
	fs.DurationVar(&o.Small, "small", time.Minute, "time of the case small")
	fs.StringVar(&o.Date, "date", time.Now().Format("2006-01-02"), "`date` in the names of the results")
	fs.StringVar(&o.Commit, "commit", "", "`revision` of the gateway (default: what its binary says)")
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
	return o, o.check(fs.Args(), names)
}

func (o *Options) check(rest, names []string) error {
	for _, name := range o.Cases {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--cases: %q is unknown; use some of %s", name, strings.Join(names, ","))
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q; the only subcommand is tuning, and it comes first", rest[0])
	case o.Tuning && len(o.Cases) > 0:
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

// selected says whether a case is to be measured.
func (o *Options) selected(name string) bool {
	return len(o.Cases) == 0 || slices.Contains(o.Cases, name)
}

// needed says whether it is, for itself or for another one.
func (o *Options) needed(name string) bool {
	return o.selected(name) || slices.ContainsFunc(cases, func(c testCase) bool {
		return o.selected(c.name) && slices.Contains(c.after, name)
	})
}
