package session

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

// stalled connects a session to which nothing goes out until stall(false).
func stalled(t testing.TB, m *Manager) (*Session, *fake) {
	t.Helper()
	s, f := connect(t, m, frontend)
	f.stall(true)
	f.buffered.Store(1 << 30)
	return s, f
}

func TestOrderOfQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.TelemetryBytes = 250
		m := newTestManager(t, opts)
		s, f := stalled(t, m)
		for i := range 4 {
			// Each is 2 + 32 + 40 bytes; the first is dropped for the last.
			if err := sendTelemetry(s, 7, uint64(10*i), 10); err != nil {
				t.Fatal(err)
			}
			_ = sendText(s, fmt.Sprint("c", i), false)
			_ = sendText(s, fmt.Sprint("u", i), true)
		}
		time.Sleep(time.Second)
		equal(t, "written while stalled", f.sentText(), "")
		f.stall(false)
		synctest.Wait()
		equal(t, "written", f.sentText(), "u0 u1 u2 u3 c0 c1 c2 c3 lost:7:0-10:slow_consumer data:7:10-20 data:7:20-30 data:7:30-40")
	})
}

func TestOrderWithinQueuesBeyondOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, f := stalled(t, m)
		var want []string
		for i := range 1000 {
			text := fmt.Sprintf("%04d%s", i, strings.Repeat("x", 100))
			want = append(want, text)
			if err := sendText(s, text, false); err != nil {
				t.Fatal(err)
			}
			s.Flush()
		}
		f.stall(false)
		synctest.Wait()
		equal(t, "written", f.sentText(), strings.Join(want, " "))
	})
}

// TestLossIsToldWithoutTelemetryBehindIt guards against a loss that stays
// untold until something else happens to be sent.
func TestLossIsToldWithoutTelemetryBehindIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.TelemetryBytes = 100
		m := newTestManager(t, opts)

		s, f := connect(t, m, frontend)
		_ = sendText(s, "first", false)
		s.ReportLoss(3, 5, 9, 4, LossBus)
		synctest.Wait()
		equal(t, "behind a control message", f.sentText(), "first lost:3:5-9:bus")

		s, f = connect(t, m, frontend)
		_ = sendTelemetry(s, 3, 0, 100)
		_ = sendText(s, "first", false)
		time.Sleep(opts.FlushInterval)
		synctest.Wait()
		equal(t, "a frame larger than the queue", f.sentText(), "first lost:3:0-100:slow_consumer")
		equal(t, "lost samples", s.Health().LostSamples, 100)
	})
}

// TestLossKeepsItsPlace has losses in the middle of what is queued: the
// receiver must see each stream in order.
func TestLossKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.TelemetryBytes = 400
		m := newTestManager(t, opts)
		s, f := stalled(t, m)
		_ = sendTelemetry(s, 1, 0, 10)   // 74 bytes
		_ = sendTelemetry(s, 1, 10, 500) // larger than the queue
		s.ReportLoss(1, 510, 520, 10, LossBus)
		_ = sendTelemetry(s, 1, 520, 10)
		f.stall(false)
		synctest.Wait()
		equal(t, "written", f.sentText(), "data:1:0-10 lost:1:10-510:slow_consumer lost:1:510-520:bus data:1:520-530")

		s, f = stalled(t, m)
		_ = sendTelemetry(s, 1, 0, 10)
		s.ReportLoss(1, 10, 20, 10, LossBus)
		for i := range 10 {
			_ = sendTelemetry(s, 1, uint64(20+10*i), 10)
		}
		f.stall(false)
		synctest.Wait()
		equal(t, "news dropped with its neighbours", f.sentText(), "lost:1:0-10:slow_consumer lost:1:10-20:bus lost:1:20-70:slow_consumer data:1:70-80 data:1:80-90 data:1:90-100 data:1:100-110 data:1:110-120")
		equal(t, "lost samples, counted once", s.Health().LostSamples, 70)
	})
}

