package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// TestOneStalledPeerDelaysNobody freezes one peer in every way and watches the
// others: the gateway's central promise.
func TestOneStalledPeerDelaysNobody(t *testing.T) {
	for name, freeze := range map[string]func(t *testing.T, m *Manager){
		"blocking write": func(t *testing.T, m *Manager) {
			_, f := connect(t, m, Info{Role: RoleFrontend, Blocking: true})
			f.block()
		},
		"full kernel buffer": func(t *testing.T, m *Manager) { stalled(t, m) },
		"takes a little at a time": func(t *testing.T, m *Manager) {
			_, f := connect(t, m, frontend)
			f.stall(true)
			go func() {
				for range 500 {
					time.Sleep(100 * time.Microsecond)
					f.progress(10)
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.TelemetryBytes, opts.InflightBytes = 4000, 1000
				m := newTestManager(t, opts)
				freeze(t, m)
				good, goodT := connect(t, m, frontend)
				blockingGood, blockingT := connect(t, m, Info{Role: RoleFrontend, Blocking: true})
				for i := range uint64(100) {
					data := telemetry(1, 10*i, 10)
					for _, s := range m.Sessions() {
						_ = s.SendTelemetry(data, nil)
					}
					data.Release()
					m.Broadcast([]byte("news"), func(*Session) bool { return i%10 == 0 })
					time.Sleep(opts.FlushInterval)
					synctest.Wait()
					for _, f := range []*fake{goodT, blockingT} {
						equal(t, "frames at once and within the interval", len(f.sent()), i+1+i/10+1)
					}
				}
				if !good.Open() || !blockingGood.Open() || m.Len() != 3 {
					t.Error("a session was lost")
				}
				equal(t, "lost by the good ones", good.Health().LostSamples+blockingGood.Health().LostSamples, 0)
			})
		})
	}
}

func TestStopWithBlockedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.CloseGrace = time.Minute
		m := newTestManager(t, opts)
		var frozen []*fake
		for range 20 {
			s, f := connect(t, m, Info{Role: RoleFrontend, Blocking: true})
			f.block()
			_ = sendText(s, "x", false)
			s.Flush()
			frozen = append(frozen, f)
		}
		_, goodT := connect(t, m, Info{Role: RoleFrontend, Blocking: true}, answering)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := m.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Stop returned %v after %v", err, time.Since(begin))
		}
		equal(t, "the good one got", goodT.sentText(), "close:1001:going_away")
		for _, f := range frozen {
			if !f.closed() {
				t.Error("a stalled transport is open after Stop")
			}
		}
	})
}

// TestBlockedWriterEndsAtTheDeadline: the transport's own write deadline fails
// the write, which ends the session.
func TestBlockedWriterEndsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, f := connect(t, m, Info{Role: RoleDevice, Name: "d", Blocking: true})
		release := f.block()
		_ = sendText(s, "x", false)
		s.Flush()
		time.AfterFunc(10*time.Second, func() {
			f.setFail(errFake)
			release()
		})
		time.Sleep(9 * time.Second)
		if !s.Open() {
			t.Error("closed before the deadline")
		}
		time.Sleep(2 * time.Second)
		if s.Open() || m.ByDevice("d") != nil || !f.closed() {
			t.Error("still there after the deadline")
		}
	})
}

// TestClosingSessionEndsAfterTheGrace, whatever its transport does meanwhile.
func TestClosingSessionEndsAfterTheGrace(t *testing.T) {
	for name, freeze := range map[string]func(f *fake){
		"peer never answers": func(*fake) {},
		"stalled":            func(f *fake) { f.stall(true); f.buffered.Store(1 << 30) },
		"blocked":            func(f *fake) { f.block() },
	} {
		for _, blocking := range []bool{false, true} {
			if name == "blocked" && !blocking {
				continue // an event-loop transport never blocks
			}
			t.Run(fmt.Sprintf("%s, blocking=%v", name, blocking), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := testOptions()
					opts.CloseGrace = 3 * time.Second
					m := newTestManager(t, opts)
					info := device("d")
					info.Blocking = blocking
					s, f := connect(t, m, info)
					freeze(f)
					_ = sendText(s, "x", false)
					s.Flush()
					synctest.Wait()
					begin := time.Now()
					s.Close(protocol.CloseKicked, "")
					if m.ByDevice("d") != nil || m.Get(s.ID()) != nil {
						t.Error("a closing session is in a table")
					}
					// Neither looks of the wheel nor an overflow cut it short.
					s.Expire(time.Now())
					s.overflow("late")
					time.Sleep(3*time.Second - time.Millisecond)
					synctest.Wait()
					if f.closed() {
						t.Errorf("the transport was closed before the grace time was over")
					}
					<-f.ended
					if late := time.Since(begin) - opts.CloseGrace; late < 0 || late > wheelTick {
						t.Errorf("closed %v after the grace time, want at most %v", late, wheelTick)
					}
					synctest.Wait()
					equal(t, "open transports", m.transports.Load(), 0)
					equal(t, "leaving", len(m.closing.snapshot()), 0)
				})
			})
		}
	}
}

