package clusteracceptance

import (
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/protocol"
)

// A device on node a, front ends on b and c, the HTTP API of c: each kind of
// message crosses, and every peer gets the same messages as on a single node.
func TestEveryKindOfMessageCrosses(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, redistest.Start(t).URL(), "a", "b", "c")
	a, b, c := nodes[0], nodes[1], nodes[2]

	early := connect(t, c, "/ws/frontend/early")
	oven := newDevice(t, "oven-1")
	atA := oven.connect(a)
	if d := early.awaitNotice(protocol.TypeDeviceOnline, "oven-1"); d.Node != "a" || d.Type != "test" || d.Reason != "connected" || d.Stream == 0 {
		t.Errorf("announced on c: %+v", d)
	}
	ann, bob := connect(t, b, "/ws/frontend/ann"), connect(t, c, "/ws/frontend/bob")
	ann2 := connect(t, a, "/ws/frontend/ann")
	nobody := connect(t, b, "/ws/frontend?telemetry=none")
	for _, fe := range []*peer{ann, bob, ann2, nobody} {
		if w := fe.welcome; len(w.Devices) != 1 || w.Devices[0].DeviceID != "oven-1" || w.Devices[0].Node != "a" {
			t.Errorf("the welcome on %s lists %+v", w.Node, w.Devices)
		}
	}
	frontends := []*peer{early, ann, bob, ann2, nobody}

	// Commands.
	{
		for _, fe := range frontends {
			fe.mustAnswer("c-"+fe.welcome.Session, "oven-1")
		}
		// Two askers with the same id, at the same time.
		ann.command("same", "oven-1")
		bob.command("same", "oven-1")
		ann.awaitRe("same")
		bob.awaitRe("same")
		ann.Text(`{"type":"do.it","dst":"oven-1","urgent":true,"payload":{"key":"no answer"}}`)
		gatewaytest.Eventually(t, "a message without an id arrives", func() bool { return oven.carriedOut("no answer") == 1 })
		ann.mustFail(gatewaytest.Patience, "absent", "press-9", protocol.ErrDeviceOffline)
		oven.mu.Lock()
		oven.mute = true
		oven.mu.Unlock()
		bob.Text(`{"type":"do.it","id":"late","dst":"oven-1","timeout_ms":100,"payload":{"key":"late"}}`)
		if code := bob.awaitError("late"); code != "timeout" {
			t.Errorf("a silent device: %s", code)
		}
		oven.mu.Lock()
		oven.mute = false
		oven.mu.Unlock()
		time.Sleep(100 * time.Millisecond) // the device's own node counts the time for itself
		atA.Text(`{"type":"it.is_done","id":"own","re":"late"}`)
		if code := atA.awaitError("own"); code != "not_found" {
			t.Errorf("an answer that is too late: %s", code)
		}
	}

	// From the device.
	{
		atA.Text(`{"type":"state.all","payload":{"n":1.50}}`)
		for _, fe := range frontends {
			if m := fe.awaitType("state.all"); m.Src != "oven-1" || string(m.Payload) != `{"n":1.50}` {
				t.Errorf("on %s: %+v", fe.welcome.Node, m)
			}
		}
		atA.Text(`{"type":"state.ann","dst":"@user/ann"}`)
		ann.awaitType("state.ann")
		ann2.awaitType("state.ann")
		atA.Text(`{"type":"state.bob","dst":"@session/%s"}`, bob.welcome.Session)
		bob.awaitType("state.bob")
		atA.Text(`{"type":"state.lost","id":"n1","dst":"@user/zoe"}`)
		if code := atA.awaitError("n1"); code != "not_found" {
			t.Errorf("a user that is nowhere: %s", code)
		}
		atA.Text(`{"type":"state.lost","id":"n2","dst":"@session/00000000-0000-4000-8000-000000000000"}`)
		if code := atA.awaitError("n2"); code != "not_found" {
			t.Errorf("a session that is nowhere: %s", code)
		}
	}

	// Between front ends.
	{
		ann.Text(`{"type":"note.all","dst":"@frontends"}`)
		for _, fe := range []*peer{early, bob, ann2, nobody} {
			if m := fe.awaitType("note.all"); m.Src != "@user/ann" {
				t.Errorf("on %s: %+v", fe.welcome.Node, m)
			}
		}
		bob.Text(`{"type":"note.ann","dst":"@user/ann"}`)
		ann.awaitType("note.ann")
		ann2.awaitType("note.ann")
		bob.Text(`{"type":"note.nobody","dst":"@session/%s"}`, nobody.welcome.Session)
		if m := nobody.awaitType("note.nobody"); m.Src != "@user/bob" {
			t.Errorf("%+v", m)
		}
		for _, fe := range frontends {
			for _, typ := range fe.types() {
				if strings.HasPrefix(typ, "note.") || strings.HasPrefix(typ, "state.") {
					t.Errorf("%s on %s was given %s, which was not for it or came twice", fe.welcome.Session, fe.welcome.Node, typ)
				}
			}
		}
	}

	// HTTP.
	{
		if r := c.call("POST", "/v1/devices/oven-1/commands", `{"type":"do.it","payload":{"key":"http"}}`); r.status != 200 || r.Type != "it.is_done" || r.Src != "oven-1" {
			t.Errorf("command: %d %s", r.status, r.text)
		}
		if r := c.call("POST", "/v1/devices/press-9/commands", `{"type":"do.it"}`); r.status != 404 || r.Error.Code != "device_offline" {
			t.Errorf("command to a device that is nowhere: %d %s", r.status, r.text)
		}
		if r := c.call("POST", "/v1/broadcast", `{"type":"http.all"}`); r.status != 200 || r.Delivered != len(frontends) {
			t.Errorf("broadcast: %d %s", r.status, r.text)
		}
		for _, fe := range frontends {
			fe.awaitType("http.all")
		}
		if r := c.call("POST", "/v1/users/ann/messages", `{"type":"http.ann"}`); r.status != 200 || r.Delivered != 2 {
			t.Errorf("to a user: %d %s", r.status, r.text)
		}
		ann.awaitType("http.ann")
		ann2.awaitType("http.ann")
		if r := c.call("POST", "/v1/users/zoe/messages", `{"type":"http.zoe"}`); r.status != 404 || r.Error.Code != "not_found" {
			t.Errorf("to a user that is nowhere: %d %s", r.status, r.text)
		}
	}

	// Presence.
	{
		for _, n := range nodes {
			r := n.call("GET", "/v1/devices", "")
			if r.status != 200 || len(r.Devices) != 1 || r.Devices[0].Node != "a" || r.Devices[0].Session != atA.welcome.Session || len(r.SilentNodes) > 0 {
				t.Errorf("devices on %s: %d %s", n.name, r.status, r.text)
			}
			if r := n.call("GET", "/v1/devices/oven-1", ""); r.status != 200 || r.Node != "a" {
				t.Errorf("the device on %s: %d %s", n.name, r.status, r.text)
			}
			r = n.call("GET", "/v1/sessions", "")
			got := map[string]string{}
			for _, s := range r.Sessions {
				got[s.Session] = s.Node + " " + s.Role + " " + s.Name
			}
			want := map[string]string{atA.welcome.Session: "a device oven-1", early.welcome.Session: "c frontend early", ann.welcome.Session: "b frontend ann",
				bob.welcome.Session: "c frontend bob", ann2.welcome.Session: "a frontend ann", nobody.welcome.Session: "b frontend "}
			for id, what := range want {
				if got[id] != what {
					t.Errorf("session %s on %s is %q, want %q", id, n.name, got[id], what)
				}
			}
			if len(r.Sessions) != len(want) || len(r.SilentNodes) > 0 {
				t.Errorf("sessions on %s: %d %s", n.name, r.status, r.text)
			}
			if r := n.call("GET", "/v1/sessions/"+ann.welcome.Session, ""); r.status != 200 || r.Node != "b" || r.Name != "ann" {
				t.Errorf("a session of b on %s: %d %s", n.name, r.status, r.text)
			}
		}
		for _, path := range []string{"/v1/sessions/00000000-0000-4000-8000-000000000000", "/v1/sessions/" + ann.welcome.Session[:8] + "-0000-4000-8000-000000000000"} {
			for _, method := range []string{"GET", "DELETE"} {
				if r := c.call(method, path, ""); r.status != 404 || r.Error.Code != "not_found" {
					t.Errorf("%s %s: %d %s", method, path, r.status, r.text)
				}
			}
		}
	}

	// A session is ended through another node.
	{
		if r := c.call("DELETE", "/v1/sessions/"+atA.welcome.Session, ""); r.status != 204 {
			t.Errorf("delete: %d %s", r.status, r.text)
		}
		if code := atA.awaitClose(); code != uint16(protocol.CloseKicked) {
			t.Errorf("closed with %d", code)
		}
		for _, fe := range frontends {
			if d := fe.awaitNotice(protocol.TypeDeviceOffline, "oven-1"); d.Reason != "kicked" || d.Node != "a" {
				t.Errorf("on %s: %+v", fe.welcome.Node, d)
			}
		}
		for _, n := range nodes {
			if all := n.holders(); len(all) > 0 {
				t.Errorf("on %s: %v", n.name, all)
			}
		}
	}
}

