// Command labgate is a WebSocket gateway for laboratories, and the tools that
// go with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/internal/option"
)

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, restore, os.Args[1:], os.Stdout, os.Stderr)
	restore()
	os.Exit(code)
}

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // the command failed, or an option is out of range
	exitUsage       = 2   // the command line cannot be read
	exitRefused     = 3   // labgate send: the device answered that it refused the command
	exitInterrupted = 130 // a signal ended the command before its work was done
)

// run is main without the process: arguments in, exit code out. restore resets
// the signals to their default effect, so that a second signal ends the process
// at once.
func run(ctx context.Context, restore func(), args []string, stdout, stderr io.Writer) int {
	stopped := context.AfterFunc(ctx, restore)
	defer stopped()
	line, err := parse(args, os.Environ())
	if err != nil {
		return refuse(stderr, line, err)
	}
	if _, serves := line.command.(*ServeCmd); serves {
		bound := boundLog(stderr, line.global.LogJSON)
		defer bound.Close(logFlushTime)
		stderr = bound
	}
	out := &Streams{Out: stdout, Err: stderr, Log: newLogger(stderr, line.global.LogLevel, line.global.LogJSON)}
	if err := line.command.Run(ctx, out); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return exitInterrupted
		}
		fmt.Fprintln(stderr, "labgate:", err)
		if refused := (*client.CommandRefusedError)(nil); errors.As(err, &refused) {
			return exitRefused
		}
		return exitFailed
	}
	return exitOK
}

// refuse prints the error of a command line and how to get help.
func refuse(stderr io.Writer, line *commandLine, err error) int {
	fmt.Fprintln(stderr, "labgate:", err)
	if rangeErr := (*option.RangeError)(nil); errors.As(err, &rangeErr) {
		return exitFailed
	}
	if line.spec == nil {
		fmt.Fprintf(stderr, "\n%s\nSee labgate help.\n", commandList())
	} else {
		fmt.Fprintf(stderr, "See labgate help %s.\n", line.spec.name)
	}
	return exitUsage
}
