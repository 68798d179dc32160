package router

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// The callbacks of two connections of one device run on two goroutines, and
// any of them may be late. These tests delay one of them.

// TestLateOnDisconnectOfTheOldConnection: OnDisconnect of the old connection
// runs after the new one was announced, and does not remove the new one.
func TestLateOnDisconnectOfTheOldConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a, old := g.frontend("alice"), g.device("d1")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		old.one()

		g.hook(hooks{disconnect: func(s *session.Session, cause session.Cause) {
			if s == old.sess {
				time.Sleep(time.Second)
			}
			g.r.OnDisconnect(s, cause)
		}})
		var wg sync.WaitGroup
		wg.Go(old.hangUp)
		synctest.Wait()
		fresh := g.device("d1")
		synctest.Wait()
		got := a.take()
		if len(got) != 2 || got[0].Type != protocol.TypeDeviceOffline || got[1].Type != protocol.TypeDeviceOnline {
			t.Fatalf("got %v", got)
		}
		if n := noticeOf(t, got[0]); n.Reason != "replaced" {
			t.Errorf("reason %s", n.Reason)
		}
		// The new connection does not answer commands of the old one.
		fresh.send(`{"type":"done","re":"1"}`)
		fresh.oneError(protocol.ErrNotFound, "")
		a.send(`{"type":"c","id":"2","dst":"d1"}`)
		fresh.one()

		wg.Wait()
		a.oneError(protocol.ErrDeviceDisconnected, "1")
		if st, ok := g.status("d1"); !ok || st.Session != fresh.sess.ID().String() || st.Pending != 1 {
			t.Fatalf("%+v, %v", st, ok)
		}
		fresh.send(`{"type":"done","re":"2"}`)
		a.one()
		if w := g.frontend("bob"); len(w.welcome.Devices) != 1 {
			t.Errorf("welcome %+v", w.welcome)
		}
	})
}

// TestLateOnConnectOfTheOldConnection: OnConnect of the old connection runs
// after the new one was announced. The old one is never announced.
func TestLateOnConnectOfTheOldConnection(t *testing.T) {
	for _, test := range []struct {
		name  string
		stays bool // whether the new connection is still there by then
	}{{"new one is there", true}, {"new one has gone", false}} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				a := g.frontend("alice")
				g.quiet()
				first := true
				g.hook(hooks{connect: func(s *session.Session) {
					if first && s.Name() == "d1" {
						first = false
						time.Sleep(time.Second)
					}
					g.r.OnConnect(s)
				}})
				var wg sync.WaitGroup
				wg.Go(func() {
					old, err := g.add(session.Info{Role: session.RoleDevice, Name: "d1", Type: "old"})
					if err != nil {
						t.Error(err)
						return
					}
					if old.closeCode() != protocol.CloseReplaced {
						t.Errorf("the old one closed with %v", old.closeCode())
					}
				})
				synctest.Wait()
				fresh := g.connect(session.Info{Role: session.RoleDevice, Name: "d1", Type: "new"})
				if n := a.notice(protocol.TypeDeviceOnline, "connected"); n.Type != "new" {
					t.Errorf("announced %+v", n)
				}
				if !test.stays {
					fresh.hangUp()
					a.notice(protocol.TypeDeviceOffline, "connection_lost")
				}
				wg.Wait()
				a.none()
				if _, ok := g.status("d1"); ok != test.stays {
					t.Errorf("there: %v", ok)
				}
				if test.stays {
					a.send(`{"type":"c","dst":"d1"}`)
					fresh.one()
				}
			})
		})
	}
}

// TestConnectionThatEndsBeforeOnConnect: such a device is never announced, and
// such a front end leaves nothing behind.
func TestConnectionThatEndsBeforeOnConnect(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.quiet()
		g.hook(hooks{connect: func(s *session.Session) {
			s.Close(protocol.CloseKicked, "")
			g.r.OnConnect(s)
		}})
		for _, info := range []session.Info{{Role: session.RoleDevice, Name: "d1"}, {Role: session.RoleFrontend, Name: "bob"}} {
			p := newPeer(t)
			s, err := g.m.Add(info, p)
			if err != nil {
				t.Fatal(err)
			}
			p.attach(s)
			synctest.Wait()
			if p.code != protocol.CloseKicked {
				t.Errorf("closed with %v", p.code)
			}
		}
		a.none()
		if len(g.listing()) != 0 || len(g.r.registry.users.sessions) != 1 || len(g.r.registry.frontends()) != 1 || len(g.r.registry.allDevices.load()) != 1 {
			t.Error("something is left")
		}
	})
}
