//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestNodes starts and stops the programs of a workload with two gateways, and
// checks that no process is left over.
func TestNodes(t *testing.T) {
	o := &Options{Bin: build(t), LoadCPU: 1}
	i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == "cluster" })
	n, first, err := startNodes(o, &cases[i].workloads[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(first.server, " "); !strings.HasSuffix(got, "--node a --redis redis://"+n.addr) {
		t.Errorf("the first gateway: %s", got)
	}
	if got, want := fmt.Sprint(first.loads[0].args), fmt.Sprintf("[cluster --frontend-target http://%s --redis-addr %s]", n.other.addr, n.addr); got != want {
		t.Errorf("the load: %s, want %s", got, want)
	}
	plain := workload{server: cases[i].workloads[0].server, loads: benchRun("commands")}
	if second, first, err := startNodes(o, &plain); err != nil {
		t.Error(err)
	} else {
		if got, want := fmt.Sprint(first.loads[0].args), fmt.Sprintf("[commands --frontend-target http://%s --frontend-pid %d]", second.other.addr, second.other.pid()); got != want {
			t.Errorf("the load: %s, want %s", got, want)
		}
		second.stop()
	}
	if len(cases[i].workloads[0].loads[0].args) != 1 {
		t.Errorf("the case itself has changed: %v", cases[i].workloads[0].loads[0].args)
	}
	if err := n.ended(); err != nil {
		t.Error(err)
	}
	if cpu := n.stop(); cpu <= 0 {
		t.Errorf("%v s of CPU time", cpu)
	}
	if conn, err := net.Dial("tcp", n.addr); err == nil {
		conn.Close()
		t.Error("Redis goes on")
	}
	if _, err := os.Stat(n.dir); err == nil {
		t.Error("its directory is left")
	}

	for _, w := range []struct {
		workload
		server, load string
	}{{workload{}, "0", "1"}, {workload{shared: true}, "0,1", "1"}, {workload{nodes: true}, "0,1", "0,1"}} {
		if s, l := w.serverProcessors(o), w.loadProcessors(o); s != w.server || l != w.load {
			t.Errorf("%+v: server on %s, load on %s", w.workload, s, l)
		}
	}

	broken := workload{server: []string{"labgate", "serve", "--listen", "nonsense"}, loads: benchRun("cluster")}
	if _, _, err := startNodes(o, &broken); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a gateway that does not start: %v", err)
	}
}
