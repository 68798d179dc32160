package clusteracceptance

import (
	"slices"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/protocol"
)

// atOnce bounds the time of a command that fails because the other nodes are
// known to be out of reach. slack bounds the delay of other events. Both allow
// for a busy machine, and are far below the 10 s of a command's timeout.
const (
	atOnce = 3 * time.Second
	slack  = 3 * time.Second
)

// laboratory is two nodes on one Redis, with a device and a front end on each.
type laboratory struct {
	t            *testing.T
	redis        *redistest.Server
	a, b         *node
	oven, press  *device // on a and on b
	ovenA        *peer
	annA, bobB   *peer
	outages      float64
	commandCount int
}

func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	l := &laboratory{t: t, redis: redistest.Start(t), oven: newDevice(t, "oven-1"), press: newDevice(t, "press-1")}
	nodes := startNodes(t, l.redis.URL(), "a", "b")
	l.a, l.b = nodes[0], nodes[1]
	l.ovenA = l.oven.connect(l.a)
	l.press.connect(l.b)
	l.annA, l.bobB = connect(t, l.a, "/ws/frontend/ann"), connect(t, l.b, "/ws/frontend/bob")
	for _, fe := range []*peer{l.annA, l.bobB} {
		fe.awaitDevice("oven-1")
		fe.awaitDevice("press-1")
	}
	l.whole()
	return l
}

func (l *laboratory) id() string {
	l.commandCount++
	return string(rune('a'+l.commandCount/26%26)) + string(rune('a'+l.commandCount%26))
}

// whole checks that commands work within each node and between nodes.
func (l *laboratory) whole() {
	l.t.Helper()
	for _, fe := range []*peer{l.annA, l.bobB} {
		fe.mustAnswer(l.id(), "oven-1")
		fe.mustAnswer(l.id(), "press-1")
	}
}

// isolated checks that each node still serves local sessions, reports the
// outage, and fails at once what needs the other node.
func (l *laboratory) isolated() {
	l.t.Helper()
	for _, n := range []*node{l.a, l.b} {
		gatewaytest.Eventually(l.t, "node "+n.name+" is not ready", func() bool { return !n.ready() })
		if status, body := n.Ask("/readyz"); status != 503 || !gatewaytest.Contains(body, "isolated", "cannot be reached") {
			l.t.Errorf("/readyz of %s: %d %s", n.name, status, body)
		}
		if status, body := n.Ask("/healthz"); status != 200 {
			l.t.Errorf("/healthz of %s: %d %s", n.name, status, body)
		}
		if up := n.Metric("labgate_bus_up"); up != 0 {
			l.t.Errorf("labgate_bus_up of %s is %v", n.name, up)
		}
	}
	l.annA.mustAnswer(l.id(), "oven-1")
	l.bobB.mustAnswer(l.id(), "press-1")
	// Until the time to live is over, the other node's devices are known but
	// cannot be reached; then they are offline.
	l.annA.mustFail(atOnce, l.id(), "press-1", protocol.ErrUnavailable, protocol.ErrDeviceOffline)
	l.bobB.mustFail(atOnce, l.id(), "oven-1", protocol.ErrUnavailable, protocol.ErrDeviceOffline)
	l.bobB.Text(`{"type":"note.all","id":"n","dst":"@frontends"}`)
	began := time.Now()
	if r := l.a.call("POST", "/v1/devices/press-1/commands", `{"type":"do.it","payload":{"key":"http"}}`); r.status != 503 && r.status != 404 || time.Since(began) > atOnce {
		l.t.Errorf("a command through HTTP to the other node: %d %s after %v", r.status, r.text, time.Since(began))
	}
	if n := l.press.carriedOut("http"); n > 0 {
		l.t.Errorf("it was carried out %d times", n)
	}
}

