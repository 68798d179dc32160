package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

func TestMessagesReachTheirNode(t *testing.T) {
	t.Parallel()
	n := together(t, redistest.Start(t).URL(), "a", "b", "c")
	a, b, c := n[0], n[1], n[2]
	const each = 2000
	for i := range uint64(each) {
		send := func() error { return a.Send(b.Self(), message(i, fmt.Sprint("text ", i))) }
		if i%10 == 9 {
			send = func() error { return a.SendAll(message(i, fmt.Sprint("text ", i))) }
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	b.await(t, "all messages have come", func() bool { return len(b.messages) == each })
	for i, m := range b.messages {
		if m.Corr != uint64(i) || string(m.Text) != fmt.Sprint("text ", i) {
			t.Fatalf("message %d is %d: %q", i, m.Corr, m.Text)
		}
	}
	c.await(t, "what was for all has come", func() bool { return len(c.messages) == each/10 })
	a.Lock()
	defer a.Unlock()
	if len(a.messages) != 0 {
		t.Errorf("the sender was given %d of its own", len(a.messages))
	}
}

// mu of a node is its member's: that of the bus is nobody's business here.
func (n *node) Lock()   { n.member.mu.Lock() }
func (n *node) Unlock() { n.member.mu.Unlock() }

func TestLargeMessages(t *testing.T) {
	n := together(t, redistest.Start(t).URL(), "a", "b")
	text := strings.Repeat("x", 16<<20)
	for corr := uint64(1); corr <= 2; corr++ {
		if err := n[0].Send(n[1].Self(), message(corr, text)); err != nil {
			t.Fatal(err)
		}
		n[1].await(t, "it has come", func() bool { return len(n[1].messages) == int(corr) })
	}
	for _, m := range n[1].messages {
		if string(m.Text) != text {
			t.Errorf("%d bytes came, not what was sent", len(m.Text))
		}
	}
}

func TestSendingToNobody(t *testing.T) {
	t.Parallel()
	n := together(t, redistest.Start(t).URL(), "a", "b")
	if err := n[0].Send(12345, message(1, "")); !errors.Is(err, federation.ErrNodeGone) {
		t.Errorf("to a node that never was: %v", err)
	}
	if err := n[0].Send(n[0].Self(), message(1, "")); !errors.Is(err, federation.ErrNodeGone) {
		t.Errorf("to itself: %v", err)
	}
	n[1].Leave()
	n[0].await(t, "b has left", func() bool { return n[0].has("left b going_away") })
	if err := n[0].Send(n[1].Self(), message(1, "")); !errors.Is(err, federation.ErrNodeGone) {
		t.Errorf("to a node that has left: %v", err)
	}
	if err := n[1].Send(n[0].Self(), message(1, "")); !errors.Is(err, federation.ErrDown) {
		t.Errorf("from a node that has left: %v", err)
	}
}

func TestWhatANodeHasReachesTheOthers(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	a := start(t, url, "a")
	held := federation.Holding{Device: "press-1", Epoch: 10, Type: "tensile tester", Customer: "ACME", Meta: map[string]string{"room": "12"}}
	a.Hold(held)
	a.User("mia", true)
	a.UpdateInterest("press-2", true)
	a.Hold(federation.Holding{Device: "press-3", Epoch: 11})
	a.Release(federation.Release{Device: "press-3", Epoch: 11, Reason: "closed_by_peer"})

	b := start(t, url, "b")
	b.await(t, "b knows what a has", func() bool {
		return b.devices["press-1"] == a.Self() && len(b.users["mia"]) == 1 && len(b.wants["press-2"]) == 1
	})
	b.Lock()
	if h := b.holdings["press-1"]; fmt.Sprint(h) != fmt.Sprint(held) {
		t.Errorf("got %v, want %v", h, held)
	}
	if b.has("held a press-3 11") {
		t.Error("told of a device that had gone before it came")
	}
	b.Unlock()
	a.Bus.mu.Lock()
	seq := a.local.seq
	a.Bus.mu.Unlock()
	a.User("mia", true)
	a.User("joe", false)
	a.UpdateInterest("press-9", false)
	a.Release(federation.Release{Device: "press-9", Epoch: 9})
	a.Bus.mu.Lock()
	if a.local.seq != seq {
		t.Error("what is no news was told")
	}
	a.Bus.mu.Unlock()
	a.Release(federation.Release{Device: "press-1", Epoch: 9, Reason: "closed_by_peer"})
	a.Release(federation.Release{Device: "press-1", Epoch: 10, Reason: "heartbeat_timeout", End: federation.Range{Chain: 1, From: 70, To: 77}})
	a.User("mia", false)
	a.UpdateInterest("press-2", false)
	b.await(t, "b knows that it is gone", func() bool {
		return b.has("released a press-1 10 heartbeat_timeout 77") && len(b.devices) == 0 && len(b.users) == 0 && len(b.wants) == 0
	})
	for _, event := range []string{"user a mia true", "user a mia false", "want a press-2 false"} {
		if n := b.times(event); n != 1 {
			t.Errorf("%q was told %d times", event, n)
		}
	}
}

func TestLeavingEndsAll(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	n[0].Hold(federation.Holding{Device: "press-1", Epoch: 1})
	n[0].UpdateInterest("press-2", true)
	n[1].await(t, "b knows", func() bool { return len(n[1].devices) == 1 && len(n[1].wants) == 1 })
	for range 100 { // what was said before comes before the announceLeave
		if err := n[0].Send(n[1].Self(), message(1, "")); err != nil {
			t.Fatal(err)
		}
	}
	n[0].Leave()
	n[1].await(t, "b knows that a left", func() bool { return n[1].has("left a going_away") })
	if len(n[1].messages) != 100 {
		t.Errorf("%d of 100 messages came before", len(n[1].messages))
	}
	if keys := redis.Strings("KEYS", "*"); len(keys) != 1 || !strings.HasSuffix(keys[0], nodeHex(n[1].Self())) {
		t.Errorf("keys %v, want b's alone", keys)
	}
	n[0].Leave() // which does nothing
	if n[0].Up() {
		t.Error("up after leaving")
	}
	events := len(n[0].events)
	n[1].Hold(federation.Holding{Device: "press-9", Epoch: 1})
	time.Sleep(50 * time.Millisecond)
	if len(n[0].events) != events {
		t.Error("the member was called after leaving")
	}
	if err := n[0].Join(n[0].member); err == nil {
		t.Error("joined again")
	}
	n[1].Leave()
	if keys := redis.Strings("KEYS", "*"); len(keys) != 0 {
		t.Errorf("keys %v, want none", keys)
	}
}

func TestLeavingWithoutJoining(t *testing.T) {
	b, err := New(Options{URL: "redis://127.0.0.1:1", Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	b.Leave()
}

func TestPrefixesSeparateInstallations(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	prefix := func(p string) func(*Options) { return func(o *Options) { o.Prefix = p } }
	a, b := start(t, redis.URL(), "a", prefix("one")), start(t, redis.URL(), "b", prefix("one"))
	c := start(t, redis.URL(), "c", prefix("two"))
	acquainted(t, a, b)
	c.await(t, "c is up", func() bool { return c.isUp })
	for _, n := range []*node{a, c} {
		n.Hold(federation.Holding{Device: "press-1", Epoch: 1})
	}
	b.await(t, "b knows a's device", func() bool { return b.devices["press-1"] == a.Self() })
	await(t, "both have a key", func() bool {
		return redis.Do("EXISTS", "one:device:press-1", "two:device:press-1") == int64(2)
	})
	if n := redis.Do("PUBLISH", "one:ingress", `{}`); n != int64(2) {
		t.Errorf("%v listen at the ingress of the first, want 2", n)
	}
	b.await(t, "b got it", func() bool { return len(b.external) == 1 })
	c.Lock()
	defer c.Unlock()
	if len(c.there)+len(c.external)+len(c.overtaken) != 0 {
		t.Errorf("c was told of the other installation: %v", c.events)
	}
}

func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	gatewaytest.Eventually(t, what, ok)
}