func TestControlOverflowClosesByTheWheel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.ControlBytes = 1000
		var router sync.Mutex // a lock that the sender holds and OnDisconnect takes
		var causes []Cause
		on(&opts).disconnect = func(_ *Session, c Cause) {
			router.Lock()
			defer router.Unlock()
			causes = append(causes, c)
		}
		m := newTestManager(t, opts)
		s, f := stalled(t, m)

		router.Lock()
		sent := 0
		for ; sent < 100; sent++ {
			if err := sendText(s, strings.Repeat("x", 98), sent%2 == 0); err != nil {
				if !errors.Is(err, ErrSlowConsumer) {
					t.Errorf("full control queue: %v, want ErrSlowConsumer", err)
				}
				break
			}
		}
		equal(t, "messages of 100 bytes that fit 1000", sent, 10)
		if err := sendText(s, "short", false); !errors.Is(err, ErrSlowConsumer) {
			t.Errorf("after the overflow: %v, want ErrSlowConsumer", err)
		}
		if err := sendTelemetry(s, 1, 0, 1); !errors.Is(err, ErrClosed) {
			t.Errorf("telemetry after the overflow: %v, want ErrClosed", err)
		}
		if len(causes) != 0 {
			t.Error("OnDisconnect ran on the sender's goroutine")
		}
		router.Unlock()

		time.Sleep(2 * wheelTick)
		router.Lock()
		equal(t, "causes", causes, "[{slow_consumer slow_consumer control queue full}]")
		router.Unlock()
		f.stall(false)
		synctest.Wait()
		equal(t, "the slow peer got", f.sentText(), "close:4004:slow_consumer")
	})
}

func TestLargeMessagePassesAlone(t *testing.T) {
	m := newTestManager(t, Options{Callbacks: NopCallbacks{}, QueueOptions: QueueOptions{ControlBytes: 100}})
	s, _ := stalled(t, m)
	if err := sendText(s, strings.Repeat("x", 5000), false); err != nil {
		t.Fatal(err)
	}
	// What is short has its own room behind it.
	for range 2 {
		if err := sendText(s, strings.Repeat("y", 48), true); err != nil {
			t.Errorf("behind a large message: %v", err)
		}
	}
	if err := sendText(s, "y", true); !errors.Is(err, ErrSlowConsumer) {
		t.Errorf("behind a large message and a full queue: %v, want ErrSlowConsumer", err)
	}
	s, _ = stalled(t, m)
	_ = sendText(s, strings.Repeat("x", 5000), true)
	if err := sendText(s, strings.Repeat("x", 5000), false); !errors.Is(err, ErrSlowConsumer) {
		t.Errorf("a second large message: %v, want ErrSlowConsumer", err)
	}
}

// TestPingWithAFullQueue: our own ping is not what makes a session slow.
func TestPingWithAFullQueue(t *testing.T) {
	m := newTestManager(t, Options{Callbacks: NopCallbacks{}, QueueOptions: QueueOptions{ControlBytes: 100}})
	s, _ := stalled(t, m)
	if err := sendText(s, strings.Repeat("x", 98), false); err != nil {
		t.Fatal(err)
	}
	s.ping(1)
	if s.overflowed.Load() || s.Health().UnansweredPings != 1 {
		t.Errorf("overflowed %v, %d pings on their way", s.overflowed.Load(), s.Health().UnansweredPings)
	}
}

// TestEchoQueue: the queue of an echo session has a bound of its own.
func TestEchoQueue(t *testing.T) {
	m := newTestManager(t, Options{Callbacks: NopCallbacks{}, QueueOptions: QueueOptions{ControlBytes: 100}, EchoBytes: 1000})
	for role, fits := range map[Role]int{RoleFrontend: 1, RoleEcho: 10} {
		s, f := connect(t, m, Info{Role: role})
		f.stall(true)
		f.buffered.Store(1 << 30)
		n := 0
		for ; sendText(s, strings.Repeat("x", 98), n%2 == 0) == nil; n++ {
		}
		bytes, frames := s.Queued()
		equal(t, role.String(), fmt.Sprint(n, bytes, frames), fmt.Sprint(fits, 100*fits, fits))
	}
}

func TestTelemetryOverflowCloseSlow(t *testing.T) {
	tests := []struct {
		name string
		fill func(s *Session) error
	}{
		{"full queue", func(s *Session) error {
			for i := range 6 {
				if err := sendTelemetry(s, 1, uint64(10*i), 10); err != nil {
					return fmt.Errorf("frame %d: %w", i, err)
				}
			}
			return sendTelemetry(s, 1, 60, 10)
		}},
		{"frame larger than the queue", func(s *Session) error { return sendTelemetry(s, 1, 0, 1000) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.Overflow, opts.TelemetryBytes = CloseSlow, 500
				m := newTestManager(t, opts)
				s, f := stalled(t, m)
				if err := tt.fill(s); !errors.Is(err, ErrSlowConsumer) {
					t.Errorf("got %v, want ErrSlowConsumer", err)
				}
				time.Sleep(2 * wheelTick)
				f.stall(false)
				synctest.Wait()
				equal(t, "the slow peer got", f.sentText(), "close:4004:slow_consumer")
				equal(t, "lost samples", m.Stats().LostSamples.Load(), 0)
			})
		})
	}
}

