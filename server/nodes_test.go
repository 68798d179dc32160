package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// two starts gateways a and b on a hub of their own.
func two(t *testing.T, m mode, tune func(*Options)) (a, b *gateway, hub *membus.Hub) {
	t.Helper()
	hub = membus.NewHub()
	one := func(name string) *gateway {
		return start(t, m, func(o *Options) {
			if tune != nil {
				tune(o)
			}
			o.Node, o.Bus = name, hub.Bus(name)
		})
	}
	a, b = one("a"), one("b")
	for _, g := range []*gateway{a, b} {
		g.eventually("the nodes know each other", func() bool { return g.opts.Bus.Stats().Nodes == 1 })
	}
	return a, b, hub
}

// knows waits until a gateway knows that a device is there.
func (g *gateway) knows(device string) {
	g.t.Helper()
	g.eventually("device "+device+" is known", func() bool {
		status, _ := g.call("GET", "/v1/devices/"+device, "")
		return status == 200
	})
}

func sessionsOf(answer map[string]any) map[string]string {
	all := map[string]string{}
	for _, v := range answer["sessions"].([]any) {
		s := v.(map[string]any)
		all[s["session"].(string)] = s["node"].(string)
	}
	return all
}

// TestSessionsAcrossNodes lists, shows and ends sessions of another node, and
// names the node of each.
func TestSessionsAcrossNodes(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		a, b, _ := two(t, m, nil)
		dev, ann, bob := a.upgrade("/ws/device/d"), a.upgrade("/ws/frontend/ann"), b.upgrade("/ws/frontend/bob")
		want := map[string]string{dev.welcome.Session: "a", ann.welcome.Session: "a", bob.welcome.Session: "b"}
		for _, g := range []*gateway{a, b} {
			status, answer := g.call("GET", "/v1/sessions", "")
			if got := sessionsOf(answer); status != 200 || fmt.Sprint(got) != fmt.Sprint(want) || len(answer) != 1 {
				t.Errorf("on %s: %d %v, want %v", g.opts.Node, status, answer, want)
			}
			status, one := g.call("GET", "/v1/sessions/"+ann.welcome.Session, "")
			if status != 200 || one["node"] != "a" || one["name"] != "ann" || one["role"] != "frontend" || one["remote"] != ann.conn.LocalAddr().String() || one["health"].(map[string]any)["score"] != 100.0 {
				t.Errorf("one of a on %s: %d %v", g.opts.Node, status, one)
			}
		}
		if status, answer := b.call("DELETE", "/v1/sessions/"+dev.welcome.Session, ""); status != 204 {
			t.Errorf("delete: %d %v", status, answer)
		}
		dev.expectClose(protocol.CloseKicked)
		for _, method := range []string{"GET", "DELETE"} {
			if status, answer := b.call(method, "/v1/sessions/"+dev.welcome.Session, ""); status != 404 {
				t.Errorf("%s of a session that is gone: %d %v", method, status, answer)
			}
		}
		if status, _ := a.call("DELETE", "/v1/sessions/"+ann.welcome.Session, ""); status != 204 {
			t.Errorf("delete on its own node: %d", status)
		}
		ann.expectClose(protocol.CloseKicked)
	})
}

// TestPermissionsAcrossNodes: another node's sessions are seen and ended by the
// same rules as one's own.
func TestPermissionsAcrossNodes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	dev, devLine := newToken(t, access.Grant{Role: access.RoleDevice})
	grant := func(observe, command bool, devices ...access.Pattern) (string, string) {
		return newToken(t, access.Grant{Role: access.RoleFrontend, Permissions: access.Permissions{Observe: observe, Command: command, Devices: devices}})
	}
	some, someLine := grant(true, true, "press-*")
	viewer, viewerLine := grant(true, false, "*")
	all, allLine := grant(true, true, "*")
	writeFile(t, file, devLine, someLine, viewerLine, allLine)
	a, b, _ := two(t, modes[0], func(o *Options) { o.CredentialFile = file })
	a.upgradeAs("/ws/device/press-1", dev)
	oven, fe := a.upgradeAs("/ws/device/oven-1", dev), a.upgradeAs("/ws/frontend", some)
	b.eventually("b knows the devices", func() bool {
		_, answer := b.callAs(all, "GET", "/v1/devices", "")
		return len(answer["devices"].([]any)) == 2
	})
	b.checkPermissions(t, "some", some, 1, 1, 404, 403, 404, 404, oven, fe)
	b.checkPermissions(t, "viewer", viewer, 2, 3, 200, 403, 403, 403, oven, fe)
	b.checkPermissions(t, "all", all, 2, 3, 200, 504, 204, 204, oven, fe)
	oven.await("a.b")
	oven.expectClose(protocol.CloseKicked)
	fe.expectClose(protocol.CloseKicked)
}

