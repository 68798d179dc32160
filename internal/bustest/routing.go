package bustest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// isCommand reports whether a message is a command.
func isCommand(m protocol.Message) bool { return m.ID != "" }

// echo answers a command with its payload.
func echo(m protocol.Message) string {
	payload := "null"
	if len(m.Payload) > 0 {
		payload = string(m.Payload)
	}
	return fmt.Sprintf(`{"type":"done","re":%q,"payload":%s}`, m.ID, payload)
}

func testPresence(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	early := ns[1].frontend("")
	d := ns[0].device("d1")
	first := early.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	if first.Type != "tester" || first.Meta["room"] != "3" || first.Stream == 0 {
		t.Errorf("notice %+v lacks what the device said of itself", first)
	}
	for _, n := range ns {
		n.sees("d1", "a")
	}
	// A later front end gets the same stream number in its welcome.
	var welcome protocol.Welcome
	if err := json.Unmarshal(ns[1].frontend("").awaitType(protocol.TypeWelcome).Payload, &welcome); err != nil {
		t.Fatal(err)
	}
	if len(welcome.Devices) != 1 || welcome.Devices[0].DeviceID != "d1" || welcome.Devices[0].Node != "a" || welcome.Devices[0].Stream != first.Stream {
		t.Errorf("welcome lists %+v", welcome.Devices)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, silent := ns[2].r.Devices(ctx)
	if len(all) != 1 || all[0].Session == "" || all[0].Health.Score == 0 || all[0].Remote == "" || len(silent) != 0 {
		t.Errorf("node c lists %+v, silent %v", all, silent)
	}
	d.hangUp()
	early.awaitNotice(protocol.TypeDeviceOffline, "d1", "a", "connection_lost")
	for _, n := range ns {
		n.sees("d1", "")
	}
	again := ns[2].device("d1")
	if n := early.awaitNotice(protocol.TypeDeviceOnline, "d1", "c", "connected"); n.Stream != first.Stream {
		t.Errorf("stream %d when it came again, was %d", n.Stream, first.Stream)
	}
	again.hangUp()
	early.awaitNotice(protocol.TypeDeviceOffline, "d1", "c", "connection_lost")
}

func testCommand(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	d := ns[0].device("d1")
	ns[1].sees("d1", "a")
	asker, other := ns[1].frontend("alice"), ns[1].frontend("bob")
	asker.send(`{"type":"test.start","dst":"d1","id":"7","extra":[1, 2],"payload":{"v": 1.50}}`)
	got := d.await("command", isCommand)
	if got.Type != "test.start" || got.Src != "@user/alice" || string(got.Payload) != `{"v": 1.50}` || got.ID != "7" {
		t.Errorf("the device got %+v", got)
	}
	d.send(`{"type":"test.started","re":"7","payload":{"ok": true}}`)
	answer := asker.awaitType("test.started")
	if answer.Re != "7" || answer.Src != "d1" || string(answer.Payload) != `{"ok": true}` {
		t.Errorf("the asker got %+v", answer)
	}
	// A second answer is nobody's.
	d.send(`{"type":"test.started","re":"7"}`)
	d.awaitError(protocol.ErrNotFound, "")
	// Without an id nothing waits.
	asker.send(`{"type":"note","dst":"d1"}`)
	d.awaitType("note")
	if n := other.count("test.started") + asker.count(protocol.TypeError); n != 0 {
		t.Errorf("%d messages that nobody should have got", n)
	}
}

func testSameID(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	d := ns[0].device("d1")
	ns[1].sees("d1", "a")
	ns[2].sees("d1", "a")
	askers := []*peer{ns[0].frontend("x"), ns[1].frontend("y"), ns[2].frontend("z"), ns[2].frontend("u")}
	for i, p := range askers {
		p.send(fmt.Sprintf(`{"type":"get","dst":"d1","id":"same","payload":%d}`, i))
	}
	for range askers {
		d.send(echo(d.await("command", isCommand)))
	}
	for i, p := range askers {
		if m := p.awaitType("done"); m.Re != "same" || string(m.Payload) != fmt.Sprint(i) {
			t.Errorf("asker %d got %+v", i, m)
		}
	}
	// One asker may not use an id twice at the same time.
	askers[3].send(`{"type":"get","dst":"d1","id":"twice"}`)
	d.await("command", isCommand)
	askers[3].send(`{"type":"get","dst":"d1","id":"twice"}`)
	askers[3].awaitError(protocol.ErrBadMessage, "twice")
}

func testCommandFails(_ *testing.T, w *world) {
	ns := w.nodes("a", "b")
	fe := ns[1].frontend("")
	fe.send(`{"type":"get","dst":"nobody","id":"1"}`)
	fe.awaitError(protocol.ErrDeviceOffline, "1")
	d := ns[0].device("d1")
	ns[1].sees("d1", "a")
	fe.send(`{"type":"get","dst":"d1","id":"2","timeout_ms":100}`)
	fe.awaitError(protocol.ErrTimeout, "2")
	fe.send(`{"type":"get","dst":"d1","id":"3"}`)
	d.await("command 3", func(m protocol.Message) bool { return m.ID == "3" })
	d.hangUp()
	fe.awaitError(protocol.ErrDeviceDisconnected, "3")
	ns[1].sees("d1", "")
	fe.send(`{"type":"get","dst":"d1","id":"4"}`)
	fe.awaitError(protocol.ErrDeviceOffline, "4")
}

func testAPI(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	d := ns[0].device("d1")
	d.answers = echo
	for _, n := range ns {
		n.sees("d1", "a")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text, err := ns[2].r.Command(ctx, "d1", protocol.Message{Type: "get", Payload: json.RawMessage(`"x"`)})
	var m protocol.Message
	if err != nil || json.Unmarshal(text, &m) != nil || m.Type != "done" || string(m.Payload) != `"x"` {
		t.Errorf("answer %s, %v", text, err)
	}
	var fail *protocol.Error
	if _, err := ns[2].r.Command(ctx, "nobody", protocol.Message{Type: "get"}); !errors.As(err, &fail) || fail.Code != protocol.ErrDeviceOffline {
		t.Errorf("absent device: %v", err)
	}
	nodeA := ns[0].bus.Self()
	if answer, err := ns[1].r.Ask(ctx, nodeA, "anything", "x"); err != nil || string(answer) != "a on anything of x" {
		t.Errorf("answer %s, %v", answer, err)
	}
	if _, err := ns[1].r.Ask(ctx, nodeA, "nothing", ""); !errors.As(err, &fail) || fail.Code != protocol.ErrNotFound {
		t.Errorf("unknown question: %v", err)
	}
	answers, silent := ns[1].r.AskAll(ctx, "anything", "y")
	given := map[string]string{}
	for _, answer := range answers {
		given[answer.Label] = string(answer.Text)
	}
	if len(answers) != 2 || given["c"] != "c on anything of y" || len(silent) != 0 {
		t.Errorf("answers %q, silent %v", given, silent)
	}
}

func testUsers(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	here, there, other := ns[0].frontend("alice"), []*peer{ns[1].frontend("alice"), ns[1].frontend("alice"), ns[2].frontend("alice")}, ns[1].frontend("bob")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	gatewaytest.Eventually(t, "every session of the user is found", func() bool {
		n, err := ns[0].r.SendUser(ctx, "alice", protocol.Message{Type: "ping"})
		return err == nil && n.Delivered == 4 && len(n.Silent) == 0 && !n.Unreachable
	})
	d := ns[0].device("d1")
	d.send(`{"type":"mail","dst":"@user/alice","payload":1}`)
	for _, p := range append(there, here) {
		if m := p.awaitType("mail"); m.Src != "d1" {
			t.Errorf("src %q", m.Src)
		}
	}
	if other.count("mail")+other.count("ping") != 0 {
		t.Error("another user got it")
	}
	for _, p := range append(there, here) {
		p.hangUp()
	}
	gatewaytest.Eventually(t, "the user is gone", func() bool {
		_, err := ns[0].r.SendUser(ctx, "alice", protocol.Message{Type: "ping"})
		var fail *protocol.Error
		return errors.As(err, &fail) && fail.Code == protocol.ErrNotFound
	})
	d.send(`{"type":"mail","dst":"@user/alice","id":"5"}`)
	d.awaitError(protocol.ErrNotFound, "5")
}

func testSessions(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	fe, d := ns[1].frontend(""), ns[0].device("d1")
	id := fe.s.ID().String()
	if got := federation.NodeOf(fe.s.ID()); got != ns[1].bus.Self() {
		t.Errorf("session id %s says node %08x, want %08x", id, got, ns[1].bus.Self())
	}
	d.send(`{"type":"hello","dst":"@session/` + id + `","payload":1}`)
	fe.awaitType("hello")
	from := ns[0].frontend("")
	from.send(`{"type":"hi","dst":"@session/` + id + `"}`)
	if m := fe.awaitType("hi"); m.Src != protocol.SessionPrefix+from.s.ID().String() {
		t.Errorf("src %q", m.Src)
	}
	fe.hangUp()
	d.send(`{"type":"hello","dst":"@session/` + id + `","id":"9"}`)
	d.awaitError(protocol.ErrNotFound, "9")
}

func testBroadcast(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	d := ns[0].device("d1")
	all := make([]*peer, 0, 2*len(ns))
	for _, n := range ns {
		all = append(all, n.frontend(""), n.frontend("u"))
		n.sees("d1", "a")
	}
	d.send(`{"type":"state","payload":{"a":1}}`)
	for _, p := range all {
		if m := p.awaitType("state"); m.Src != "d1" || string(m.Payload) != `{"a":1}` {
			t.Errorf("got %+v", m)
		}
	}
	all[0].send(`{"type":"chat","dst":"@frontends"}`)
	for _, p := range all[1:] {
		p.awaitType("chat")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	del, err := ns[1].r.Broadcast(ctx, protocol.Message{Type: "all"})
	if err != nil || del.Delivered != len(all) || len(del.Silent) != 0 || del.Unreachable {
		t.Errorf("delivery %+v, %v", del, err)
	}
	for _, p := range all {
		p.awaitType("all")
	}
	if all[0].count("chat") != 0 || d.count("state")+d.count("chat")+d.count("all") != 0 {
		t.Error("a message came back to its sender, or to a device")
	}
	for _, p := range all {
		if p.count("state") != 1 || p.count("all") != 1 {
			t.Error("a message came twice")
		}
	}
}

func testOrder(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	d := ns[0].device("d1")
	ns[1].sees("d1", "a")
	fe := ns[1].frontend("u")
	const n = 3000
	for i := 0; i < n; i += 100 {
		texts := make([]string, 100)
		for j := range texts {
			texts[j] = fmt.Sprintf(`{"type":"step","dst":"d1","payload":%d}`, i+j)
		}
		fe.send(texts...)
	}
	for i := range n {
		if m := d.awaitType("step"); string(m.Payload) != fmt.Sprint(i) {
			t.Fatalf("message %d has payload %s", i, m.Payload)
		}
	}
	big := strings.Repeat("x", 1<<20-200)
	d.send(`{"type":"dump","dst":"@user/u","payload":"` + big + `"}`)
	if m := fe.awaitType("dump"); len(m.Payload) != len(big)+2 {
		t.Errorf("%d bytes of %d", len(m.Payload), len(big)+2)
	}
}

// testAtMostOnce sends commands from one node to devices on two others while
// the devices disconnect and reconnect. No command is delivered twice, and
// each command has exactly one outcome.
func testAtMostOnce(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	const devices, each = 4, 150
	seen := make(chan string, 4*devices*each)
	current := make([]*peer, devices)
	start := func(i int) *peer {
		p := newPeer(t)
		p.answers = func(m protocol.Message) string { seen <- string(m.Payload); return echo(m) }
		n := ns[i%2]
		return n.attach(p, fmt.Sprint("d", i))
	}
	for i := range current {
		current[i] = start(i)
	}
	for i := range current {
		ns[2].sees(fmt.Sprint("d", i), ns[i%2].name)
	}
	asker := ns[2].frontend("")
	for k := range each {
		for i := range current {
			asker.send(fmt.Sprintf(`{"type":"do","dst":"d%d","id":"%d.%d","timeout_ms":5000,"payload":"%d.%d"}`, i, i, k, i, k))
		}
		if k%10 == 5 {
			i := k / 10 % devices
			current[i].hangUp()
			current[i] = start(i)
		}
		time.Sleep(time.Millisecond)
	}
	outcomes := make(map[string]int)
	gatewaytest.Eventually(t, "an outcome of each command", func() bool {
		clear(outcomes)
		asker.mu.Lock()
		defer asker.mu.Unlock()
		for _, m := range asker.texts {
			if m.Re != "" {
				outcomes[m.Re]++
			}
		}
		return len(outcomes) == devices*each
	})
	for id, n := range outcomes {
		if n != 1 {
			t.Errorf("command %s has %d outcomes", id, n)
		}
	}
	close(seen)
	times := make(map[string]int)
	for id := range seen {
		if times[id]++; times[id] > 1 {
			t.Errorf("command %s was delivered twice", id)
		}
	}
	if len(times) == 0 {
		t.Error("no command was delivered at all")
	}
}