// returned waits until everything works again, and checks the log lines and
// metrics of the outage.
func (l *laboratory) returned(least, most time.Duration) {
	l.t.Helper()
	awaitJoined(l.t, l.a, l.b)
	l.outages++
	for _, n := range []*node{l.a, l.b} {
		if outages := n.Metric("labgate_bus_outages_total"); outages != l.outages {
			l.t.Errorf("%s counts %v outages, want %v", n.name, outages, l.outages)
		}
		if length := n.Metric("labgate_bus_outage_seconds_total"); length < least.Seconds() || length > most.Seconds() {
			l.t.Errorf("%s says that they lasted %v s, want %v to %v", n.name, length, least, most)
		}
	}
}

// Redis is killed and restarts empty. Meanwhile each node serves its local
// sessions; afterwards every front end gets notices of the changes.
func TestRedisDies(t *testing.T) {
	t.Parallel()
	l := newLaboratory(t)
	stop := l.oven.streaming(l.ovenA)
	gatewaytest.Eventually(t, "telemetry crosses", func() bool { return l.bobB.book("oven-1").received > 2000 })

	l.redis.Kill()
	died := time.Now()
	l.isolated()
	// One device connects, and one disconnects.
	oven2 := newDevice(t, "oven-2")
	oven2.connect(l.a)
	l.annA.awaitDevice("oven-2")
	l.annA.mustAnswer("local", "oven-2")
	stop()
	l.ovenA.reset()
	if d := l.annA.awaitNotice(protocol.TypeDeviceOffline, "oven-1"); d.Reason != "connection_lost" {
		t.Errorf("%+v", d)
	}
	least := time.Since(died)
	l.redis.Restart()
	l.returned(least-time.Second, time.Since(died)+gatewaytest.Patience)
	if d := l.bobB.awaitNotice(protocol.TypeDeviceOnline, "oven-2"); d.Node != "a" {
		t.Errorf("%+v", d)
	}
	l.bobB.awaitNotice(protocol.TypeDeviceOffline, "oven-1")
	l.bobB.mustAnswer("o2", "oven-2")
	l.bobB.mustFail(gatewaytest.Patience, "o1", "oven-1", protocol.ErrDeviceOffline)
	l.annA.mustAnswer("p", "press-1")
	for _, n := range []*node{l.a, l.b} {
		if got := n.holders(); len(got) != 2 || got["oven-2"] != "a" || got["press-1"] != "b" {
			t.Errorf("on %s: %v", n.name, got)
		}
	}
	l.bobB.mustBalance(l.oven)
	l.annA.mustBalance(l.oven)
	// The length of the outage is in the log.
	for _, n := range []*node{l.a, l.b} {
		if len(n.Stderr.With("outage")) == 0 {
			t.Errorf("the log of %s says nothing of an outage", n.name)
		}
	}
}

// Redis hangs and continues: no command that has failed is delivered later.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	l := newLaboratory(t)
	for round, pause := range []time.Duration{timeout + time.Second, ttl + 2*time.Second} {
		l.redis.Stop()
		hung := time.Now()
		// No node has noticed yet. Each command must have an outcome soon.
		ids := []string{l.id(), l.id(), l.id()}
		for _, id := range ids {
			l.bobB.Text(`{"type":"do.it","id":%q,"dst":"oven-1","payload":{"key":%q}}`, id, id)
		}
		for _, id := range ids {
			if m, code := l.bobB.outcome(id); code != "unavailable" && code != "device_disconnected" {
				t.Errorf("command %s: %s %s", id, m.Type, m.Payload)
			}
		}
		if took := time.Since(hung); took > timeout+slack {
			t.Errorf("they failed after %v; the timeout is %v", took, timeout)
		}
		l.isolated()
		time.Sleep(time.Until(hung.Add(pause)))
		l.redis.Continue()
		l.returned(0, time.Duration(round+1)*gatewaytest.Patience)
		l.whole()
		for _, id := range ids {
			if n := l.oven.carriedOut(id); n > 0 {
				t.Errorf("command %s was carried out %d times", id, n)
			}
		}
	}
}

