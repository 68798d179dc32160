//go:build linux

// Command goals measures the gateway on two processors, the server on one and
// the load on the other (with two gateways, all programs on both), and says which
// of the project's goals are met.
//
//	goals           the table of goals, with the references that ratios name
//	goals tuning    the effect of single options of labgate serve
//	goals compare OLD NEW
//	                what changed between two labgate binaries
//
// It writes every report to goals-DATE.jsonl, which labgate bench compare
// reads, and a table to goals-DATE.md. The exit status is not 0 when messages
// were lost or a run failed. A missed goal does not change the exit status,
// because machines differ.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "goals:", err)
		os.Exit(1)
	}
}

// errUsage ends the program with status 2; the usage was printed before.
var errUsage = errors.New("usage")

// run measures. log gets the progress and the table, out the table of a
// comparison.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	o, err := parseOptions(args, log)
	if err != nil {
		return err
	}
	if o.Command == commandCompare {
		return compare(ctx, o, out, log)
	}
	head, err := newHead(o)
	if err != nil {
		return err
	}
	w, err := newOutput(o, head, log)
	if err != nil {
		return err
	}
	r := &runner{o: o, out: w, maxAgain: maxAgain}
	failed := r.rounds(ctx)
	var text string
	var verdicts []*Verdict
	if o.Command == commandTuning {
		text = tuningTable(head, r.samples)
	} else {
		verdicts = judgeAll(goals, r.samples, o.selected)
		text = goalsTable(head, verdicts, r.samples)
	}
	return errors.Join(failed, w.finish(verdicts, text))
}
