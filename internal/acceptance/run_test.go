package acceptance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// make run: a front end gets the state and the 10 kHz telemetry of both
// testers, and starts and stops a test on one of them.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	listen, admin := freeAddr(t), freeAddr(t)
	demo := gatewaytest.Start(t, "env", "LABGATE_LISTEN="+listen, "LABGATE_ADMIN_LISTEN="+admin, "make", "--no-print-directory", "run")
	demo.Stdout.AwaitWithin(t, 2*time.Minute, "http://"+listen+"/") // it builds the command first
	demo.Stdout.Await(t, "test.start")

	fe := gatewaytest.Connect(t, listen, "/ws/frontend/visitor")
	streams := map[string]uint32{}
	welcome := gatewaytest.Decode[protocol.Welcome](t, fe.Await(protocol.TypeWelcome).Payload)
	for _, d := range welcome.Devices {
		streams[d.DeviceID] = d.Stream
	}
	for len(streams) < 2 {
		d := gatewaytest.Decode[protocol.DeviceNotice](t, fe.Await(protocol.TypeDeviceOnline).Payload)
		streams[d.DeviceID] = d.Stream
	}

	const seconds = 2
	book := newLedger(t)
	for begin := time.Now(); time.Since(begin) < seconds*time.Second; {
		m, err := fe.Next(5 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		book.take(m)
	}
	for _, id := range []string{"tensile-1", "tensile-2"} {
		// A loaded machine may be half a second late.
		if n := book.samples[streams[id]]; n < 10_000*seconds*3/4 || n > 10_000*seconds*5/4 {
			t.Errorf("%s: %d samples in %d s", id, n, seconds)
		}
	}

	for _, step := range []struct{ command, payload, state string }{
		{"test.start", `{"speed_mm_min":20}`, "running"},
		{"test.stop", `{}`, "stopped"},
	} {
		fe.Text(`{"type":"%s","id":"%s","dst":"tensile-1","payload":%s}`, step.command, step.command, step.payload)
		var answered, changed bool
		for deadline := time.Now().Add(5 * time.Second); !answered || !changed; {
			m, err := fe.Next(time.Until(deadline))
			if err != nil {
				t.Fatalf("%s: answered %v, state changed %v: %v", step.command, answered, changed, err)
			}
			if m.Text.Re == step.command {
				answered = true
				if r := gatewaytest.Decode[struct{ OK bool }](t, m.Text.Payload); !r.OK || m.Text.Src != "tensile-1" {
					t.Errorf("%s: %+v %s", step.command, m.Text, m.Text.Payload)
				}
			}
			if m.Text.Type == "test.state_changed" && m.Text.Src == "tensile-1" {
				if c := gatewaytest.Decode[struct{ State string }](t, m.Text.Payload); c.State == step.state {
					changed = true
				}
			}
		}
	}
	demo.Signal(syscall.SIGINT)
	demo.Wait(15 * time.Second)
	if out := demo.Stderr.Tail(200); strings.Contains(out, `"level":"error"`) || strings.Contains(out, "panic") {
		t.Error(out)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", demo.PID())); err == nil {
		t.Error("something is left running")
	}
}

// make run on a taken port starts nothing, and says how to choose another
// port.
func TestMakeRunOnATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	demo := exec.Command("make", "--no-print-directory", "run")
	demo.Dir = "../.."
	demo.Env = append(os.Environ(), "LABGATE_LISTEN="+taken.Addr().String(), "LABGATE_ADMIN_LISTEN="+freeAddr(t))
	out, err := demo.CombinedOutput()
	for _, want := range []string{taken.Addr().String(), "address already in use", "LABGATE_LISTEN=127.0.0.1:9080 LABGATE_ADMIN_LISTEN=127.0.0.1:9081 make run"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, want %q in %s", err, want, out)
		}
	}
	if strings.Contains(string(out), "The gateway runs") {
		t.Errorf("started all the same: %s", out)
	}
}

// freeAddr returns a loopback address that was free a moment ago.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