// outcome waits for the answer to a command, and returns the code if it is an
// error.
func (p *peer) outcome(id string) (protocol.Message, string) {
	p.t.Helper()
	m := p.awaitRe(id)
	if m.Type != protocol.TypeError {
		return m, ""
	}
	return m, string(gatewaytest.Decode[protocol.Error](p.t, m.Payload).Code)
}

// A node is cut off from Redis. On the others its devices are offline after
// the time to live. The node itself still serves its local sessions. After the
// link is repaired each device has one holder, the newest.
func TestANodeIsCutOff(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	link := redistest.StartProxy(t, redis.Addr())
	a, b, c := startNode(t, "a", redis.URL()), startNode(t, "b", redis.URL()), startNode(t, "c", redis.URLVia(link.Addr()))
	awaitJoined(t, a, b, c)
	oven, press, mill := newDevice(t, "oven-1"), newDevice(t, "press-1"), newDevice(t, "mill-1")
	oven.connect(c)
	pressC := press.connect(c)
	mill.connect(a)
	bobB, zoeC := connect(t, b, "/ws/frontend/bob"), connect(t, c, "/ws/frontend/zoe")
	for _, fe := range []*peer{bobB, zoeC} {
		for _, id := range []string{"oven-1", "press-1", "mill-1"} {
			fe.awaitDevice(id)
		}
	}

	link.Cut()
	cut := time.Now()
	for _, id := range []string{"oven-1", "press-1"} {
		if d := bobB.awaitNotice(protocol.TypeDeviceOffline, id); d.Reason != "node_lost" || d.Node != "c" {
			t.Errorf("%+v", d)
		}
	}
	if took := time.Since(cut); took > ttl+slack {
		t.Errorf("the devices were gone after %v, the time to live is %v", took, ttl)
	}
	if d := zoeC.awaitNotice(protocol.TypeDeviceOffline, "mill-1"); d.Reason != "node_lost" {
		t.Errorf("on the node that is cut off: %+v", d)
	}
	zoeC.mustAnswer("local", "oven-1")
	bobB.mustAnswer("others", "mill-1")
	if c.ready() || !a.ready() || !b.ready() {
		t.Error("the node that is cut off is ready, or another is not")
	}

	// One device moves to another node while its old connection stays open.
	// Another device moves to the node that is cut off.
	press.connect(a)
	if d := bobB.awaitNotice(protocol.TypeDeviceOnline, "press-1"); d.Node != "a" {
		t.Errorf("%+v", d)
	}
	zoeC.mustAnswer("old", "press-1")
	millC := mill.connect(c)
	link.Mend()
	awaitJoined(t, a, b, c)
	if code := pressC.awaitClose(); code != uint16(protocol.CloseReplaced) {
		t.Errorf("the older connection was closed with %d", code)
	}
	want := map[string]string{"oven-1": "c", "press-1": "a", "mill-1": "c"}
	for _, n := range []*node{a, b, c} {
		gatewaytest.Eventually(t, "on "+n.name+" each device has its newest holder", func() bool {
			got := n.holders()
			return len(got) == 3 && got["oven-1"] == want["oven-1"] && got["press-1"] == want["press-1"] && got["mill-1"] == want["mill-1"]
		})
	}
	for _, fe := range []*peer{bobB, zoeC} {
		for id := range want {
			fe.mustAnswer("after-"+id, id)
		}
	}
	if millC.ended() {
		t.Error("the newest connection of mill-1 was closed")
	}
	// Each change was announced once.
	told := bobB.notices()
	for _, notice := range []string{"online oven-1 c", "online mill-1 c", "offline mill-1 a"} {
		if n := len(slices.DeleteFunc(slices.Clone(told), func(s string) bool { return !gatewaytest.Contains(s, notice) })); n != 1 {
			t.Errorf("%q was told %d times: %q", notice, n, told)
		}
	}
}
