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

	"github.com/labgate/labgate/bench/peers/target"
)

// errUsage is an error in the command line whose text was already printed.
var errUsage = errors.New("usage")

// The cases, as in --cases and in the result.
const (
	caseLimit       = "limit"
	caseFanOutLight = "fan-out light"
	caseFanOut      = "fan-out saturation"
	caseUniLight    = "unicast light"
	caseUni         = "unicast saturation"
	caseIdle        = "idle"
)

// Options are the options of a run.
type Options struct {
	Bin         string
	Out         string
	Date        string
	Rounds      int
	IdleRounds  int
	Targets     []*target.Target
	Cases       []string
	Receivers   int
	Connections int
	ServerCPU   int

	Measure, Warmup       time.Duration // of the light load and of a rate tried, precisely
	Scout, ScoutWarmup    time.Duration // of a rate tried to find the region
	FanOutLight, UniLight float64       // messages/s sent
	FanOutStart, UniStart float64       // first rates tried
	FanOutTick, UniTick   time.Duration
	Precision             float64
	Hold                  time.Duration // of idle connections
	Timeout               time.Duration
	Quick                 bool

	CaseTimeout, IdleTimeout time.Duration
}

func parseOptions(args []string, log io.Writer) (*Options, error) {
	o := &Options{
		ScoutWarmup: 100 * time.Millisecond, Scout: 300 * time.Millisecond,
		FanOutLight: 250, UniLight: 10000, FanOutStart: 250, UniStart: 10000,
		FanOutTick:  500 * time.Microsecond,
		CaseTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
	}
	var targets, cases string
	var seconds float64
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.SetOutput(log)
	fs.StringVar(&o.Bin, "bin", "bin/peers", "`directory` with the programs that scripts/bench-peers builds")
	fs.StringVar(&o.Out, "out", "bench/results", "`directory` for peers-DATE.jsonl and .md")
	fs.StringVar(&o.Date, "date", time.Now().Format("2006-01-02"), "`YYYY-MM-DD` in the result and its name")
	fs.BoolVar(&o.Quick, "quick", false, "one round, half a second a rate and fewer idle connections: a few minutes, to see that everything works")
	fs.IntVar(&o.Rounds, "rounds", 5, "how often each case is measured; the result has medians")
	fs.IntVar(&o.IdleRounds, "idle-rounds", 3, "the same for idle connections, if less: memory varies little")
	fs.StringVar(&targets, "targets", "", "`names`, with commas: only these (default all)")
	fs.StringVar(&cases, "cases", "", "`names`, with commas: only these of limit, fan-out, unicast, idle (default all)")
	fs.IntVar(&o.Receivers, "receivers", 200, "receivers of a fan-out, and pairs of unicast")
	fs.IntVar(&o.Connections, "connections", 10000, "idle connections")
	fs.IntVar(&o.ServerCPU, "server-cpu", 0, "processor of the server; -1: any. Run this program on another (taskset)")
	fs.Float64Var(&seconds, "seconds", 1.5, "measured time of the light load and of each rate tried")
	fs.DurationVar(&o.Warmup, "warmup", 300*time.Millisecond, "time before it, verified but not measured")
	fs.DurationVar(&o.Hold, "hold", 3*time.Second, "time that idle connections are kept before memory is read")
	fs.DurationVar(&o.UniTick, "unicast-tick", 2*time.Millisecond, "at saturation, what is due within it leaves a unicast sender in one write; 0: each message by itself, and the load program is the limit")
	fs.Float64Var(&o.Precision, "precision", 1.05, "ratio of the lowest rate not sustained to the highest that was")
	fs.DurationVar(&o.Timeout, "timeout", time.Hour, "end of the run at the latest; what was measured is written")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, errUsage
	}
	o.Measure = time.Duration(seconds * float64(time.Second))
	if o.Quick {
		o.Rounds, o.IdleRounds = 1, 1
		o.Connections = min(o.Connections, 2000)
		o.Measure, o.Warmup, o.Hold = 500*time.Millisecond, 200*time.Millisecond, time.Second
	}
	o.IdleRounds = min(o.IdleRounds, o.Rounds)
	return o, errors.Join(o.choose(targets, cases), o.check(fs.Args()))
}

// choose picks targets and cases by name.
func (o *Options) choose(targets, cases string) error {
	for _, t := range target.All() {
		if targets == "" || slices.Contains(strings.Split(targets, ","), t.Name) {
			o.Targets = append(o.Targets, t)
		}
	}
	if targets != "" && len(o.Targets) != len(strings.Split(targets, ",")) {
		names := make([]string, 0, len(target.All()))
		for _, t := range target.All() {
			names = append(names, t.Name)
		}
		return fmt.Errorf("--targets %q: choose of %s", targets, strings.Join(names, ","))
	}
	all := []string{"limit", "fan-out", "unicast", "idle"}
	if o.Cases = all; cases != "" {
		o.Cases = strings.Split(cases, ",")
	}
	for _, c := range o.Cases {
		if !slices.Contains(all, c) {
			return fmt.Errorf("--cases %q: choose of %s", cases, strings.Join(all, ","))
		}
	}
	return nil
}

func (o *Options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("argument %q is not expected", rest[0])
	case o.Rounds < 1 || o.Rounds > 100:
		return fmt.Errorf("--rounds %d is out of range; use 1 to 100", o.Rounds)
	case o.Receivers < 1 || o.Receivers > 5000:
		return fmt.Errorf("--receivers %d is out of range; use 1 to 5000", o.Receivers)
	case o.Connections < 1:
		return fmt.Errorf("--connections %d is out of range; use at least 1", o.Connections)
	case o.Measure < 100*time.Millisecond || o.Measure > time.Minute:
		return fmt.Errorf("--seconds %g is out of range; use 0.1 to 60", o.Measure.Seconds())
	case o.Warmup < 0 || o.Hold < 0 || o.UniTick < 0 || o.Timeout <= 0:
		return errors.New("--warmup, --hold, --unicast-tick and --timeout must not be negative")
	case o.Precision <= 1:
		return fmt.Errorf("--precision %g must be above 1", o.Precision)
	}
	if _, err := time.Parse("2006-01-02", o.Date); err != nil {
		return fmt.Errorf("--date %q: use YYYY-MM-DD", o.Date)
	}
	return nil
}
