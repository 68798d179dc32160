package clusteracceptance

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/protocol"
)

// A device that moves to another node has one holder: the older connection is
// closed with 4000, and every front end gets the notices in order.
func TestADeviceMoves(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, redistest.Start(t).URL(), "a", "b", "c")
	oven := newDevice(t, "oven-1")
	watchers := []*peer{connect(t, nodes[0], "/ws/frontend/wa"), connect(t, nodes[1], "/ws/frontend/wb"), connect(t, nodes[2], "/ws/frontend/wc")}

	old := oven.connect(nodes[0])
	want := []string{"online oven-1 a connected"}
	for move := range 6 {
		from, to := nodes[move%2], nodes[(move+1)%2]
		for _, w := range watchers {
			gatewaytest.Eventually(t, w.welcome.Node+" has seen all so far", func() bool { return len(w.notices()) >= len(want) })
		}
		now := oven.connect(to)
		if code := old.awaitClose(); code != uint16(protocol.CloseReplaced) {
			t.Errorf("move %d: the older connection was closed with %d", move, code)
		}
		want = append(want, "offline oven-1 "+from.name+" replaced", "online oven-1 "+to.name+" connected")
		old = now
	}
	for _, w := range watchers {
		gatewaytest.Eventually(t, w.welcome.Node+" has seen all", func() bool { return len(w.notices()) >= len(want) })
		w.mustAnswer("moved-"+w.welcome.Node, "oven-1")
		if got := w.notices(); !slices.Equal(got, want) {
			t.Errorf("on %s: %q, want %q", w.welcome.Node, got, want)
		}
	}
	for _, n := range nodes {
		if got := n.holders(); len(got) != 1 || got["oven-1"] != "a" {
			t.Errorf("on %s: %v", n.name, got)
		}
	}

	// As fast as possible, and to two nodes at once.
	var last *peer
	for i := range 30 {
		last = oven.connect(nodes[i%3])
	}
	for _, n := range nodes {
		gatewaytest.Eventually(t, "on "+n.name+" the last connection stays", func() bool { return n.holders()["oven-1"] == last.welcome.Node })
	}
	for _, w := range watchers {
		w.mustAnswer("settled-"+w.welcome.Node, "oven-1")
		if n := oven.carriedOut("settled-" + w.welcome.Node); n != 1 {
			t.Errorf("a command was carried out %d times", n)
		}
	}
	if last.ended() {
		t.Errorf("the newest connection was closed with %d", last.awaitClose())
	}
}

// A killed node: its devices are offline on all other nodes within the time to
// live, and announced once.
func TestANodeDies(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	nodes := startNodes(t, redis.URL(), "a", "b", "c")
	a, b, c := nodes[0], nodes[1], nodes[2]
	oven, press := newDevice(t, "oven-1"), newDevice(t, "press-1")
	oven.mute = true
	oven.connect(a)
	press.connect(b)
	watchers := []*peer{connect(t, b, "/ws/frontend/wb"), connect(t, c, "/ws/frontend/wc")}
	for _, w := range watchers {
		w.awaitDevice("oven-1")
		w.awaitDevice("press-1")
	}
	waiting := watchers[1]
	waiting.Text(`{"type":"do.it","id":"w","dst":"oven-1","timeout_ms":600000,"payload":{"key":"w"}}`)
	gatewaytest.Eventually(t, "the device has the command", func() bool { return oven.carriedOut("w") == 1 })

	a.Signal(syscall.SIGKILL)
	died := time.Now()
	for _, w := range watchers {
		d := w.awaitNotice(protocol.TypeDeviceOffline, "oven-1")
		if d.Reason != "node_lost" || d.Node != "a" {
			t.Errorf("on %s: %+v", w.welcome.Node, d)
		}
	}
	if took := time.Since(died); took > ttl+slack {
		t.Errorf("announced after %v, the time to live is %v", took, ttl)
	} else {
		t.Logf("announced after %v, the time to live is %v", took, ttl)
	}
	if code := waiting.awaitError("w"); code != "device_disconnected" {
		t.Errorf("the command that waited: %s", code)
	}
	for _, n := range []*node{b, c} {
		if got := n.holders(); len(got) != 1 || got["press-1"] != "b" {
			t.Errorf("on %s: %v", n.name, got)
		}
	}
	time.Sleep(ttl / 2)
	for _, w := range watchers {
		w.mustFail(gatewaytest.Patience, "gone-"+w.welcome.Node, "oven-1", protocol.ErrDeviceOffline)
		if more := w.notices(); len(more) > 0 {
			t.Errorf("on %s also: %q", w.welcome.Node, more)
		}
	}

	// A new node with the same name, to which the device reconnects.
	a = startNode(t, "a", redis.URL())
	awaitJoined(t, a, b, c)
	oven.mute = false
	oven.connect(a)
	for _, w := range watchers {
		if d := w.awaitNotice(protocol.TypeDeviceOnline, "oven-1"); d.Node != "a" || d.Reason != "connected" {
			t.Errorf("on %s: %+v", w.welcome.Node, d)
		}
		w.mustAnswer("back-"+w.welcome.Node, "oven-1")
	}
}

// With --duplicate-device refuse the older connection stays, also when the
// newer one goes to another node.
func TestADuplicateIsRefusedAcrossNodes(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	a, b := startNode(t, "a", redis.URL(), "--duplicate-device", "refuse"), startNode(t, "b", redis.URL(), "--duplicate-device", "refuse")
	awaitJoined(t, a, b)
	watcher := connect(t, b, "/ws/frontend")
	oven := newDevice(t, "oven-1")
	first := oven.connect(a)
	watcher.awaitNotice(protocol.TypeDeviceOnline, "oven-1")
	second, err := oven.tryConnect(b)
	if err == nil {
		second.reset()
		t.Fatal("a second connection was let in")
	}
	if refused := b.Metric("labgate_handshakes_refused_total", `reason="duplicate_device"`); refused != 1 {
		t.Errorf("%v refusals counted; the client was told %v", refused, err)
	}
	watcher.mustAnswer("c", "oven-1")
	first.reset()
	watcher.awaitNotice(protocol.TypeDeviceOffline, "oven-1")
	oven.connect(b)
	watcher.mustAnswer("d", "oven-1")
}

// Two nodes with one name cannot be told apart; the log warns.
func TestNodesOfOneNameAreNoticed(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	nodes := startNodes(t, redis.URL(), "a", "b")
	for _, n := range nodes {
		if lines := n.Stderr.With("same name"); len(lines) > 0 {
			t.Errorf("%s: %s", n.name, lines[0])
		}
	}
	second := startNode(t, "a", redis.URL())
	for _, n := range append(nodes, second) {
		n.Stderr.Await(t, "same name", `"name":"a"`)
	}
}
