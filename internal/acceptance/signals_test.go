package acceptance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// The gateway handles, ignores, or reports as a fault each signal that ends a
// process by default (signal(7)).

// TestSignalsThatEndNothing: a session stays open after each of these signals.
func TestSignalsThatEndNothing(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	fe := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
	fe.Await(protocol.TypeWelcome)
	for _, s := range []syscall.Signal{
		syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGVTALRM, syscall.SIGPROF,
		syscall.SIGIO, syscall.SIGXFSZ, syscall.SIGTTOU, 35, 50, 64,
	} {
		g.Signal(s)
		switch s {
		case syscall.SIGHUP:
			g.Stderr.AwaitWithin(t, patience, "SIGHUP: credentials, certificate and descriptions were read again")
		case syscall.SIGUSR1, syscall.SIGUSR2:
			g.Stderr.AwaitWithin(t, patience, s.String())
		}
		fe.Text(`{"type":"gateway.subscribe","id":"%d","payload":{"devices":["d"]}}`, s)
		if m := fe.Await(protocol.TypeSubscribed); m.Re != strconv.Itoa(int(s)) {
			t.Fatalf("after %v: %+v", s, m)
		}
	}
	g.Signal(syscall.SIGTERM)
	if code := fe.AwaitClose(); code != uint16(protocol.CloseGoingAway) {
		t.Errorf("closed with %d", code)
	}
	if code := g.Wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestSignalsThatDrain: SIGXCPU and SIGPWR announce an end by force, so the
// gateway drains.
func TestSignalsThatDrain(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGXCPU, syscall.SIGPWR} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.StartGateway(t)
			fe := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
			fe.Await(protocol.TypeWelcome)
			g.Signal(s)
			fe.Await(protocol.TypeClosing)
			if code := fe.AwaitClose(); code != uint16(protocol.CloseGoingAway) {
				t.Errorf("closed with %d", code)
			}
			if code := g.Wait(patience); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// TestSignalsThatReportAFault: the gateway ends at once, and its log has the
// stacks of all goroutines.
func TestSignalsThatReportAFault(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGSYS, syscall.SIGSTKFLT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.StartGateway(t)
			g.Signal(s)
			if code := g.Wait(patience); code != 2 {
				t.Errorf("exit code %d", code)
			}
			if log := g.Stderr.Tail(1 << 20); !strings.Contains(log, "goroutine ") || !strings.Contains(log, "SIG") {
				t.Errorf("no dump of goroutines in:\n%s", log)
			}
		})
	}
}

// TestHangupReadsFilesAgain: SIGHUP ends only the sessions whose credential
// was removed.
func TestHangupReadsFilesAgain(t *testing.T) {
	t.Parallel()
	tokens := filepath.Join(t.TempDir(), "tokens")
	kept, gone := "kept-token-0123456789-0123456789", "gone-token-0123456789-0123456789"
	put := func(lines ...string) {
		t.Helper()
		if err := os.WriteFile(tokens+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tokens+".new", tokens); err != nil {
			t.Fatal(err)
		}
	}
	put(kept, gone)
	g := gatewaytest.StartGateway(t, "--device-token-file", tokens)
	stays := gatewaytest.Dialer{Token: kept}.Connect(t, g.Addr, "/ws/device/a")
	leaves := gatewaytest.Dialer{Token: gone}.Connect(t, g.Addr, "/ws/device/b")
	stays.Await(protocol.TypeWelcome)
	leaves.Await(protocol.TypeWelcome)

	hangup := func(files, failed int) {
		t.Helper()
		seen := strings.Count(g.Stderr.Tail(1<<20), `"SIGHUP: `)
		g.Signal(syscall.SIGHUP)
		gatewaytest.EventuallyWithin(t, patience, "SIGHUP is answered", func() bool { return strings.Count(g.Stderr.Tail(1<<20), `"SIGHUP: `) > seen })
		var line struct{ Files, Failed int }
		for l := range strings.Lines(g.Stderr.Tail(1 << 20)) {
			if strings.Contains(l, `"SIGHUP: `) {
				if err := json.Unmarshal([]byte(l), &line); err != nil {
					t.Fatal(err)
				}
			}
		}
		if line.Files != files || line.Failed != failed {
			t.Errorf("%d files, %d failed; want %d, %d", line.Files, line.Failed, files, failed)
		}
	}
	hangup(1, 0)
	put("two words that are no token")
	hangup(1, 1)
	g.Stderr.AwaitWithin(t, patience, "cannot be used; what it held before stays in force")
	put(kept)
	hangup(1, 0)
	if code := leaves.AwaitClose(); code != uint16(protocol.CloseUnauthorized) {
		t.Errorf("closed with %d", code)
	}
	stays.Text(`{"type":"gateway.nonsense","id":"1"}`)
	stays.Await(protocol.TypeError)
}