// TestManySessionsAcrossNodes has more of them than go into one answer between
// nodes.
func TestManySessionsAcrossNodes(t *testing.T) {
	a, b, _ := two(t, modes[0], nil)
	want := map[string]string{}
	for range 520 { // more than one page
		want[a.upgrade("/ws/frontend?telemetry=none").welcome.Session] = "a"
	}
	_, answer := b.call("GET", "/v1/sessions", "")
	if got := sessionsOf(answer); fmt.Sprint(got) != fmt.Sprint(want) || len(answer["sessions"].([]any)) != len(want) {
		t.Errorf("%d sessions, %d of them different, want %d", len(answer["sessions"].([]any)), len(got), len(want))
	}
}

// TestNodesOfOneName: nodes that were given the same name by mistake are all
// asked, and told from each other where they do not answer.
func TestNodesOfOneName(t *testing.T) {
	hub := membus.NewHub()
	nodes := make([]*gateway, 4)
	want, label := map[string]string{}, map[string]string{}
	for i, name := range []string{"a", "a", "b", "c"} {
		bus := hub.Bus(name)
		g := start(t, modes[0], func(o *Options) { o.Node, o.Bus = name, bus })
		nodes[i], label[fmt.Sprint("d", i)] = g, fmt.Sprintf("%s#%08x", name, uint32(bus.Self()))
		want[g.upgrade(fmt.Sprint("/ws/device/d", i)).welcome.Session] = name
	}
	for _, g := range nodes {
		for i := range nodes {
			g.knows(fmt.Sprint("d", i))
		}
		status, answer := g.call("GET", "/v1/sessions", "")
		if got := sessionsOf(answer); status != 200 || len(answer) != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sessions on %s: %d %v, want %v", g.opts.Node, status, answer, want)
		}
		status, answer = g.call("GET", "/v1/devices", "")
		if devices := answer["devices"].([]any); status != 200 || len(devices) != len(nodes) || len(answer) != 1 {
			t.Errorf("devices on %s: %d %v", g.opts.Node, status, answer)
		} else {
			for _, v := range devices {
				d := v.(map[string]any)
				if session, _ := d["session"].(string); want[session] != d["node"] || d["health"].(map[string]any)["score"] != 100.0 {
					t.Errorf("on %s: %v", g.opts.Node, d)
				}
			}
		}
	}
	hub.SetReachable(false)
	for i, silent := range [][]string{
		{label["d1"], "b", "c"},
		{label["d0"], "b", "c"},
		{label["d0"], label["d1"], "c"},
	} {
		g := nodes[i]
		g.eventually("the node is by itself", func() bool { return !g.opts.Bus.Up() })
		slices.Sort(silent)
		for _, path := range []string{"/v1/sessions", "/v1/devices"} {
			if _, answer := g.call("GET", path, ""); fmt.Sprint(answer["silent_nodes"]) != fmt.Sprint(silent) {
				t.Errorf("%s on node %d: %v, want %v silent", path, i, answer["silent_nodes"], silent)
			}
		}
		if _, answer := g.call("POST", "/v1/broadcast", `{"type":"a.b"}`); len(answer["silent_nodes"].([]any)) != len(silent) {
			t.Errorf("broadcast on node %d: %v, want %v silent", i, answer, silent)
		}
	}
}

