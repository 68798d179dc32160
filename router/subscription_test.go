package router

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// hears sends a frame from each device and returns the devices whose telemetry
// the front end gets.
func hears(t *testing.T, p *peer, devices ...*peer) string {
	t.Helper()
	synctest.Wait()
	p.take()
	var heard []string
	for _, d := range devices {
		d.sendBinary(telemetry(0, 1))
		synctest.Wait()
		switch got := p.spans(); len(got) {
		case 0:
		case 1:
			if got[0].stream != *d.welcome.Stream {
				t.Fatalf("%s has stream %d, got %d", d.sess.Name(), *d.welcome.Stream, got[0].stream)
			}
			heard = append(heard, d.sess.Name())
		default:
			t.Fatalf("%d frames for one", len(got))
		}
	}
	return strings.Join(heard, " ")
}

func TestFirstSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d1, d2 := g.device("d1"), g.device("d2")
		for telemetry, want := range map[string]string{"all": "d1 d2", "none": "", "": "d1 d2"} {
			a := g.connect(session.Info{Role: session.RoleFrontend, Telemetry: telemetry})
			if got := hears(t, a, d1, d2); got != want {
				t.Errorf("telemetry=%s hears %q, want %q", telemetry, got, want)
			}
		}
	})
}

// TestSubscriptionSteps sends requests of one front end. Each step has the
// expected answer and the devices whose telemetry the front end then gets.
func TestSubscriptionSteps(t *testing.T) {
	const (
		all  = `{"telemetry":"all"}`
		none = `{"telemetry":"none"}`
	)
	type step struct {
		request string // sub/unsub and the payload
		holds   string // the payload of gateway.subscribed, "" for bad_message
		hears   string
	}
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"all and none", []step{
			{`sub {"telemetry":"none"}`, none, ""},
			{`sub {"telemetry":"all"}`, all, "d1 d2 d3"},
			{`sub {"telemetry":"all"}`, all, "d1 d2 d3"},
			{`unsub {"telemetry":"all"}`, none, ""},
			{`unsub {"telemetry":"all"}`, none, ""},
		}},
		{"a list narrows all and grows", []step{
			{`sub {"devices":["d2"]}`, `{"devices":["d2"]}`, "d2"},
			{`sub {"devices":["d1","d2","d1"]}`, `{"devices":["d1","d2"]}`, "d1 d2"},
			{`unsub {"devices":["d2","d3"]}`, `{"devices":["d1"]}`, "d1"},
			{`unsub {"devices":["d1"]}`, none, ""},
			{`unsub {"devices":["d1"]}`, none, ""},
			{`sub {"devices":["d3"]}`, `{"devices":["d3"]}`, "d3"},
		}},
		{"all takes the list's place", []step{
			{`sub {"devices":["d2","d3"]}`, `{"devices":["d2","d3"]}`, "d2 d3"},
			{`sub {"telemetry":"all","devices":["d2"]}`, all, "d1 d2 d3"},
			{`sub {"devices":["d1"]}`, `{"devices":["d1"]}`, "d1"},
		}},
		{"none and a list replaces the list", []step{
			{`sub {"devices":["d2","d3"]}`, `{"devices":["d2","d3"]}`, "d2 d3"},
			{`sub {"telemetry":"none","devices":["d1"]}`, `{"devices":["d1"]}`, "d1"},
		}},
		{"the list can be dropped at once", []step{
			{`sub {"devices":["d2","d3"]}`, `{"devices":["d2","d3"]}`, "d2 d3"},
			{`unsub {"telemetry":"all"}`, none, ""},
		}},
		{"one cannot be taken from all", []step{
			{`unsub {"devices":["d2"]}`, "", "d1 d2 d3"},
		}},
		{"what is wrong changes nothing", []step{
			{`sub {"devices":["d2"]}`, `{"devices":["d2"]}`, "d2"},
			{`sub {"devices":["d1","@frontends"]}`, "", "d2"},
			{`sub {"devices":"d1"}`, "", "d2"},
			{`sub {"devices":[1]}`, "", "d2"},
			{`sub {"telemetry":"some"}`, "", "d2"},
			{`sub {}`, "", "d2"},
			{`sub ["d1"]`, "", "d2"},
			{`sub null`, "", "d2"},
			{`unsub {"telemetry":"some"}`, "", "d2"},
		}},
		{"devices that were never seen", []step{
			{`sub {"devices":["d7","d2"]}`, `{"devices":["d2","d7"]}`, "d2"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				d1, d2, d3 := g.device("d1"), g.device("d2"), g.device("d3")
				a, other := g.frontend("alice"), g.frontend("bob")
				for i, s := range test.steps {
					g.quiet()
					kind, payload, _ := strings.Cut(s.request, " ")
					id := fmt.Sprint("s", i)
					a.send(`{"type":"gateway.` + kind + `scribe","id":"` + id + `","payload":` + payload + `}`)
					got := a.one()
					if s.holds == "" {
						a.asError(got, protocol.ErrBadMessage, id)
					} else if got.Type != protocol.TypeSubscribed || got.Re != id || string(got.Payload) != s.holds || got.Src != "" {
						t.Fatalf("%s: got %v, want %s", s.request, got, s.holds)
					}
					if heard := hears(t, a, d1, d2, d3); heard != s.hears {
						t.Fatalf("%s: hears %q, want %q", s.request, heard, s.hears)
					}
					if heard := hears(t, other, d1, d2, d3); heard != "d1 d2 d3" {
						t.Fatalf("%s: another hears %q", s.request, heard)
					}
				}
			})
		})
	}
}

func TestSubscriptionWithoutIDIsNotAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"gateway.subscribe","payload":{"telemetry":"none"}}`)
		a.none()
		if heard := hears(t, a, d); heard != "" {
			t.Errorf("hears %q", heard)
		}
	})
}

func TestADeviceCannotSubscribe(t *testing.T) {
	inBubble(t, func(_ *testing.T, g *gateway) {
		d, _ := g.device("d1"), g.frontend("alice")
		g.quiet()
		for _, typ := range []string{"gateway.subscribe", "gateway.unsubscribe"} {
			d.send(`{"type":"` + typ + `","id":"1","payload":{"telemetry":"all"}}`)
			d.oneError(protocol.ErrNotAllowed, "1")
		}
		g.only("")
	})
}

func TestTheListIsLimited(t *testing.T) {
	list := func(from, to int) string {
		ids := make([]string, 0, to-from)
		for i := from; i < to; i++ {
			ids = append(ids, `"d`+strconv.Itoa(i)+`"`)
		}
		return `{"devices":[` + strings.Join(ids, ",") + `]}`
	}
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.quiet()
		request := func(payload string) received {
			a.send(`{"type":"gateway.subscribe","id":"1","payload":` + payload + `}`)
			return a.one()
		}
		a.asError(request(list(0, maxSubscriptions+1)), protocol.ErrBadMessage, "1")
		if got := request(list(0, maxSubscriptions-1)); got.Type != protocol.TypeSubscribed {
			t.Fatal(got)
		}
		a.asError(request(list(maxSubscriptions, maxSubscriptions+2)), protocol.ErrBadMessage, "1")
		if n := listed(g.r); n != maxSubscriptions-1 {
			t.Fatalf("%d entries after a refusal", n)
		}
		// Listed devices do not count again, so the same request may be
		// repeated.
		for range 3 {
			if got := request(list(0, maxSubscriptions)); got.Type != protocol.TypeSubscribed {
				t.Fatal(got)
			}
		}
		a.asError(request(`{"devices":["d0","d0","x"]}`), protocol.ErrBadMessage, "1")
		if got := request(`{"telemetry":"none","devices":["d0","x"]}`); string(got.Payload) != `{"devices":["d0","x"]}` {
			t.Fatal(got)
		}
		if n := listed(g.r); n != 2 {
			t.Fatalf("%d entries", n)
		}
	})
}

// TestEntriesOfUnseenDevicesVanish: an id that only subscriptions named has no
// entry after the last of them ends.
func TestEntriesOfUnseenDevicesVanish(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		seen := g.device("seen")
		a, b := g.frontend("alice"), g.frontend("bob")
		subscribe := func(p *peer, payload string) {
			p.send(`{"type":"gateway.subscribe","payload":` + payload + `}`)
		}
		want := func(n int) {
			t.Helper()
			if got := listed(g.r); got != n {
				t.Fatalf("%d entries, want %d", got, n)
			}
		}
		subscribe(a, `{"devices":["x","y","seen"]}`)
		subscribe(b, `{"devices":["y","z"]}`)
		want(4)
		a.send(`{"type":"gateway.unsubscribe","payload":{"devices":["x","y","seen"]}}`)
		want(3)
		subscribe(a, `{"devices":["x"]}`)
		subscribe(a, `{"telemetry":"all"}`)
		want(3)
		subscribe(a, `{"devices":["x"]}`)
		a.hangUp()
		want(3)
		// A request of a front end that has ended has no effect.
		_, err := g.r.registry.subscribe(a.sess.Attachment().(*frontend), protocol.Subscription{Devices: []string{"q"}}, true)
		if err != nil {
			t.Fatal(err)
		}
		b.hangUp()
		want(1)
		// A device that was connected keeps its entry, and so its stream
		// number.
		seen.hangUp()
		want(1)
		if len(g.r.registry.frontends())+len(g.r.registry.allDevices.load())+len(g.r.registry.users.sessions) != 0 {
			t.Error("front ends are left")
		}
	})
}

func TestTheListOutlastsAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.connect(session.Info{Role: session.RoleFrontend, Telemetry: protocol.TelemetryNone})
		g.quiet()
		// Before the device ever connected, while it is connected, and while
		// it is offline.
		a.send(`{"type":"gateway.subscribe","payload":{"devices":["d1"]}}`)
		d := g.device("d1")
		g.device("d2")
		if heard := hears(t, a, g.peers[1:]...); heard != "d1" {
			t.Fatalf("hears %q", heard)
		}
		d.hangUp()
		a.send(`{"type":"gateway.subscribe","payload":{"devices":["d2"]}}`)
		g.peers = slices.Delete(g.peers, 1, 2)
		g.device("d1")
		if heard := hears(t, a, g.peers[1:]...); heard != "d2 d1" {
			t.Fatalf("hears %q", heard)
		}
		// Also across a takeover.
		g.peers[2] = g.device("d1")
		g.peers = g.peers[:3]
		if heard := hears(t, a, g.peers[1:]...); heard != "d2 d1" {
			t.Fatalf("hears %q", heard)
		}
	})
}

// listed returns how many device ids the router knows.
func listed(r *Router) int {
	r.registry.mu.Lock()
	defer r.registry.mu.Unlock()
	return len(r.registry.devices)
}

// TestLargeSubscriptionsCount as many messages: a front end that changes a long
// list without end is held to its rate, and others are not kept waiting.
func TestLargeSubscriptionsCount(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a, b := g.frontend("alice"), g.frontend("bob")
		g.quiet()
		devices := make([]string, protocol.MaxSubscriptionDevices)
		for i := range devices {
			devices[i] = fmt.Sprintf(`"d%d"`, i)
		}
		list := strings.Join(devices, ",")
		limited := 0
		for i := range 100 {
			kind := []string{"subscribe", "unsubscribe"}[i%2]
			a.send(`{"type":"gateway.` + kind + `","payload":{"devices":[` + list + `]}}`)
			b.send(`{"type":"gateway.subscribe","payload":{"devices":["d1"]}}`)
		}
		for _, m := range a.take() {
			var e protocol.Error
			if m.Type == protocol.TypeError && json.Unmarshal(m.Payload, &e) == nil && e.Code == protocol.ErrRateLimited {
				limited++
			}
		}
		if limited == 0 {
			t.Error("100 changes of a list of 1,024 devices at once are no more than 100 messages")
		}
		b.none()
	}, func(_ *Options, so *session.Options) {
		so.FrontendRate = session.Rate{Messages: 5000}
	})
}
