package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// A peer whose link is cut sends no FIN: only the heartbeat finds it, after
// its timeout and not before.
func TestDroppedLinkIsFoundByHeartbeat(t *testing.T) {
	t.Parallel()
	lab := fmt.Sprintf("lg-lab-%d", os.Getpid())
	field := fmt.Sprintf("lg-dev-%d", os.Getpid())
	link(t, lab, field)

	g := gatewaytest.StartGatewayIn(t, []string{"ip", "netns", "exec", lab}, "10.99.0.1:8080", "--insecure", "--heartbeat-interval", "1s", "--heartbeat-timeout", "3s")
	g.Stderr.Await(t, "INSECURE")
	watcher := gatewaytest.Start(t, "ip", "netns", "exec", lab, gatewaytest.Labgate(t), "tail", "--json", "--url", "ws://"+g.Addr)
	watcher.Stdout.Await(t, protocol.TypeWelcome)
	gatewaytest.Start(t, "ip", "netns", "exec", field, gatewaytest.Labgate(t), "simulate", "--url", "ws://"+g.Addr, "--device", "far-1")
	watcher.Stdout.Await(t, protocol.TypeDeviceOnline)
	// Telemetry flows, so the last byte arrives right before the cut.
	time.Sleep(500 * time.Millisecond)

	run(t, "ip", "-n", field, "link", "set", "eth0", "down")
	cut := time.Now()
	watcher.Stdout.Await(t, protocol.TypeDeviceOffline)
	after := time.Since(cut)
	if least, most := 3*time.Second, 4*time.Second; after < least-100*time.Millisecond || after > most+200*time.Millisecond {
		t.Errorf("gone %v after the cut, want %v to %v", after, least, most)
	}
	watcher.Stdout.Await(t, protocol.CloseHeartbeatTimeout.Name())
	t.Logf("gone %v after the cut", after)
	g.Signal(syscall.SIGTERM)
	if code := g.Wait(10 * time.Second); code != 0 {
		t.Errorf("gateway's exit code %d", code)
	}
}

// link makes two network namespaces and a virtual cable between them.
func link(t *testing.T, lab, field string) {
	t.Helper()
	for _, ns := range []string{lab, field} {
		run(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		run(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	run(t, "ip", "-n", lab, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", field)
	for ns, addr := range map[string]string{lab: "10.99.0.1/24", field: "10.99.0.2/24"} {
		run(t, "ip", "-n", ns, "addr", "add", addr, "dev", "eth0")
		run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
	}
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s (network namespaces need root)", argv, err, out)
	}
}
