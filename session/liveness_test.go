package session

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

func livenessOptions() Options {
	opts := testOptions()
	opts.HeartbeatInterval, opts.HeartbeatTimeout = 30*time.Second, 90*time.Second
	return opts
}

// onEach calls do for each write from now on, with the time since the call.
func (f *fake) onEach(do func(at time.Duration, frames []wireFrame)) {
	begin := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onWrite = func(b []byte) { do(time.Since(begin), parseWire(b)) }
}

func TestPingEachInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, livenessOptions())
		s, f := connect(t, m, frontend, answering, func(f *fake) { f.rtt = 40 * time.Millisecond })
		var pings []time.Duration
		f.onEach(func(at time.Duration, frames []wireFrame) {
			for _, w := range frames {
				if w.String() == "ping" && len(w.payload) == 8 {
					pings = append(pings, at)
				}
			}
		})
		equal(t, "round-trip time before the first pong", s.Health().RTTMicros, 0)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !s.Open() {
			t.Fatal("a peer that answers was closed")
		}
		if n := len(pings); n < 19 || n > 20 {
			t.Errorf("%d pings in 10 minutes, want 20", n)
		}
		if pings[0] > 30*time.Second+wheelTick {
			t.Errorf("the first ping came after %v, want it within the first interval", pings[0])
		}
		for i := 1; i < len(pings); i++ {
			if d := pings[i] - pings[i-1]; d < 30*time.Second || d > 30*time.Second+wheelTick {
				t.Errorf("ping %d came %v after the one before", i, d)
			}
		}
		h := s.Health()
		equal(t, "round-trip time, unanswered, score", fmt.Sprint(h.RTTMicros, " ", h.UnansweredPings, " ", h.Score), "40000 0 100")
	})
}

func TestFirstPingsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, livenessOptions())
		perSecond := make([]int, 31)
		for range 300 {
			_, f := connect(t, m, frontend, answering)
			first := true
			f.onEach(func(at time.Duration, _ []wireFrame) {
				if first {
					perSecond[at/time.Second]++
					first = false
				}
			})
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		total := 0
		for second, n := range perSecond {
			total += n
			// 10 expected; 40 is beyond chance by many orders.
			if n > 40 {
				t.Errorf("%d of 300 sessions that came together ping together, in second %d", n, second)
			}
		}
		equal(t, "sessions that pinged", total, 300)
	})
}

func TestSilentPeerIsClosedAtTheTimeout(t *testing.T) {
	for round := range 20 {
		synctest.Test(t, func(t *testing.T) {
			opts := livenessOptions()
			opts.CloseGrace = 5 * time.Second
			begin := time.Now()
			var ended time.Duration
			var cause Cause
			on(&opts).disconnect = func(_ *Session, c Cause) { ended, cause = time.Since(begin), c }
			m := newTestManager(t, opts)
			time.Sleep(time.Duration(round) * 1234567 * time.Nanosecond)
			begin = time.Now()
			info := device("d")
			info.Blocking = round%2 == 0
			s, f := connect(t, m, info)
			if round%3 == 0 {
				// A stalled one is not afterStall either.
				f.stall(true)
				f.buffered.Store(1 << 30)
			}
			time.Sleep(90*time.Second - time.Nanosecond)
			synctest.Wait()
			if !s.Open() || m.ByDevice("d") != s {
				t.Fatal("closed before the timeout")
			}
			time.Sleep(wheelTick + 2*time.Nanosecond)
			synctest.Wait()
			if s.Open() || m.ByDevice("d") != nil || m.Get(s.ID()) != nil {
				t.Fatal("open more than a tick after the timeout")
			}
			if ended < 90*time.Second || ended > 90*time.Second+wheelTick {
				t.Errorf("ended after %v", ended)
			}
			equal(t, "cause", fmt.Sprint(int(cause.Code), " ", cause.Reason), "4002 heartbeat_timeout")
			if round%3 != 0 {
				sent := f.sent()
				equal(t, "last frame", sent[len(sent)-1], "close:4002:heartbeat_timeout")
			}
			<-f.ended
			if late := time.Since(begin) - ended - opts.CloseGrace; late < 0 || late > wheelTick {
				t.Errorf("the transport was closed %v after the grace time", late)
			}
		})
	}
}