// TestNodesOutOfReach: what is known is shown, with a word on what is not; what
// needs the other node fails at once; /readyz tells.
func TestNodesOutOfReach(t *testing.T) {
	a, b, hub := two(t, modes[0], nil)
	dev, bob := a.upgrade("/ws/device/d"), b.upgrade("/ws/frontend/bob")
	b.knows("d")
	if status, body := b.askAdmin("/readyz"); status != 200 || !strings.Contains(body, `"ready"`) {
		t.Errorf("/readyz: %d %s", status, body)
	}
	hub.SetReachable(false)
	b.eventually("b is by itself", func() bool { return !b.opts.Bus.Up() })
	if status, body := b.askAdmin("/readyz"); status != 503 || !strings.Contains(body, `"isolated"`) || !strings.Contains(body, "cannot be reached") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := b.askAdmin("/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	status, answer := b.call("GET", "/v1/sessions", "")
	if got := sessionsOf(answer); status != 200 || len(got) != 1 || got[bob.welcome.Session] != "b" || fmt.Sprint(answer["silent_nodes"]) != "[a]" || answer["others_unreachable"] != true {
		t.Errorf("sessions: %d %v", status, answer)
	}
	status, answer = b.call("GET", "/v1/devices", "")
	if devices := answer["devices"].([]any); status != 200 || len(devices) != 1 || devices[0].(map[string]any)["node"] != "a" || fmt.Sprint(answer["silent_nodes"]) != "[a]" || answer["others_unreachable"] != true {
		t.Errorf("devices: %d %v", status, answer)
	}
	for _, c := range [][3]string{
		{"GET", "/v1/sessions/" + dev.welcome.Session, ""},
		{"DELETE", "/v1/sessions/" + dev.welcome.Session, ""},
		{"POST", "/v1/devices/d/commands", `{"type":"a.b"}`},
		{"POST", "/v1/users/ann/messages", `{"type":"a.b"}`},
	} {
		status, answer := b.call(c[0], c[1], c[2])
		if code, message := errorOf(answer); status != 503 || code != "unavailable" || message == "" {
			t.Errorf("%s %s: %d %v", c[0], c[1], status, answer)
		}
	}
	hub.SetReachable(true)
	b.eventually("b is ready", func() bool { status, _ := b.askAdmin("/readyz"); return status == 200 })
	if status, one := b.call("GET", "/v1/sessions/"+dev.welcome.Session, ""); status != 200 || one["node"] != "a" {
		t.Errorf("one of a: %d %v", status, one)
	}
}

// TestDuplicateRefusedAcrossNodes keeps the older connection, on whichever node
// it is.
func TestDuplicateRefusedAcrossNodes(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		a, b, _ := two(t, m, func(o *Options) { o.RefuseDuplicate = true })
		dev := a.upgrade("/ws/device/d")
		b.knows("d")
		// first makes the handshake and returns the first frame.
		first := func() (*peer, frame) {
			p := newPeer(t, b.dial())
			p.write([]byte(request("/ws/device/d")))
			if head, err := p.readHead(); err != nil || !strings.Contains(head, " 101 ") {
				t.Fatalf("%q %v", head, err)
			}
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			return p, f
		}
		if _, f := first(); closeOf(f) != `4007 "duplicate_device"` {
			t.Errorf("the first frame is %v %q", f.op, f.data)
		}
		dev.vanish()
		b.eventually("the device may come to b", func() bool {
			p, f := first()
			return closeOf(f) == "none" && p.message(f).Type == protocol.TypeWelcome
		})
	})
}

// TestShutdownAmongNodes: who waits for a device of another node when the
// gateway leaves is told so before its own session ends; the other nodes learn
// at once that it goes.
func TestShutdownAmongNodes(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		a, b, _ := two(t, m, nil)
		far := b.upgrade("/ws/device/far")
		a.knows("far")
		ann, bob := a.upgrade("/ws/frontend/ann"), b.upgrade("/ws/frontend/bob")
		near := a.upgrade("/ws/device/near")
		bob.await(protocol.TypeDeviceOnline)
		ann.text(`{"type":"a.command","id":"c","dst":"far","timeout_ms":600000}`)
		far.await("a.command")
		waiting := make(chan string, 1)
		go func() {
			status, answer, err := a.tryCall("POST", "/v1/devices/far/commands", `{"type":"a.command","timeout_ms":600000}`)
			code, _ := errorOf(answer)
			waiting <- fmt.Sprintf("%d %s %v", status, code, err)
		}()
		far.await("a.command")

		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- a.Shutdown(ctx)
		}()
		near.expectClose(protocol.CloseGoingAway)
		if d := bob.await(protocol.TypeDeviceOffline); !strings.Contains(string(d.Payload), `"near"`) || !strings.Contains(string(d.Payload), `"going_away"`) {
			t.Errorf("on b: %s", d.Payload)
		}
		ann.await(protocol.TypeClosing)
		if e := ann.await(protocol.TypeError); e.Re != "c" || !strings.Contains(string(e.Payload), `"unavailable"`) {
			t.Errorf("the command: %+v %s", e, e.Payload)
		}
		ann.expectClose(protocol.CloseGoingAway)
		if got := <-waiting; got != "503 unavailable <nil>" {
			t.Errorf("the request: %s", got)
		}
		if err := <-done; err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := b.opts.Bus.Stats().Nodes; n != 0 {
			t.Errorf("b knows %d other nodes", n)
		}
		if status, answer := b.call("GET", "/v1/sessions", ""); status != 200 || len(sessionsOf(answer)) != 2 {
			t.Errorf("sessions: %d %v", status, answer)
		}
	})
}

