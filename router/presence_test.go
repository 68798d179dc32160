package router

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

func TestWelcomeOfADevice(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		g.device("d0")
		d := g.device("d1")
		synctest.Wait()
		w := d.welcome
		if w == nil || w.Stream == nil {
			t.Fatalf("welcome %+v", w)
		}
		want := protocol.Welcome{
			Session: d.sess.ID().String(), Role: "device", DeviceID: "d1", Node: "node-1", Stream: w.Stream,
			ServerTimeUS: time.Now().UnixMicro(), HeartbeatMS: 30_000, MaxMessage: 1 << 20,
		}
		if !reflect.DeepEqual(*w, want) || *w.Stream != 2 {
			t.Errorf("got %+v (stream %d), want %+v", *w, *w.Stream, want)
		}
	})
}

func TestWelcomeOfAFrontend(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		early := g.frontend("")
		g.device("d2")
		g.connect(session.Info{Role: session.RoleDevice, Name: "d1", Type: "tensile", Customer: "acme & sons", Meta: map[string]string{"room": `"3"`}})
		gone := g.device("d3")
		gone.hangUp()
		a := g.frontend("alice")
		synctest.Wait()
		want := protocol.Welcome{
			Session: a.sess.ID().String(), Role: "frontend", Node: "node-1",
			ServerTimeUS: time.Now().UnixMicro(), HeartbeatMS: 5000, MaxMessage: 99,
			Devices: []protocol.DeviceInfo{
				{DeviceID: "d1", Stream: 2, Node: "node-1", Type: "tensile", Customer: "acme & sons", Meta: map[string]string{"room": `"3"`}},
				{DeviceID: "d2", Stream: 1, Node: "node-1"},
			},
		}
		if !reflect.DeepEqual(*a.welcome, want) {
			t.Errorf("got %+v, want %+v", *a.welcome, want)
		}
		if early.welcome.Devices == nil || len(early.welcome.Devices) != 0 {
			t.Errorf("without devices the list is %#v, want an empty one", early.welcome.Devices)
		}
		if g.r.Node() != "node-1" {
			t.Error(g.r.Node())
		}
	}, func(o *Options, so *session.Options) { o.MaxMessage, so.HeartbeatInterval = 99, 5*time.Second })
}

func TestNoticesTellWhoAndWhy(t *testing.T) {
	for _, test := range []struct {
		name   string
		end    func(d *peer)
		after  time.Duration
		reason string
	}{
		{"reset", func(d *peer) { d.hangUp() }, 0, "connection_lost"},
		{"closed by peer", func(d *peer) {
			d.event(func() { _ = d.sess.HandleControl(wsframe.OpClose, wsframe.AppendClose(nil, 1001, "")[2:]) })
		}, 0, "closed_by_peer"},
		{"kicked", func(d *peer) { d.sess.Close(protocol.CloseKicked, "by a test") }, 0, "kicked"},
		{"broken protocol", func(d *peer) { d.sess.Fail(protocol.CloseProtocolError, "") }, 0, "protocol_error"},
		{"silence", func(d *peer) { d.mute(true) }, time.Minute, "heartbeat_timeout"},
		{"bad messages", func(d *peer) {
			for range 4 {
				d.send("nonsense")
			}
		}, 0, "bad_message"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				a, other := g.frontend("alice"), g.device("d0")
				g.quiet()
				d := g.connect(session.Info{Role: session.RoleDevice, Name: "d1", Type: "tensile", Customer: "acme", Meta: map[string]string{"a": "b"}})
				want := protocol.DeviceNotice{DeviceID: "d1", Stream: 2, Node: "node-1", Reason: "connected", Type: "tensile", Customer: "acme", Meta: map[string]string{"a": "b"}}
				if n := a.notice(protocol.TypeDeviceOnline, "connected"); !reflect.DeepEqual(n, want) {
					t.Errorf("got %+v, want %+v", n, want)
				}
				test.end(d)
				time.Sleep(test.after)
				want.Reason = test.reason
				if n := a.notice(protocol.TypeDeviceOffline, test.reason); !reflect.DeepEqual(n, want) {
					t.Errorf("got %+v, want %+v", n, want)
				}
				other.none()
			}, func(o *Options, so *session.Options) {
				o.MaxBadMessages, so.HeartbeatInterval, so.HeartbeatTimeout = 3, 10*time.Second, 30*time.Second
			})
		})
	}
}

func TestTakeoverIsAnnouncedOldFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		old := g.connect(session.Info{Role: session.RoleDevice, Name: "d1", Type: "old"})
		a.notice(protocol.TypeDeviceOnline, "connected")
		fresh := g.connect(session.Info{Role: session.RoleDevice, Name: "d1", Type: "new"})
		synctest.Wait()
		got := a.take()
		if len(got) != 2 {
			t.Fatalf("got %v", got)
		}
		for i, want := range []struct{ typ, notice string }{
			{protocol.TypeDeviceOffline, `{"device_id":"d1","stream":1,"node":"node-1","reason":"replaced","type":"old"}`},
			{protocol.TypeDeviceOnline, `{"device_id":"d1","stream":1,"node":"node-1","reason":"connected","type":"new"}`},
		} {
			if got[i].Type != want.typ || string(got[i].Payload) != want.notice {
				t.Errorf("notice %d: %v, want %s %s", i, got[i], want.typ, want.notice)
			}
		}
		if code := old.closeCode(); code != protocol.CloseReplaced {
			t.Errorf("the old connection closed with %v", code)
		}
		if st, ok := g.status("d1"); !ok || st.Session != fresh.sess.ID().String() {
			t.Errorf("%+v, %v", st, ok)
		}
		time.Sleep(10 * time.Second)
		a.none()
		fresh.hangUp()
		a.notice(protocol.TypeDeviceOffline, "connection_lost")
	})
}

func TestRefusedDuplicateChangesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a, d := g.frontend("alice"), g.device("d1")
		g.quiet()
		if _, err := g.add(session.Info{Role: session.RoleDevice, Name: "d1"}); !errors.Is(err, session.ErrDuplicateDevice) {
			t.Fatal(err)
		}
		a.none()
		a.send(`{"type":"c","dst":"d1"}`)
		d.one()
		if len(g.listing()) != 1 {
			t.Error(g.listing())
		}
	}, func(_ *Options, so *session.Options) { so.RefuseDuplicate = true })
}

func TestStreamNumberStaysWithTheDevice(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		streams := map[string]uint32{}
		for round := range 5 {
			for _, id := range []string{"d1", "d2", "d3", "d4"}[:2+round%3] {
				d := g.device(id)
				synctest.Wait()
				got := *d.welcome.Stream
				if was, known := streams[id]; known && was != got {
					t.Fatalf("%s had stream %d, now %d", id, was, got)
				}
				for other, n := range streams {
					if other != id && n == got {
						t.Fatalf("%s and %s have stream %d", id, other, n)
					}
				}
				streams[id] = got
				if round%2 == 0 {
					d.hangUp()
				}
			}
		}
		if len(streams) != 4 {
			t.Fatal(streams)
		}
	})
}

// TestTheWelcomeComesFirst: a command that arrives as soon as the device can
// be found, before OnConnect, does not overtake the welcome.
func TestTheWelcomeComesFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.quiet()
		g.hook(hooks{connect: func(s *session.Session) {
			a.send(`{"type":"c1","dst":"d1"}`, `{"type":"c2","dst":"d1","urgent":true}`)
			g.r.OnConnect(s)
		}})
		// The peer checks that the welcome is the first message.
		if got := order(t, takeAll(g.device("d1"))); got != "c2 c1" {
			t.Errorf("got %s", got)
		}
	})
}

// TestTheWelcomeComesBeforeAnUrgentBroadcast: the broadcast is queued before
// the welcome is written.
func TestTheWelcomeComesBeforeAnUrgentBroadcast(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		g.hook(hooks{connect: func(s *session.Session) {
			g.r.registry.frontendConnected(s.Attachment().(*frontend))
			d.send(`{"type":"m1"}`, `{"type":"m2","urgent":true}`)
			s.Flush()
		}})
		// The peer checks that the welcome is first. A fast flusher may write
		// m1 before m2 is queued.
		if got := order(t, takeAll(g.frontend("alice"))); got != "m2 m1" && got != "m1 m2" {
			t.Errorf("got %s", got)
		}
	})
}

// TestTheWelcomeComesFirstUnderLoad is the same test with random timing.
func TestTheWelcomeComesFirstUnderLoad(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a, d := g.frontend("alice"), g.device("d1")
		for i := range 100 {
			r := &race{rng: newRand(uint64(i))}
			var comes, watches *peer
			r.run(0, func() { comes, _ = g.add(session.Info{Role: session.RoleDevice, Name: "d2"}) })
			r.run(0, func() { watches, _ = g.add(session.Info{Role: session.RoleFrontend}) })
			for range 3 {
				r.run(0, func() { a.send(`{"type":"c","dst":"d2","urgent":true}`, `{"type":"c","dst":"d2"}`) })
				r.run(0, func() { d.send(`{"type":"alarm","urgent":true}`, `{"type":"state"}`) })
			}
			r.wait()
			synctest.Wait()
			for _, p := range []*peer{comes, watches} {
				if p == nil || p.welcome == nil {
					t.Fatal("no welcome")
				}
				p.hangUp()
			}
		}
	})
}

func takeAll(p *peer) []received {
	synctest.Wait()
	return p.take()
}

func noticeOf(t testing.TB, m received) protocol.DeviceNotice {
	t.Helper()
	var n protocol.DeviceNotice
	if err := json.Unmarshal(m.Payload, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A node that was cut off may learn of a holding only at its release. The device is
// then announced as gone from the node on which it was announced before.
func TestReleaseOfAnUnseenHolding(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.holdElsewhere("d1")
		if n := a.notice(protocol.TypeDeviceOnline, "connected"); n.Node != "elsewhere" {
			t.Errorf("online on %q", n.Node)
		}
		m, later := member{g.r}, g.r.registry.createdMicros+2
		m.NodeJoined(elsewhere+1, "third")
		m.DeviceReleased(elsewhere+1, federation.Release{Device: "d1", Epoch: later, Reason: "going_away"})
		if n := a.notice(protocol.TypeDeviceOffline, "replaced"); n.Node != "elsewhere" {
			t.Errorf("offline on %q", n.Node)
		}
		if w := g.frontend("bob"); len(w.welcome.Devices) != 0 {
			t.Errorf("welcome %+v", w.welcome.Devices)
		}
		// The older holding stays over.
		m.DeviceReleased(elsewhere, federation.Release{Device: "d1", Epoch: later - 1, Reason: "replaced"})
		m.DeviceHeld(elsewhere, federation.Holding{Device: "d1", Epoch: later - 1})
		a.none()
	}, ofSeveral)
}
