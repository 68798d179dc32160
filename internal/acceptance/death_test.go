package acceptance

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// A killed device process is removed from both indexes and announced as
// offline at once, because the kernel closes its socket.
func TestKilledDeviceIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	watcher := gatewaytest.Connect(t, g.Addr, "/ws/frontend?telemetry=none")
	device := startTester(t, g, "press-1")
	online := gatewaytest.Decode[protocol.DeviceNotice](t, watcher.Await(protocol.TypeDeviceOnline).Payload)
	if online.DeviceID != "press-1" {
		t.Fatalf("online: %+v", online)
	}
	device.Signal(syscall.SIGKILL)
	killed := time.Now()
	offline := gatewaytest.Decode[protocol.DeviceNotice](t, watcher.AwaitWithin(2*time.Second, protocol.TypeDeviceOffline).Payload)
	if offline.DeviceID != "press-1" || offline.Reason != "connection_lost" {
		t.Fatalf("offline: %+v", offline)
	}
	t.Logf("announced %v after the kill", time.Since(killed))
	requireGone(t, g, "press-1")
}

// The kernel keeps the connection of a frozen process open, so only the
// heartbeat finds the device.
func TestFrozenDeviceIsGoneAfterHeartbeatTimeout(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--heartbeat-interval", "1s", "--heartbeat-timeout", "3s")
	watcher := gatewaytest.Connect(t, g.Addr, "/ws/frontend?telemetry=none")
	device := startTester(t, g, "press-2")
	watcher.Await(protocol.TypeDeviceOnline)
	gatewaytest.Eventually(t, "telemetry arrives", func() bool { return g.Metric("labgate_samples_in_total") > 0 })

	device.Signal(syscall.SIGSTOP)
	frozen := time.Now()
	requireGoneBetween(t, g, watcher, "press-2", frozen, 3*time.Second, 4*time.Second)
}

// A gateway that was stopped (SIGSTOP) for longer than the heartbeat timeout
// closes no session for the silence of that time. An answer that arrived
// meanwhile reaches its asker, although the deadline has passed.
func TestStoppedGatewayKeepsItsPeers(t *testing.T) {
	g := gatewaytest.StartGateway(t, "--heartbeat-interval", "1s", "--heartbeat-timeout", "3s")
	device := gatewaytest.Connect(t, g.Addr, "/ws/device/press-3")
	asker := gatewaytest.Connect(t, g.Addr, "/ws/frontend?telemetry=none")
	asker.Await(protocol.TypeWelcome)
	asker.Text(`{"type":"test.start","id":"1","dst":"press-3","timeout_ms":3000}`)
	device.Await("test.start")

	g.Signal(syscall.SIGSTOP)
	device.Text(`{"type":"test.started","re":"1"}`)
	time.Sleep(5 * time.Second)
	g.Signal(syscall.SIGCONT)
	for {
		m, err := asker.Next(10 * time.Second)
		if err != nil {
			t.Fatalf("waiting for the answer: %v", err)
		}
		if m.Closed != 0 || m.Text.Type == protocol.TypeDeviceOffline || m.Text.Type == protocol.TypeError {
			t.Fatalf("in place of the answer came close code %d, %s %s", m.Closed, m.Text.Type, m.Text.Payload)
		}
		if m.Text.Re == "1" {
			break
		}
	}
	// Both peers answer the pings of the next intervals.
	for range 4 {
		device.Text(`{"type":"test.state"}`)
		asker.Await("test.state")
		if m, err := device.Next(500 * time.Millisecond); err == nil {
			t.Fatalf("the device got close code %d, %s %s", m.Closed, m.Text.Type, m.Text.Payload)
		}
	}
}

// requireGoneBetween checks that a peer that is silent since a time is
// announced as lost (heartbeat_timeout) after least and before most.
func requireGoneBetween(t *testing.T, g *gatewaytest.Gateway, watcher *gatewaytest.Peer, id string, since time.Time, least, most time.Duration) {
	t.Helper()
	// A loaded machine may deliver the notice late; most allows for that.
	offline := gatewaytest.Decode[protocol.DeviceNotice](t, watcher.Await(protocol.TypeDeviceOffline).Payload)
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

// requireGone checks that the device is in neither index.
func requireGone(t *testing.T, g *gatewaytest.Gateway, id string) {
	t.Helper()
	if status, body := get(t, "http://"+g.Addr+"/v1/devices/"+id); status != http.StatusNotFound {
		t.Errorf("device index: %d %s", status, body)
	}
	if _, body := get(t, "http://"+g.Addr+"/v1/sessions"); strings.Contains(body, id) {
		t.Errorf("session index: %s", body)
	}
}

// startTester starts a simulated tensile tester as a process and waits until
// it streams.
func startTester(t *testing.T, g *gatewaytest.Gateway, id string, args ...string) *gatewaytest.Process {
	t.Helper()
	return gatewaytest.Start(t, append([]string{gatewaytest.Labgate(t), "simulate", "--url", "ws://" + g.Addr, "--device", id}, args...)...)
}
