package bench

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
)

// clusterRun is a short run against one fake gateway under two names.
func clusterRun(g *fakeGateway) Options {
	o := short(ScenarioCluster, g.url())
	o.FrontendTarget = strings.Replace(g.url(), "127.0.0.1", "localhost", 1)
	o.Rate, o.StepDuration, o.Timeout = 200, 60*time.Millisecond, 2*time.Minute
	return o
}

func TestCluster(t *testing.T) {
	t.Parallel()
	o := clusterRun(newFake(t, tricks{}))
	o.Redis = redistest.Start(t).Addr()
	rep, found := kinds(t, o)
	// The rates that the searches reach depend on the machine.
	if found = slices.DeleteFunc(found, func(k string) bool { return k == problemNoRate }); len(found) > 0 {
		t.Fatalf("%v", rep.Problems)
	}
	c := rep.Results.Cluster
	if c.Publish == nil || c.Publish.PerSecond <= 0 || c.Publish.Pipelined <= 0 || c.Publish.Size != 128 {
		t.Errorf("Redis alone: %+v", c.Publish)
	}
	if c.Near == nil || c.Far == nil || c.Near.Count == 0 || c.Far.Count == 0 {
		t.Errorf("commands: %+v %+v", c.Near, c.Far)
	}
	if c.Unicast == nil || len(c.Unicast.Steps) == 0 || c.Telemetry == nil || len(c.Telemetry.Steps) == 0 {
		t.Errorf("searches: %+v %+v", c.Unicast, c.Telemetry)
	}
	if want := c.Unicast.Rate / c.Publish.PerSecond; c.UnicastRatio != want {
		t.Errorf("the ratio is %v, want %v", c.UnicastRatio, want)
	}
	if want := c.Telemetry.Rate * 2 / c.Publish.PerSecond; c.TelemetryRatio != want {
		t.Errorf("the ratio of telemetry is %v, want %v", c.TelemetryRatio, want)
	}
	var table bytes.Buffer
	if err := rep.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Redis alone", "messages across", "telemetry across", "command, one node", "command, across"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in\n%s", want, table.String())
		}
	}
	if n := len(figures(rep)); n < 9 {
		t.Errorf("%d figures to compare", n)
	}
}

// TestClusterFindsFaults: losses between the nodes are reported.
func TestClusterFindsFaults(t *testing.T) {
	t.Parallel()
	o := clusterRun(newFake(t, tricks{text: func(_ *fakePeer, n int, msg []byte) [][]byte {
		if bytes.Contains(msg, []byte(`"bench.command"`)) && n == 5 {
			return nil
		}
		return [][]byte{msg}
	}}))
	o.CommandTimeout = 50 * time.Millisecond
	rep, found := kinds(t, o)
	if !slices.Contains(found, problemUnanswered) || rep.Results.Cluster.Unicast != nil {
		t.Errorf("%v, and then %+v", rep.Problems, rep.Results.Cluster.Unicast)
	}
}

func TestClusterOptions(t *testing.T) {
	t.Parallel()
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	g := newFake(t, tricks{})
	for says, change := range map[string]func(*Options){
		"frontend-target":           func(o *Options) { o.FrontendTarget = "" },
		"another node":              func(o *Options) { o.FrontendTarget = o.Target },
		"redis-addr: 192.0.2.1 is":  func(o *Options) { o.Redis = "192.0.2.1:6379" },
		"redis-addr: scheme":        func(o *Options) { o.Redis = "redis://127.0.0.1:6379" },
		"connection refused":        func(o *Options) { o.Redis = nobody.Addr().String() },
		"redis-addr: only for":      func(o *Options) { o.Scenario, o.Redis = ScenarioCommands, "127.0.0.1:1" },
		"saturate: only for fanout": func(o *Options) { o.Saturate = true },
	} {
		o := clusterRun(g)
		change(&o)
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