// stallFor keeps the wheel from running for d, as a stopped process would.
func stallFor(m *Manager, d time.Duration) {
	c := newAlarmClock()
	c.then = func(*alarmClock) { time.Sleep(d) }
	m.wheel.Schedule(&c.Timer, time.Now())
	time.Sleep(d + wheelTick)
}

// TestPeersSurviveAStall: after a stall longer than both timeouts each peer gets
// one more heartbeat interval. Those who answer stay, whether they had sent
// something meanwhile or not; those who are dead are closed at its end.
func TestPeersSurviveAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := livenessOptions()
		opts.IdleTimeout = 5 * time.Minute
		m := newTestManager(t, opts)
		var living []*Session
		for i := range 20 {
			s, _ := connect(t, m, device(fmt.Sprint("d", i)), answering, func(f *fake) { f.rtt = 200 * time.Millisecond })
			living = append(living, s)
		}
		time.Sleep(40 * time.Second)
		dead, f := connect(t, m, frontend)
		stallFor(m, 10*time.Minute)
		woken := time.Now()
		time.Sleep(29 * time.Second)
		synctest.Wait()
		for _, s := range append(living, dead) {
			if !s.Open() {
				t.Fatalf("%s %q was closed within an interval of the stall: %v", s.Role(), s.Name(), m.Stats().Closes())
			}
		}
		for _, s := range living {
			s.lastIn.Store(s.m.now()) // an application message each
		}
		<-f.ended
		if late := time.Since(woken) - stallPause - opts.HeartbeatInterval - m.opts.CloseGrace; late < -wheelTick || late > 3*wheelTick {
			t.Errorf("the dead peer was closed %v after a heartbeat interval", late)
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		equal(t, "closes", m.Stats().Closes(), "map[heartbeat_timeout:1]")
		for i, s := range living {
			if !s.Open() {
				t.Errorf("peer %d was closed", i)
			}
		}
	})
}

// TestAnyByteIsASignOfLife: the timeout counts from the last byte, whatever it
// was.
func TestAnyByteIsASignOfLife(t *testing.T) {
	for name, sign := range map[string]func(s *Session){
		"half a frame": func(*Session) {},
		"message":      func(s *Session) { _ = s.HandleMessage(1, []byte("{}")) },
		"pong":         func(s *Session) { _ = s.HandleControl(10, nil) },
		"ping":         func(s *Session) { _ = s.HandleControl(9, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTestManager(t, livenessOptions())
				s, f := connect(t, m, frontend)
				for range 10 {
					time.Sleep(89 * time.Second)
					f.read(sign)
				}
				if !s.Open() {
					t.Fatal("closed although it was heard in time")
				}
				time.Sleep(90*time.Second - time.Nanosecond)
				synctest.Wait()
				if !s.Open() {
					t.Error("closed before the timeout")
				}
				time.Sleep(wheelTick + 2*time.Nanosecond)
				synctest.Wait()
				if s.Open() {
					t.Error("open after the timeout")
				}
			})
		})
	}
}

func TestIdleSessionIsClosed(t *testing.T) {
	tests := []struct {
		name    string
		traffic func(s *Session, f *fake)
		idle    bool
	}{
		{"nothing but heartbeats", func(*Session, *fake) {}, true},
		{"pings of the peer", func(_ *Session, f *fake) { f.read(func(s *Session) { _ = s.HandleControl(9, nil) }) }, true},
		{"messages received", func(_ *Session, f *fake) { f.read(func(s *Session) { _ = s.HandleMessage(1, []byte("{}")) }) }, false},
		{"telemetry received", func(_ *Session, f *fake) { f.read(func(s *Session) { _ = s.HandleMessage(2, nil) }) }, false},
		{"messages sent", func(s *Session, _ *fake) { _ = sendText(s, "x", false); s.Flush() }, false},
		{"telemetry sent", func(s *Session, _ *fake) { _ = sendTelemetry(s, 1, 0, 1) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := livenessOptions()
				opts.IdleTimeout = 10 * time.Minute
				m := newTestManager(t, opts)
				s, f := connect(t, m, frontend, answering)
				for range 9 {
					time.Sleep(time.Minute)
					tt.traffic(s, f)
				}
				time.Sleep(time.Minute - time.Nanosecond)
				synctest.Wait()
				if !s.Open() {
					t.Fatal("closed before the idle timeout")
				}
				time.Sleep(wheelTick + 2*time.Nanosecond)
				synctest.Wait()
				if s.Open() == tt.idle {
					t.Fatalf("open after 10 minutes: %v", s.Open())
				}
				if !tt.idle {
					time.Sleep(10 * time.Minute)
					synctest.Wait()
				}
				sent := f.sent()
				equal(t, "last frame", sent[len(sent)-1], "close:4003:idle")
				equal(t, "closes", m.Stats().Closes(), "map[idle:1]")
			})
		})
	}
}

func TestNoIdleTimeoutByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, livenessOptions())
		s, _ := connect(t, m, frontend, answering)
		time.Sleep(24 * time.Hour)
		if !s.Open() {
			t.Error("closed")
		}
	})
}

// TestPingGoesAheadOfABacklog: a slow but living peer is not taken for dead.
func TestPingGoesAheadOfABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, livenessOptions())
		s, f := stalled(t, m)
		for i := range 100 {
			_ = sendText(s, "backlog", false)
			_ = sendTelemetry(s, 1, uint64(i), 1)
		}
		time.Sleep(31 * time.Second)
		f.stall(false)
		synctest.Wait()
		equal(t, "first frame", f.sent()[0], "ping")
	})
}

func TestPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, livenessOptions())
		s, f := connect(t, m, frontend)
		time.Sleep(61 * time.Second)
		if n := s.Health().UnansweredPings; n < 2 {
			t.Fatalf("%d unanswered pings", n)
		}
		// Pongs of the peer's own making (RFC 6455 section 5.5.3): signs of
		// life without a round-trip time.
		for _, payload := range [][]byte{nil, []byte("hello"), make([]byte, 8), {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x7f, 0, 0, 0, 0, 0, 0, 0}} {
			f.read(func(s *Session) { _ = s.HandleControl(10, payload) })
		}
		h := s.Health()
		equal(t, "round-trip time, unanswered", fmt.Sprint(h.RTTMicros, " ", h.UnansweredPings), "0 0")
	})
}

func TestPingIsAnsweredAfterTheRead(t *testing.T) {
	m := newTestManager(t, testOptions())
	_, f := connect(t, m, frontend)
	f.read(func(s *Session) {
		_ = s.HandleControl(9, []byte("a"))
		_ = s.HandleControl(9, nil)
		equal(t, "written during the read", f.sentText(), "")
	})
	equal(t, "written", f.sentText(), "pong:a pong:")
	writes, _, _ := f.counts()
	equal(t, "writes", writes, 1)
}

// TestDeadPeersLeaveBothIndexes: killed (the socket ends) at once, vanished
// within the heartbeat's time.
func TestDeadPeersLeaveBothIndexes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := livenessOptions()
		var causes []string
		on(&opts).disconnect = func(s *Session, c Cause) {
			causes = append(causes, fmt.Sprintf("%s %s %q", s.Name(), c.Reason, c.Detail))
		}
		m := newTestManager(t, opts)
		killed, _ := connect(t, m, device("killed"))
		reset, _ := connect(t, m, device("reset"))
		connect(t, m, device("vanished"))
		killed.TransportClosed(io.EOF)
		reset.TransportClosed(errFake)
		equal(t, "Len, devices", fmt.Sprint(m.Len(), m.Devices()), "1 1")
		time.Sleep(90*time.Second + wheelTick)
		synctest.Wait()
		equal(t, "Len, devices", fmt.Sprint(m.Len(), m.Devices()), "0 0")
		equal(t, "causes", causes, `[killed connection_lost "" reset connection_lost "fake: connection reset" vanished heartbeat_timeout "nothing heard for 1m30s"]`)
	})
}

// TestEndedSessionLeavesTheWheel: nothing of a session is left once its
// transport is closed.
func TestEndedSessionLeavesTheWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, livenessOptions())
		for range 100 {
			s, f := connect(t, m, frontend)
			s.Close(protocol.CloseNormal, "")
			_ = f.Close()
			lost, _ := connect(t, m, frontend)
			lost.TransportClosed(nil)
		}
		m.wheel.mu.Lock()
		armed := 0
		for _, timer := range m.wheel.slots {
			for ; timer != nil; timer = timer.next {
				armed++
			}
		}
		m.wheel.mu.Unlock()
		equal(t, "armed timers: the growth watch", armed, 1)
	})
}
