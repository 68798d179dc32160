package router

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// fill adds n entries of devices that were connected once.
func fill(r *Router, prefix string, n int) {
	for i := range n {
		r.registry.prepare(prefix + strconv.Itoa(i))
	}
}

// forgetAll evicts all entries that may be evicted.
func forgetAll(r *Router) {
	r.registry.mu.Lock()
	defer r.registry.mu.Unlock()
	for range 10_000 {
		r.registry.evictOne()
	}
}

func TestKnownDevicesAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		fill(g.r, "old", maxKnownDevices-listed(g.r))
		time.Sleep(2 * evictionGrace)
		g.quiet()
		fill(g.r, "new", 1000)
		if n := listed(g.r); n != maxKnownDevices {
			t.Errorf("%d ids are known, at most %d should be", n, maxKnownDevices)
		}
	})
}

func TestNeededDevicesAreNotForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		online := g.device("online")
		wanted := g.device("wanted")
		a := g.frontend("alice")
		a.send(`{"type":"gateway.subscribe","payload":{"devices":["wanted"]}}`)
		wanted.hangUp()
		fill(g.r, "old", 1000)
		time.Sleep(2 * evictionGrace)
		forgetAll(g.r)
		if n := listed(g.r); n != 2 {
			t.Errorf("%d ids are known", n)
		}
		if heard := hears(t, a, online, g.device("wanted")); heard != "wanted" {
			t.Errorf("hears %q", heard)
		}
		if _, ok := g.status("online"); !ok {
			t.Error("a connected device was forgotten")
		}
	})
}

// TestAConnectingDeviceIsNotForgotten: the entry is not evicted between
// Prepare and OnConnect, although no session refers to it.
func TestAConnectingDeviceIsNotForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		g.hook(hooks{prepare: func(s *session.Session) any {
			attachment := g.r.Prepare(s)
			if s.Name() == "d1" {
				// The Manager is slow, and many new ids arrive meanwhile.
				time.Sleep(evictionGrace / 2)
				forgetAll(g.r)
			}
			return attachment
		}})
		a := g.frontend("alice")
		fill(g.r, "old", 1000)
		time.Sleep(2 * evictionGrace)
		d := g.device("d1")
		a.notice(protocol.TypeDeviceOnline, "connected")
		if st, ok := g.status("d1"); !ok || st.Stream != *d.welcome.Stream {
			t.Fatalf("%+v %v", st, ok)
		}
		if n := listed(g.r); n != 1 {
			t.Errorf("%d ids are known", n)
		}
		if heard := hears(t, a, d); heard != "d1" {
			t.Errorf("hears %q", heard)
		}
		// The second connection finds the same entry.
		again := g.device("d1")
		synctest.Wait()
		if *again.welcome.Stream != *d.welcome.Stream {
			t.Error("another stream")
		}
	})
}

// TestRecentDevicesAreNotForgotten: when no entry may be evicted, the number
// of entries exceeds its bound.
func TestRecentDevicesAreNotForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		fill(g.r, "d", maxKnownDevices+1000)
		if n := listed(g.r); n != maxKnownDevices+1000 {
			t.Errorf("%d ids are known", n)
		}
	})
}
