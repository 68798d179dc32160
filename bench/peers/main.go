//go:build linux

// Command peers measures labgate and the brokers that a lab would install
// instead, under equal load, and writes the ratios. README.md says what is compared and how;
// `make bench-peers` builds and runs everything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func init() {
	// The servers end with the thread that started them, so this thread must
	// not end.
	runtime.LockOSThread()
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parseOptions(args, os.Stderr)
	if err != nil {
		return err
	}
	if err := raiseFiles(o.Connections); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	out, err := newOutput(o)
	if err != nil {
		return err
	}
	r := &runner{o: o, out: out, best: map[key]float64{}}
	err = r.rounds(ctx)
	return errors.Join(err, out.finish(r.records))
}

// raiseFiles raises the soft limit of open files, also for the servers, and
// returns an error if the connections exceed the limit.
func raiseFiles(connections int) error {
	const spare = 64
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	lim.Cur = lim.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	if uint64(connections)+spare > lim.Cur {
		return fmt.Errorf("--connections %d and %d spare files are more than the %d that a process may open", connections, spare, lim.Cur)
	}
	return nil
}
