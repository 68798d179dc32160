package server

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// TestHeartbeat has one peer answer pings and one that never does, and one that
// is not there any more: only the first stays.
func TestHeartbeat(t *testing.T) {
	const interval, timeout = 200 * time.Millisecond, 600 * time.Millisecond
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HeartbeatInterval, o.HeartbeatTimeout = interval, timeout })
		for i := range 3 {
			fe := g.upgrade("/ws/frontend")
			began := time.Now()
			mute := g.upgrade(fmt.Sprintf("/ws/device/mute%d", i))
			mute.mute = true
			if mute.welcome.HeartbeatMS != interval.Milliseconds() {
				t.Errorf("the welcome says %d ms", mute.welcome.HeartbeatMS)
			}
			// The front end reads, and so answers its pings, until it is told.
			fe.notice(protocol.TypeDeviceOnline)
			if n := fe.notice(protocol.TypeDeviceOffline); n.Reason != "heartbeat_timeout" {
				t.Errorf("notice %+v", n)
			}
			silent := time.Since(began)
			if silent < timeout {
				t.Errorf("closed after %v of silence, before %v", silent, timeout)
			}
			// On a machine that has better things to do it may take longer.
			if silent > timeout+interval+2*time.Second {
				t.Errorf("closed after %v of silence, %v at most", silent, timeout+interval)
			}
			mute.expectClose(protocol.CloseHeartbeatTimeout)
		}
		// A peer that pongs lives on, and its round trip is known.
		alive := g.upgrade("/ws/device/alive")
		for end := time.Now().Add(3 * timeout / 2); time.Now().Before(end); {
			if f, err := alive.nextWithin(time.Until(end)); err == nil {
				t.Fatalf("%v %q came", f.op, f.data)
			} else if !isTimeout(err) {
				t.Fatalf("a peer that answers was dropped: %v", err)
			}
		}
		if h := g.manager.ByDevice("alive").Health(); h.RTTMicros <= 0 || h.State != "healthy" {
			t.Errorf("health %+v", h)
		}
	})
}

// TestAnyByteIsASignOfLife keeps a session open by sending, though it answers
// no ping.
func TestAnyByteIsASignOfLife(t *testing.T) {
	const interval, timeout = 200 * time.Millisecond, 600 * time.Millisecond
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.HeartbeatInterval, o.HeartbeatTimeout = interval, timeout })
		dev := g.upgrade("/ws/device/d")
		dev.mute = true
		long := wsframe.AppendMaskedFrame(nil, wsframe.OpText, testKey, []byte(`{"type":"one.byte.a.time"}`))
		for _, b := range long {
			dev.write([]byte{b})
			time.Sleep(interval / 4)
		}
		if g.manager.ByDevice("d") == nil {
			t.Error("the session is gone")
		}
	})
}

// TestIdleTimeout closes who says nothing, pongs or not.
func TestIdleTimeout(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) {
			o.HeartbeatInterval, o.HeartbeatTimeout, o.IdleTimeout = 100*time.Millisecond, 20*time.Second, 400*time.Millisecond
		})
		began := time.Now()
		p := g.upgrade("/ws/frontend")
		p.expectClose(protocol.CloseIdle)
		if d := time.Since(began); d < 400*time.Millisecond {
			t.Errorf("closed after %v", d)
		}
	})
}

// TestManyConnections opens thousands of connections on the pollers: there is
// no goroutine for any of them.
func TestManyConnections(t *testing.T) {
	for _, c := range []struct {
		mode mode
		n    int
	}{{modes[0], 2000}, {modes[4], 400}} {
		t.Run(c.mode.name, func(t *testing.T) {
			g := start(t, c.mode, func(o *Options) { o.Pollers = 2 })
			before := runtime.NumGoroutine()
			// Half-open ones hold no session and no goroutine either.
			for range 50 {
				g.dial()
			}
			var peers []*peer
			for i := range c.n {
				peers = append(peers, g.upgrade(fmt.Sprintf("/ws/frontend/u%d?telemetry=none", i)))
			}
			if n := g.manager.Len(); n != c.n {
				t.Errorf("%d sessions, want %d", n, c.n)
			}
			if n := runtime.NumGoroutine() - before; n > 40 {
				t.Errorf("%d goroutines for %d connections", n, c.n)
			}
			if status, answer := g.call("POST", "/v1/broadcast", `{"type":"to.all"}`); status != 200 || answer["delivered"] != float64(c.n) {
				t.Errorf("%d %v", status, answer)
			}
			for _, p := range peers {
				p.await("to.all")
			}
			for _, p := range peers {
				p.vanish()
			}
			g.eventually("all are gone", func() bool { return g.manager.Len() == 0 })
		})
	}
}