// TestNewsOfManyLossesIsBounded: the news of thousands of streams does not
// leave in one giant write, and all of it goes ahead of the telemetry.
func TestNewsOfManyLossesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.InflightBytes = 8 << 10
		m := newTestManager(t, opts)
		s, f := stalled(t, m)
		const streams = 5000
		for i := range streams {
			s.ReportLoss(uint32(i), 0, 1, 1, LossBus)
		}
		_ = sendTelemetry(s, 0, 1, 1)
		f.buffered.Store(0)
		s.Writable()
		for range 1000 {
			synctest.Wait()
			f.progress(1 << 20)
		}
		sent := f.sent()
		equal(t, "frames written", len(sent), streams+1)
		equal(t, "first, last", fmt.Sprint(sent[0], " ", sent[streams]), "lost:0:0-1:bus data:0:1-2")
		if peak := f.peak.Load(); peak > 8<<10+200 {
			t.Errorf("%d bytes on their way, want at most %d and one message", peak, 8<<10)
		}
	})
}

func TestCloseFrameIsLast(t *testing.T) {
	for name, end := range map[string]struct {
		close func(s *Session)
		want  string
	}{
		"Close":          {func(s *Session) { s.Close(protocol.CloseKicked, "") }, "u c close:4008:kicked"},
		"Fail":           {func(s *Session) { s.Fail(protocol.CloseTooLarge, "") }, "close:1009:too_large"},
		"both":           {func(s *Session) { s.Close(protocol.CloseKicked, ""); s.Fail(protocol.CloseTooLarge, "") }, "u c close:4008:kicked"},
		"peer's, 4999":   {func(s *Session) { _ = s.HandleControl(8, []byte{0x13, 0x87, 'x'}) }, "u c close:4999:"},
		"peer's, empty":  {func(s *Session) { _ = s.HandleControl(8, nil) }, "u c close:1000:"},
		"peer's, second": {func(s *Session) { s.Close(protocol.CloseKicked, ""); _ = s.HandleControl(8, nil) }, "u c close:4008:kicked"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newTestManager(t, testOptions())
				s, f := stalled(t, m)
				_ = sendTelemetry(s, 1, 0, 1)
				s.ReportLoss(1, 1, 2, 1, LossBus)
				_ = sendText(s, "c", false)
				_ = sendText(s, "u", true)
				end.close(s)
				after := func() {
					for _, err := range []error{sendText(s, "late", false), sendText(s, "late", true), sendTelemetry(s, 1, 2, 1)} {
						if !errors.Is(err, ErrClosed) {
							t.Errorf("after the close: %v, want ErrClosed", err)
						}
					}
					s.ReportLoss(1, 3, 4, 1, LossBus)
					_ = s.HandleControl(9, []byte("ping"))
					s.Schedule()
					s.Flush()
					synctest.Wait()
				}
				after()
				f.stall(false)
				synctest.Wait()
				after()
				equal(t, "written", f.sentText(), end.want)
				time.Sleep(3 * time.Second)
				equal(t, "written in the end", f.sentText(), end.want)
				if !f.closed() {
					t.Error("the transport is still open")
				}
			})
		})
	}
}

