//go:build linux

// Command limit contains the reference programs for the gateway's figures:
// plain sockets, and nbio without a gateway.
//
//	limit stream   plain sockets, the same bytes to each in 64 KiB writes
//	limit receive  the other end of stream
//	limit relay    nbio, messages between the two connections of a path
//	limit echo     nbio, messages back to their sender
//	limit idle     nbio, connections without traffic
//
// All commands use loopback only and end by themselves.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: limit stream|receive|relay|echo|idle [flags]

stream    the physical limit: the same frames to many plain sockets in 64 KiB writes
receive   the other end of stream --wait
relay     nbio: messages between the two connections of /relay/K, one write each
echo      nbio: messages back to their sender
idle      nbio: connections without traffic

limit COMMAND --help lists the flags.
`

// errUsage ends the program with status 2; the usage was printed before.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "limit:", err)
		os.Exit(1)
	}
}

// run executes one command; out takes the report, log everything else.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	if len(args) == 0 {
		_, _ = io.WriteString(log, usage)
		return errUsage
	}
	switch name := args[0]; name {
	case "stream":
		return runStream(ctx, args[1:], out, log)
	case "receive":
		return runReceive(ctx, args[1:], out, log)
	case "relay", "echo", "idle":
		return runServe(ctx, name, args[1:], out, log)
	case "help", "-h", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	_, _ = io.WriteString(log, usage)
	return errUsage
}

// parse reads the flags of a command, which takes no other arguments.
func parse(fs *flag.FlagSet, args []string, log io.Writer) error {
	fs.SetOutput(log)
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	if fs.NArg() > 0 {
		_, _ = fmt.Fprintf(log, "limit %s takes no arguments, got %q\n", fs.Name(), fs.Arg(0))
		return errUsage
	}
	return nil
}

// loopback refuses every address that is not IPv4 loopback.
func loopback(flag, addr string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return ap, fmt.Errorf("--%s %q: %w; use 127.0.0.1:PORT", flag, addr, err)
	}
	if !ap.Addr().Is4() || !ap.Addr().IsLoopback() {
		return ap, fmt.Errorf("--%s %q is not an IPv4 loopback address; use 127.0.0.1:PORT", flag, addr)
	}
	return ap, nil
}

// within checks that a count is in range.
func within(flag string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("--%s %d is out of range; use %d to %d", flag, n, least, most)
	}
	return nil
}

// writeJSON writes v on one line.
func writeJSON(out io.Writer, v any) error {
	return json.NewEncoder(out).Encode(v)
}
