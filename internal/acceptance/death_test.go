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

// A gateway that was stopped for longer than the heartbeat's timeout closes
// nobody for a silence in which nobody was asked, and an answer that came in
// the meantime reaches its asker although the time for it has passed.
func TestStoppedGatewayKeepsItsPeers(t *testing.T) {
	g := startGateway(t, "--heartbeat-interval", "1s", "--heartbeat-timeout", "3s")
	device := connect(t, g.addr, "/ws/device/press-3", 0)
	asker := connect(t, g.addr, "/ws/frontend?telemetry=none", 0)
	asker.awaitText(protocol.TypeWelcome, 10*time.Second)
	asker.sendText(`{"type":"test.start","id":"1","dst":"press-3","timeout_ms":3000}`)
	device.awaitText("test.start", 10*time.Second)

	g.signal(syscall.SIGSTOP)
	device.sendText(`{"type":"test.started","re":"1"}`)
	time.Sleep(5 * time.Second)
	g.signal(syscall.SIGCONT)
	for {
		m, err := asker.next(10 * time.Second)
		if err != nil {
			t.Fatalf("waiting for the answer: %v", err)
		}
		if m.closed != 0 || m.text.Type == protocol.TypeDeviceOffline || m.text.Type == protocol.TypeError {
			t.Fatalf("in place of the answer came close code %d, %s %s", m.closed, m.text.Type, m.text.Payload)
		}
		if m.text.Re == "1" {
			break
		}
	}
	// Both are alive, and answer the pings of the next intervals.
	for range 4 {
		device.sendText(`{"type":"test.state"}`)
		asker.awaitText("test.state", 10*time.Second)
		if m, err := device.next(500 * time.Millisecond); err == nil {
			t.Fatalf("the device got close code %d, %s %s", m.closed, m.text.Type, m.text.Payload)
		}
	}
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
