package acceptance

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// A device process that is killed is gone from both indexes, and announced, at
// once: the kernel closes its socket.
func TestKilledDeviceIsGoneAtOnce(t *testing.T) {
	g := startGateway(t)
	watcher := connect(t, g.addr, "/ws/frontend?telemetry=none", 0)
	device := startTester(t, g, "press-1")
	online := decode[protocol.DeviceNotice](t, watcher.awaitText(protocol.TypeDeviceOnline, 10*time.Second))
	if online.DeviceID != "press-1" {
		t.Fatalf("online: %+v", online)
	}
	device.signal(syscall.SIGKILL)
	killed := time.Now()
	offline := decode[protocol.DeviceNotice](t, watcher.awaitText(protocol.TypeDeviceOffline, 2*time.Second))
	if offline.DeviceID != "press-1" || offline.Reason != "connection_lost" {
		t.Fatalf("offline: %+v", offline)
	}
	t.Logf("announced %v after the kill", time.Since(killed))
	requireGone(t, g, "press-1")
}

// A process that is frozen sends nothing more, yet its kernel keeps the
// connection alive: only the heartbeat finds it.
func TestFrozenDeviceIsGoneAfterHeartbeatTimeout(t *testing.T) {
	g := startGateway(t, "--heartbeat-interval", "1s", "--heartbeat-timeout", "3s")
	watcher := connect(t, g.addr, "/ws/frontend?telemetry=none", 0)
	device := startTester(t, g, "press-2")
	watcher.awaitText(protocol.TypeDeviceOnline, 10*time.Second)
	eventually(t, 5*time.Second, "telemetry arrives", func() bool { return g.metric(t, "labgate_samples_in_total") > 0 })

	device.signal(syscall.SIGSTOP)
	frozen := time.Now()
	requireGoneBetween(t, g, watcher, "press-2", frozen, 3*time.Second, 4*time.Second)
}

// requireGoneBetween checks that a peer which fell silent at since is announced
// as lost to the heartbeat after least and before most.
func requireGoneBetween(t *testing.T, g *gateway, watcher *peer, id string, since time.Time, least, most time.Duration) {
	t.Helper()
	// A loaded machine may deliver the news late; the gateway's own clock says
	// how long it had heard nothing.
	offline := decode[protocol.DeviceNotice](t, watcher.awaitText(protocol.TypeDeviceOffline, most+5*time.Second))
	after := time.Since(since)
	if offline.DeviceID != id || offline.Reason != protocol.CloseHeartbeatTimeout.Name() {
		t.Fatalf("offline: %+v", offline)
	}
	if after < least-100*time.Millisecond {
		t.Errorf("gone after %v, before the timeout of %v", after, least)
	}
	if after > most {
		t.Errorf("gone after %v, later than timeout and interval, %v", after, most)
	}
	t.Logf("gone %v after it fell silent", after)
	requireGone(t, g, id)
}

// requireGone checks that neither index knows the device.
func requireGone(t *testing.T, g *gateway, id string) {
	t.Helper()
	if status, body := get(t, "http://"+g.addr+"/v1/devices/"+id); status != http.StatusNotFound {
		t.Errorf("device index: %d %s", status, body)
	}
	if _, body := get(t, "http://"+g.addr+"/v1/sessions"); strings.Contains(body, id) {
		t.Errorf("session index: %s", body)
	}
}

// startTester runs a simulated tensile tester as a process of its own, already
// streaming.
func startTester(t *testing.T, g *gateway, id string, args ...string) *process {
	t.Helper()
	return start(t, append([]string{labgate, "simulate", "--url", "ws://" + g.addr, "--device", id}, args...)...)
}
