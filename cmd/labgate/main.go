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
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the Makefile with -ldflags "-X main.version=...".
var version string

// cli is the whole command line. Each option is also an environment variable,
// LABGATE_ and its name, and a key of the configuration file.
type cli struct {
	Config   kong.ConfigFlag `help:"JSON configuration file: option names as keys, with _ or - between words. A flag wins over a variable, a variable over the file." placeholder:"FILE" env:"-"`
	LogLevel string          `help:"Least serious messages to log: debug, info, warn or error." enum:"debug,info,warn,error" default:"info"`
	LogJSON  bool            `help:"Log JSON even on a terminal." name:"log-json"`

	Serve    ServeCmd    `cmd:"" help:"Run the gateway."`
	Simulate SimulateCmd `cmd:"" help:"Connect simulated tensile testers."`
	Send     SendCmd     `cmd:"" help:"Send one command to a device and print its answer."`
	Tail     TailCmd     `cmd:"" help:"Watch messages and telemetry."`
	Bench    BenchCmd    `cmd:"" help:"Put load on a gateway, verify what arrives and measure it."`
	Token    TokenCmd    `cmd:"" help:"Make a token, and the line of a token file that lets its bearer in."`
	Version  VersionCmd  `cmd:"" help:"Print the version."`
}

// VersionCmd prints the version.
type VersionCmd struct{}

// Run prints the version and what it was built with.
func (*VersionCmd) Run(_ context.Context, out *Streams) error {
	info, _ := debug.ReadBuildInfo()
	goVersion := "unknown Go"
	if info != nil {
		goVersion = info.GoVersion
	}
	_, err := fmt.Fprintf(out.Out, "labgate %s (%s)\n", buildVersion(), goVersion)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, stop, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// exitStatus ends a kong parse that has printed what was asked for.
type exitStatus int

// run is main without the process: arguments in, exit code out. restore gives
// the signals their usual effect back, so that a second one ends the process at
// once.
func run(ctx context.Context, restore func(), args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if status, ok := recover().(exitStatus); ok {
			code = int(status)
		}
	}()
	stopped := context.AfterFunc(ctx, restore)
	defer stopped()

	var c cli
	parser, err := kong.New(&c,
		kong.Name("labgate"),
		kong.Description("A WebSocket gateway for laboratories: devices report telemetry and state, front ends watch and command them.\n\nEvery option can also be set by the environment variable LABGATE_OPTION_NAME or in the file given with --config."),
		kong.DefaultEnvars("LABGATE"),
		kong.Configuration(loadConfig),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { panic(exitStatus(status)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ExplicitGroups(serveGroups),
	)
	if err != nil {
		fmt.Fprintln(stderr, "labgate:", err)
		return 2
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "labgate: %v\nSee labgate --help.\n", err)
		return 2
	}
	out := &Streams{Out: stdout, Err: stderr, Log: newLogger(stderr, c.LogLevel, c.LogJSON)}
	if err := k.Run(out); err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return 130
		}
		fmt.Fprintln(stderr, "labgate:", err)
		return 1
	}
	return 0
}

// buildVersion returns the version given at build time, or the revision that
// Go recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "devel"
}