// TestTransportClosesWhenTheHandshakeIsComplete: at once, not after the grace
// time, in whatever order close frames and progress come.
func TestTransportClosesWhenTheHandshakeIsComplete(t *testing.T) {
	steps := map[string]func(s *Session, f *fake){
		"peer": func(s *Session, _ *fake) { _ = s.HandleControl(8, nil) },
		"we":   func(s *Session, _ *fake) { s.Close(protocol.CloseNormal, "") },
		"progress": func(_ *Session, f *fake) {
			f.stall(false)
		},
	}
	for _, order := range []string{"we peer progress", "we progress peer", "peer we progress", "peer progress we", "progress we peer", "progress peer we"} {
		for _, full := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, full=%v", order, full), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newTestManager(t, testOptions())
					s, f := connect(t, m, frontend)
					f.stall(true)
					_ = sendText(s, "x", false)
					if full {
						f.buffered.Store(1 << 30)
					}
					s.Flush()
					begin := time.Now()
					for _, step := range strings.Fields(order) {
						if f.closed() {
							break
						}
						steps[step](s, f)
						synctest.Wait()
					}
					if !f.closed() || time.Since(begin) != 0 {
						t.Errorf("the transport is closed: %v, after %v", f.closed(), time.Since(begin))
					}
					equal(t, "bytes dropped by closing too early", f.dropped.Load(), 0)
				})
			})
		}
	}
}

func TestPoliteTransportIsFinished(t *testing.T) {
	m := newTestManager(t, testOptions())
	f := &polite{fake: fake{ended: make(chan struct{}), answer: true}}
	s, err := m.Add(Info{Role: RoleFrontend, Blocking: true}, f)
	if err != nil {
		t.Fatal(err)
	}
	s.Close(protocol.CloseNormal, "")
	<-f.ended
	if f.finished.Load() == 0 {
		t.Error("Close was called after a complete handshake, want Finish")
	}
}

// TestPoliteTransportIsFinishedAfterTheGrace: a peer that does not answer the
// close frame gets an orderly end too, but Finish cannot hold up the end.
func TestPoliteTransportIsFinishedAfterTheGrace(t *testing.T) {
	for name, hang := range map[string]bool{"finishes": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.CloseGrace = 3 * time.Second
				m := newTestManager(t, opts)
				f := &polite{fake: fake{ended: make(chan struct{})}, hang: hang}
				s, err := m.Add(Info{Role: RoleFrontend, Blocking: true}, f)
				if err != nil {
					t.Fatal(err)
				}
				f.attach(s)
				begin := time.Now()
				s.Close(protocol.CloseNormal, "")
				<-f.ended
				after := time.Since(begin)
				if f.finished.Load() != 1 || after < opts.CloseGrace || after > opts.CloseGrace+finishTime+2*wheelTick {
					t.Errorf("Finish was called %d times; the transport ended after %v", f.finished.Load(), after)
				}
				synctest.Wait()
				equal(t, "open transports", m.transports.Load(), 0)
			})
		})
	}
}

type polite struct {
	fake
	finished atomic.Int32
	hang     bool // Finish hangs until Close
}

func (p *polite) Finish() error {
	p.finished.Add(1)
	if p.hang {
		<-p.ended
		return nil
	}
	return p.Close()
}

// TestConcurrentFlushKeepsOrder: whoever flushes, the order on the wire is the
// order of the sends.
func TestConcurrentFlushKeepsOrder(t *testing.T) {
	opts := testOptions()
	opts.ControlBytes, opts.InflightBytes = 64<<20, 1<<30
	m := newTestManager(t, opts)
	for _, blocking := range []bool{false, true} {
		info := frontend
		info.Blocking = blocking
		s, f := connect(t, m, info)
		const senders, each = 4, 2000
		var mu sync.Mutex
		var n int
		var wg sync.WaitGroup
		for range senders {
			wg.Go(func() {
				for range each {
					mu.Lock()
					_ = sendText(s, strconv.Itoa(n), false)
					n++
					mu.Unlock()
					s.Flush()
				}
			})
		}
		wg.Wait()
		gatewaytest.Eventually(t, "everything written", func() bool { return len(f.sent()) == senders*each })
		for i, text := range f.sent() {
			if text != strconv.Itoa(i) {
				t.Fatalf("blocking=%v: message %d on the wire is %s", blocking, i, text)
			}
		}
	}
}

// TestBusySessionYields: a session with much to write gives way to others
// after a number of writes.
func TestBusySessionYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.TelemetryBytes, opts.InflightBytes = 64<<20, 1<<30
		m := newTestManager(t, opts)
		busy, busyT := stalled(t, m)
		quiet, quietT := connect(t, m, frontend)
		for i := range 400 {
			_ = sendTelemetry(busy, 1, uint64(i)*10_000, 10_000) // 40 KiB each: a write
		}
		time.Sleep(time.Second)
		var order []string
		busyT.onWrite = func([]byte) {
			order = append(order, "busy")
			if len(order) == 1 {
				_ = sendText(quiet, "x", false)
				quiet.Schedule()
			}
		}
		quietT.onWrite = func([]byte) { order = append(order, "quiet") }
		busyT.stall(false)
		synctest.Wait()
		equal(t, "writes", len(order), 401)
		for i, who := range order {
			if who == "quiet" && i > maxWrites {
				t.Errorf("the quiet session's message left after %d writes of the busy one, want at most %d", i, maxWrites)
			}
		}
	})
}

func TestTouch(t *testing.T) {
	m := newTestManager(t, testOptions())
	reader, _ := connect(t, m, device("d"))
	var all []*fake
	for range 100 {
		s, f := connect(t, m, frontend)
		all = append(all, f)
		for range 3 {
			_ = sendText(s, "x", false)
		}
		reader.FlushAfterRead(s)
		reader.FlushAfterRead(s)
	}
	reader.EndRead()
	for _, f := range all {
		equal(t, "written", f.sentText(), "x x x")
		writes, _, _ := f.counts()
		equal(t, "writes", writes, 1)
	}
	if len(reader.pendingFlush) != 0 || reader.pendingFlush[:1][0] != nil {
		t.Error("the reader still holds on to the sessions it touched")
	}
}
