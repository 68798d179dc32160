package router

import (
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/protocol"
)

// A new connection keeps its device against an earlier holder, once. A
// connection that is overtaken by a later holder does not keep its device,
// however new the connection is.
func TestOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		if err := g.r.Join(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.r.Leave)
		fe := g.frontend("")
		epoch := func(id string) uint64 {
			g.r.registry.mu.Lock()
			defer g.r.registry.mu.Unlock()
			return g.r.registry.devices[id].holder.epoch
		}
		for id, c := range map[string]struct {
			first    []bool // how it is overtaken, time after time
			replaced bool
		}{
			"later": {[]bool{false}, true},
			"first": {[]bool{true}, false},
			"twice": {[]bool{true, true}, true},
			"again": {[]bool{true, false}, true},
		} {
			dev := g.device(id)
			for _, first := range c.first {
				before := epoch(id)
				by := before + 1000
				member{g.r}.DeviceOvertaken(id, before, by, first)
				if now := epoch(id); !c.replaced && now <= by {
					t.Errorf("%s holds on with epoch %d, overtaken by %d", id, now, by)
				}
			}
			synctest.Wait()
			if open := dev.sess.Open(); open == c.replaced {
				t.Errorf("%s is open: %t", id, open)
			}
			if c.replaced {
				if code := dev.closeCode(); code != protocol.CloseReplaced {
					t.Errorf("%s was closed with %d", id, code)
				}
			}
		}
		fe.take()
	}, ofSeveral)
}