// The ingress channel: an external message reaches a session on any node. A
// malformed one is counted, logged and dropped.
func TestMessagesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	nodes := startNodes(t, redis.URL(), "a", "b")
	oven := newDevice(t, "oven-1")
	oven.connect(nodes[0])
	ann, bob := connect(t, nodes[0], "/ws/frontend/ann"), connect(t, nodes[1], "/ws/frontend/bob")
	publish := func(text string) { redisCLI(t, redis, "PUBLISH", "labgate:ingress", text) }

	publish(`{"dst":"@user/bob","type":"ingress.bob","payload":{"n":1.50}}`)
	if m := bob.awaitType("ingress.bob"); string(m.Payload) != `{"n":1.50}` || m.Src != "@bus" {
		t.Errorf("%+v", m)
	}
	publish(`{"dst":"@session/` + ann.welcome.Session + `","type":"ingress.ann"}`)
	ann.awaitType("ingress.ann")
	publish(`{"dst":"@frontends","type":"ingress.all","urgent":true}`)
	ann.awaitType("ingress.all")
	bob.awaitType("ingress.all")
	publish(`{"dst":"oven-1","type":"do.it","payload":{"key":"ingress"}}`)
	gatewaytest.Eventually(t, "the device has the message", func() bool { return oven.carriedOut("ingress") > 0 })

	refused := 0.0
	for _, text := range []string{"hello", `{"dst":"@user/bob"}`, `{"type":"ingress.bob"}`, `{"dst":"@user/bob","type":"gateway.closing"}`, `{"dst":"@user/bob","type":"Door"}`, `{"dst":"@user/zoe","type":"ingress.zoe"}`} {
		publish(text)
		refused++
		for _, n := range nodes {
			gatewaytest.Eventually(t, "node "+n.name+" counts "+text, func() bool { return n.Metric("labgate_bus_ingress_refused_total") == refused })
		}
	}
	for _, n := range nodes {
		if lines := n.Stderr.With("ingress"); len(lines) == 0 {
			t.Errorf("the log of %s says nothing of what was refused", n.name)
		}
		if accepted := n.Metric("labgate_bus_ingress_messages_total"); accepted != 4 {
			t.Errorf("%s counts %v messages on the ingress channel", n.name, accepted)
		}
	}
	if n := oven.carriedOut("ingress"); n != 1 {
		t.Errorf("the device was given the message %d times", n)
	}
	for _, fe := range []*peer{ann, bob} {
		if slices.ContainsFunc(fe.types(), func(typ string) bool { return strings.HasPrefix(typ, "ingress.") }) {
			t.Errorf("%v came twice or to the wrong one", fe.types())
		}
	}
}

// redisCLI runs redis-cli.
func redisCLI(t *testing.T, redis *redistest.Server, args ...string) string {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-p", strconv.Itoa(redis.Port())}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %v: %v: %s (make setup installs it)", args, err, out)
	}
	return string(out)
}
