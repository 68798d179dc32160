package clusteracceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/protocol"
)

// A Redis with TLS and a user with exactly the rights of docs/cluster.md. The
// password comes from a file, and is in no log.
func TestRedisWithTLSAndAUser(t *testing.T) {
	t.Parallel()
	const password = "p@ss/word-0123456789"
	guide, err := os.ReadFile(filepath.Join(gatewaytest.Root(t), "docs", "cluster.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rights, found := strings.Cut(string(guide), "ACL SETUSER labgate on >PASSWORD resetkeys resetchannels ")
	if rights, _, _ = strings.Cut(rights, "\n"); !found || !strings.Contains(rights, "&labgate:*") {
		t.Fatalf("docs/cluster.md names no rights: %q", rights)
	}
	redis := redistest.Start(t, redistest.WithTLS(), redistest.WithUser("labgate", password, strings.Fields(rights)...))
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "rediss://labgate@" + redis.Addr()
	var nodes []*node
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, startNode(t, name, url, "--redis-ca", redis.CAFile(), "--redis-password-file", file))
	}
	awaitJoined(t, nodes...)
	oven := newDevice(t, "oven-1")
	atA := oven.connect(nodes[0])
	bob := connect(t, nodes[1], "/ws/frontend/bob")
	bob.awaitDevice("oven-1")
	bob.mustAnswer("c", "oven-1")
	stop := oven.streaming(atA)
	gatewaytest.Eventually(t, "telemetry crosses", func() bool { return bob.book("oven-1").received > 2000 })
	stop()
	bob.mustBalance(oven)
	nodes[0].Terminate()
	if d := bob.awaitNotice(protocol.TypeDeviceOffline, "oven-1"); d.Reason != "going_away" {
		t.Errorf("%+v", d)
	}
	for _, n := range nodes {
		if lines := n.Stderr.With(password); len(lines) > 0 {
			t.Errorf("the password is in the log: %s", lines[0])
		}
	}

	// The log names a wrong password as the cause, and does not repeat it.
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("sesame-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startNode(t, "c", url, "--redis-ca", redis.CAFile(), "--redis-password-file", wrong)
	c.Stderr.Await(t, "WRONGPASS")
	if c.ready() {
		t.Error("a node without its Redis is ready")
	}
	if lines := c.Stderr.With("sesame"); len(lines) > 0 {
		t.Errorf("the password is in the log: %s", lines[0])
	}
	connect(t, c, "/ws/frontend") // by itself it serves
}

// Sentinels promote the replica of a killed master. After that outage
// everything works as before.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	nodes := startNodes(t, s.URL(), "a", "b")
	oven := newDevice(t, "oven-1")
	oven.connect(nodes[0])
	bob := connect(t, nodes[1], "/ws/frontend/bob")
	bob.awaitDevice("oven-1")
	bob.mustAnswer("before", "oven-1")

	s.Master.Kill()
	for _, n := range nodes {
		gatewaytest.Eventually(t, "node "+n.name+" notices", func() bool { return n.Metric("labgate_bus_outages_total") >= 1 })
	}
	awaitJoined(t, nodes...)
	gatewaytest.Eventually(t, "the device is known again", func() bool { return nodes[1].holders()["oven-1"] == "a" })
	bob.mustAnswer("after", "oven-1")
	for _, n := range nodes {
		t.Logf("%s: %v outages, %.1f s", n.name, n.Metric("labgate_bus_outages_total"), n.Metric("labgate_bus_outage_seconds_total"))
		if n.Metric("labgate_bus_outage_seconds_total") == 0 {
			t.Errorf("%s knows no length of the outage", n.name)
		}
	}
}
