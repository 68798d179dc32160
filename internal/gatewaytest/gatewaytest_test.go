package gatewaytest

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// This test uses every tool for tests of a running gateway once.
func TestAGatewayADeviceAndAFrontEnd(t *testing.T) {
	g := StartGateway(t)
	front := Connect(t, g.Addr, "/ws/frontend/ann")
	front.Await(protocol.TypeWelcome)
	device := Connect(t, g.Addr, "/ws/device/press-1")
	if d := Decode[protocol.DeviceNotice](t, front.Await(protocol.TypeDeviceOnline).Payload); d.DeviceID != "press-1" {
		t.Errorf("announced: %+v", d)
	}
	front.Text(`{"type":"do.it","id":"1","dst":"press-1"}`)
	device.Text(`{"type":"it.is_done","re":%q}`, device.Await("do.it").ID)
	if m := front.Await("it.is_done"); m.Re != "1" || m.Src != "press-1" {
		t.Errorf("answer: %+v", m)
	}
	device.SendSamples(7, 3)
	for {
		m, err := front.Next(Patience)
		if err != nil {
			t.Fatal(err)
		}
		if h := m.Telemetry; h != nil {
			if h.Seq != 7 || h.Count != 3 {
				t.Errorf("telemetry: %+v", h)
			}
			break
		}
	}
	if _, err := front.Next(time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a front end with nothing to read: %v", err)
	}
	if n, devices := g.Metric("labgate_sessions"), g.Metric("labgate_sessions", `role="device"`); n != 2 || devices != 1 {
		t.Errorf("%v sessions, %v of them devices", n, devices)
	}
	if g.ResidentKiB() == 0 || g.Descriptors() < 2 {
		t.Errorf("%d KiB, %d descriptors", g.ResidentKiB(), g.Descriptors())
	}
	if _, err := (Dialer{}).Dial(g.Addr, "/nothing"); err == nil {
		t.Error("a path that is none is a WebSocket")
	} else if r, ok := errors.AsType[*RefusedError](err); !ok || r.Status != http.StatusNotFound {
		t.Errorf("a path that is none: %v", err)
	}
	device.Leave()
	if code := device.AwaitClose(); code != uint16(protocol.CloseNormal) {
		t.Errorf("closed with %d", code)
	}
	front.Reset()
	Eventually(t, "nobody is connected", func() bool { return g.Metric("labgate_connections") == 0 })
	g.Terminate()
	g.Stderr.Await(t, "draining")
	if g.Alive() || g.Wait(Patience) != 0 {
		t.Error("the gateway has not ended well")
	}
}

func TestAProcessEndsWithItsChildren(t *testing.T) {
	p := Start(t, "sh", "-c", "sleep 300 & echo $!; wait")
	child := p.Stdout.Await(t)
	p.Kill()
	Eventually(t, "the child is gone, but for a parent to collect it", func() bool {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
	if code := p.Wait(Patience); code != -1 {
		t.Errorf("exit code %d after SIGKILL", code)
	}
	late := Start(t, "sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done")
	late.Stdout.Await(t, "ready")
	late.Signal(syscall.SIGTERM)
	if code := late.Wait(Patience); code != 3 {
		t.Errorf("exit code %d, want the command's own", code)
	}
}

func TestLines(t *testing.T) {
	var l Lines
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if got := l.Await(t, "b", "2"); got != "b 2" {
			t.Errorf("awaited %q", got)
		}
	})
	for _, piece := range []string{"a 1\nb", " 2\r\n", "{\"n\": 3}\nrest"} {
		if _, err := l.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
	}
	waiting.Wait()
	if got := l.All(); !slices.Equal(got, []string{"a 1", "b 2", `{"n": 3}`}) {
		t.Errorf("lines %q", got)
	}
	if got := l.Tail(1); got != "{\"n\": 3}\n" {
		t.Errorf("tail %q", got)
	}
	if v := AwaitJSON(t, &l, "object", func(v struct{ N int }) bool { return v.N > 0 }); v.N != 3 {
		t.Errorf("awaited %+v", v)
	}
	if _, found := l.await(time.Millisecond, func(line string) bool { return strings.Contains(line, "rest") }); found {
		t.Error("a line without its end is a line")
	}
}

// Other processes find a kept build, and a build in use is not removed.
func TestBuildsAreKept(t *testing.T) {
	first := Labgate(t)
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	again, err := build("./cmd/labgate")
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(again)
	if err != nil {
		t.Fatal(err)
	}
	if again != first || !os.SameFile(before, after) {
		t.Errorf("built again: %s and %s", first, again)
	}
	if other := Binary(t, "./bench/limit"); other == first {
		t.Errorf("two commands in %s", other)
	}
}

func TestOldBuildsAreRemoved(t *testing.T) {
	cache := t.TempDir()
	long := time.Now().Add(-2 * kept)
	for name, at := range map[string]time.Time{"old": long, "old, in use": long, "new": time.Now()} {
		dir := filepath.Join(cache, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "labgate"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	use, err := lock(filepath.Join(cache, "old, in use"), syscall.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	defer use.Close()
	prune(cache)
	left, err := filepath.Glob(filepath.Join(cache, "*", "labgate"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(cache, "new", "labgate"), filepath.Join(cache, "old, in use", "labgate")}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}
