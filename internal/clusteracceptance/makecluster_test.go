package clusteracceptance

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
)

// make cluster shows a command between nodes, keeps running, and leaves no
// process behind.
func TestMakeCluster(t *testing.T) {
	t.Parallel()
	var ports []string
	for range 7 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports = append(ports, fmt.Sprint(ln.Addr().(*net.TCPAddr).Port))
		ln.Close()
	}
	demo := gatewaytest.Start(t, "env", "PORTS="+strings.Join(ports, " "), "make", "--no-print-directory", "cluster")
	demo.Stdout.AwaitWithin(t, 2*time.Minute, "Ctrl-C ends it") // it builds the command first
	for what, parts := range map[string][]string{
		"the command through node b": {`"type":"test.start.result"`, `"src":"tensile-1"`, `"state":"running"`},
		"the one through HTTP on c":  {`"type":"test.stop.result"`, `"src":"tensile-1"`, `"state":"stopped"`},
		"the device as c sees it":    {`"device_id":"tensile-1"`, `"node":"a"`},
	} {
		if len(demo.Stdout.With(parts...)) == 0 {
			t.Errorf("%s is not shown", what)
		}
	}
	c := &node{name: "c", Gateway: &gatewaytest.Gateway{Addr: "127.0.0.1:" + ports[2]}}
	fe := connect(t, c, "/ws/frontend")
	fe.awaitDevice("tensile-1")
	gatewaytest.Eventually(t, "its telemetry crosses", func() bool { return fe.book("tensile-1").received > 10_000 })
	if k := fe.book("tensile-1"); len(k.breaks()) > 0 {
		t.Error(k.breaks())
	}

	demo.Signal(syscall.SIGINT)
	demo.Wait(gatewaytest.Patience)
	if out := demo.Stderr.Tail(500); strings.Contains(out, `"level":"error"`) || strings.Contains(out, "panic") {
		t.Error(out)
	}
	left, _ := exec.Command("pgrep", "-f", "127.0.0.1:"+ports[6]).CombinedOutput()
	if len(left) > 0 {
		t.Errorf("left running: %s", left)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", demo.PID())); err == nil {
		t.Error("something is left running")
	}
}