// countedBus counts what no bus in one process does.
type countedBus struct{ federation.Bus }

func (b countedBus) Stats() federation.Stats {
	return federation.Stats{
		Nodes: 2, Sent: 3, SentBytes: 4, Received: 5, ReceivedBytes: 6, Publishes: 7, DroppedTelemetry: 8, Lost: 9, Stale: 10, Malformed: 11,
		IngressAccepted: 12, IngressRefused: map[string]uint64{"bad_message": 13, "not_found": 14}, Outages: 15, OutageSeconds: 16.5,
	}
}

// TestLostBetweenNodesMetric: the metric says what the front end was told.
func TestLostBetweenNodesMetric(t *testing.T) {
	const metric = "samples_lost_between_nodes_total{}"
	a, b, hub := two(t, modes[0], nil)
	fe, dev := b.upgrade("/ws/frontend"), a.upgrade("/ws/device/d")
	fe.await(protocol.TypeDeviceOnline)
	dev.send(wsframe.OpBinary, telemetry(0, 100))
	for f := (frame{}); f.op != wsframe.OpBinary; {
		var err error
		if f, err = fe.next(); err != nil {
			t.Fatal(err)
		}
	}
	hub.SetReachable(false)
	b.eventually("b is by itself", func() bool { return !b.opts.Bus.Up() })
	dev.send(wsframe.OpBinary, telemetry(100, 70))
	a.eventually("the samples came", func() bool { return a.router.Stats().SamplesIn.Load() == 170 })
	hub.SetReachable(true)
	dev.send(wsframe.OpBinary, telemetry(170, 1))
	var lost protocol.Lost
	if err := json.Unmarshal(fe.await(protocol.TypeLost).Payload, &lost); err != nil || lost.Count() != 70 || lost.Cause != "bus" {
		t.Fatalf("%+v %v", lost, err)
	}
	if got := b.metrics()[metric]; got != 70 {
		t.Errorf("%s is %v, want 70", metric, got)
	}
	if got, there := a.metrics()[metric]; !there || got != 0 {
		t.Errorf("%s is %v (%v) where nothing was lost", metric, got, there)
	}
}

// TestBusMetrics has every metric of the bus, and none on a gateway alone.
func TestBusMetrics(t *testing.T) {
	g := start(t, modes[0], func(o *Options) { o.Bus = countedBus{membus.NewHub().Bus("test")} })
	got := g.metrics()
	for name, want := range map[string]float64{
		"up{}": 1, "nodes{}": 2, "sent_total{}": 3, "sent_bytes_total{}": 4, "received_total{}": 5, "received_bytes_total{}": 6, "publishes_total{}": 7,
		"telemetry_dropped_total{}": 8, "packets_lost_total{}": 9, "packets_stale_total{}": 10, "packets_malformed_total{}": 11,
		"ingress_messages_total{}": 12, `ingress_refused_total{reason="bad_message"}`: 13, `ingress_refused_total{reason="not_found"}`: 14,
		"outages_total{}": 15, "outage_seconds_total{}": 16.5,
	} {
		if v, there := got["bus_"+name]; !there || v != want {
			t.Errorf("bus_%s is %v (%v), want %v", name, v, there, want)
		}
	}
	for name := range start(t, modes[0], nil).metrics() {
		if strings.HasPrefix(name, "bus_") {
			t.Errorf("a gateway alone has %s", name)
		}
	}
}

// TestStartFailsAmongNodes leaves the bus when the gateway cannot start.
func TestStartFailsAmongNodes(t *testing.T) {
	hub := membus.NewHub()
	first := start(t, modes[0], func(o *Options) { o.Bus = hub.Bus("first") })
	second := prepare(t, modes[0], func(o *Options) { o.Listen, o.Bus = first.Addr(), hub.Bus("second") })
	if err := second.Start(); err == nil || !strings.HasPrefix(err.Error(), "--listen: ") {
		t.Errorf("%v", err)
	}
	first.eventually("the other has left", func() bool { return first.opts.Bus.Stats().Nodes == 0 })
	names := []string{}
	_, answer := first.call("GET", "/v1/sessions", "")
	for name := range answer {
		names = append(names, name)
	}
	if !slices.Equal(names, []string{"sessions"}) {
		t.Errorf("%v", answer)
	}
}