// TestOneFrameSharedByMany sends one frame to sessions in all states and looks
// at its references when all are gone.
func TestOneFrameSharedByMany(t *testing.T) {
	for _, end := range []string{"stop", "lost", "peer", "fail"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.TelemetryBytes, opts.ControlBytes = 300, 300
				m := newTestManager(t, opts)
				var tr tracked
				var all []*Session
				for i := range 50 {
					info := frontend
					info.Blocking = i%7 == 0
					s, f := connect(t, m, info)
					all = append(all, s)
					switch i % 5 {
					case 1:
						f.stall(true)
						f.buffered.Store(1 << 30)
					case 2:
						f.setFail(errFake)
					case 3:
						if info.Blocking {
							f.block()
						}
					case 4:
						s.Fail(protocol.CloseInternal, "")
					}
				}
				for i := range 20 {
					data, text := tr.add(telemetry(1, uint64(10*i), 10)), tr.add(NewTextFrame([]byte("hello")))
					for _, s := range all {
						_ = s.SendTelemetry(data, nil)
						_ = s.Send(text, i%2 == 0)
						if i%4 == 0 {
							s.Flush()
						}
					}
					data.Release()
					text.Release()
					time.Sleep(opts.FlushInterval / 2)
				}
				for _, s := range all {
					switch end {
					case "lost":
						_ = s.t.Close()
						s.TransportClosed(errFake)
					case "peer":
						_ = s.HandleControl(8, nil)
					case "fail":
						s.Fail(protocol.CloseInternal, "")
					}
				}
				if end == "stop" {
					ctx, cancel := cancelled()
					_ = m.Stop(ctx)
					cancel()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				tr.check(t)
			})
		})
	}
}

func TestReleaseOnRefusal(t *testing.T) {
	m := newTestManager(t, Options{Callbacks: NopCallbacks{}, QueueOptions: QueueOptions{ControlBytes: 10, TelemetryBytes: 10}})
	var tr tracked
	s, _ := stalled(t, m)
	for i := range 3 {
		text, data := tr.add(NewTextFrame([]byte("123456"))), tr.add(telemetry(1, uint64(i), 1))
		_ = s.SendTelemetry(data, nil) // larger than the queue
		_ = s.Send(text, false)        // the second overflows
		text.Release()
		data.Release()
	}
	s.TransportClosed(nil)
	tr.check(t)
}

// envelope sends a routed message for one session.
func envelope(t testing.TB, s *Session, raw string, urgent bool) error {
	t.Helper()
	var e protocol.Envelope
	if err := e.Parse([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	return s.SendEnvelope(&e, protocol.Splice{Src: "a"}, urgent, 0)
}

// TestEnvelopesAreJoined has messages for one session share buffers, in order
// with what others send, and counted one by one.
func TestEnvelopesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, f := stalled(t, m)
		var want []string
		spliced := func(n int) string { return fmt.Sprintf(`{"src":"a","type":"t.x","payload":%d}`, n) }
		for i := range 1000 {
			raw := fmt.Sprintf(`{"type":"t.x","payload":%d}`, i)
			if err := envelope(t, s, raw, false); err != nil {
				t.Fatal(err)
			}
			want = append(want, spliced(i))
			if i == 500 {
				_ = sendText(s, "between", false)
				want = append(want, "between")
			}
			if i == 600 {
				_ = envelope(t, s, `{"type":"t.x","payload":-1}`, true)
				want = append([]string{spliced(-1)}, want...)
			}
		}
		s.out.mu.Lock()
		frames, bytes := int(s.out.control.count), s.out.control.bytes
		s.out.mu.Unlock()
		if frames > 10 {
			t.Errorf("1001 short messages wait in %d buffers", frames)
		}
		total := 0
		for _, text := range want[1:] {
			total += len(text) + 2
		}
		equal(t, "bytes that wait", bytes, total)
		before := m.stats.MessagesOut.Load()
		f.stall(false)
		s.Flush()
		synctest.Wait()
		equal(t, "written", f.sentText(), strings.Join(want, " "))
		equal(t, "messages counted", m.stats.MessagesOut.Load()-before, uint64(len(want)))
		s.out.mu.Lock()
		equal(t, "bytes left", s.out.control.bytes+s.out.urgent.bytes, 0)
		s.out.mu.Unlock()
	})
}

// TestEnvelopesAreBounded holds joined messages to the bound of the queue.
func TestEnvelopesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.ControlBytes = 1000
		m := newTestManager(t, opts)
		s, _ := stalled(t, m)
		raw := fmt.Sprintf(`{"type":"t.x","payload":%q}`, strings.Repeat("x", 59)) // 100 bytes with src and header
		sent := 0
		for ; sent < 100; sent++ {
			if err := envelope(t, s, raw, sent%3 == 0); err != nil {
				if !errors.Is(err, ErrSlowConsumer) {
					t.Errorf("full control queue: %v, want ErrSlowConsumer", err)
				}
				break
			}
		}
		equal(t, "messages of 100 bytes that fit 1000", sent, 10)
		time.Sleep(2 * wheelTick)
		if err := envelope(t, s, raw, false); !errors.Is(err, ErrClosed) {
			t.Errorf("closed: %v, want ErrClosed", err)
		}
	})
}
