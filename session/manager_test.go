package session

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

func TestManagerTables(t *testing.T) {
	m := newTestManager(t, testOptions())
	d, _ := connect(t, m, device("tensile-1"))
	a, _ := connect(t, m, Info{Role: RoleFrontend, Name: "ada"})
	b, _ := connect(t, m, frontend)

	equal(t, "Len", m.Len(), 3)
	equal(t, "Devices", m.Devices(), 1)
	for _, s := range []*Session{d, a, b} {
		if m.Get(s.ID()) != s {
			t.Errorf("Get(%v) does not find the session", s.ID())
		}
		if !slices.Contains(m.IDs(), s.ID()) {
			t.Errorf("IDs lacks %v", s.ID())
		}
	}
	if m.ByDevice("tensile-1") != d || m.ByDeviceBytes([]byte("tensile-1")) != d {
		t.Error("the device is not found by its name")
	}
	if m.ByDevice("ada") != nil || m.ByDevice("") != nil {
		t.Error("a front end is found in the device index")
	}
	equal(t, "sources", fmt.Sprint(d.Source(), " ", a.Source(), " ", b.Source()), "tensile-1 @user/ada @session/"+b.ID().String())
	if !(d.Generation() < a.Generation() && a.Generation() < b.Generation()) {
		t.Error("generations do not grow")
	}

	if err := m.Remove(d.ID(), protocol.CloseKicked, "test"); err != nil {
		t.Fatal(err)
	}
	if m.Get(d.ID()) != nil || m.ByDevice("tensile-1") != nil || m.Len() != 2 || m.Devices() != 0 || d.Open() {
		t.Error("Remove left the session in a table")
	}
	if err := m.Remove(d.ID(), protocol.CloseKicked, "test"); !errors.Is(err, ErrSessionNotFound) {
		t.Errorf("second Remove: %v, want ErrSessionNotFound", err)
	}
	if m.Get(uuid.New()) != nil {
		t.Error("Get finds an unknown id")
	}
	equal(t, "closes by reason", m.Stats().Closes(), map[string]uint64{"kicked": 1})
}

func TestSendTo(t *testing.T) {
	m := newTestManager(t, testOptions())
	s, f := connect(t, m, frontend)
	if err := m.SendTo(s.ID(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	equal(t, "written when SendTo returns", f.sentText(), "hello")
	if err := m.SendTo(uuid.New(), []byte("hello")); !errors.Is(err, ErrSessionNotFound) {
		t.Errorf("unknown id: %v, want ErrSessionNotFound", err)
	}
	s.Close(protocol.CloseNormal, "")
	if err := m.SendTo(s.ID(), []byte("late")); !errors.Is(err, ErrSessionNotFound) {
		t.Errorf("closed session: %v, want ErrSessionNotFound", err)
	}
	if err := sendText(s, "late", false); !errors.Is(err, ErrClosed) {
		t.Errorf("Send on a closed session: %v, want ErrClosed", err)
	}
	if err := sendTelemetry(s, 1, 0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("SendTelemetry on a closed session: %v, want ErrClosed", err)
	}
}

func TestBroadcastFailuresTouchNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.ControlBytes = 64
		m := newTestManager(t, opts)
		good, goodT := connect(t, m, frontend)
		_, otherT := connect(t, m, device("d"))
		full, fullT := connect(t, m, frontend)
		broken, brokenT := connect(t, m, frontend)
		brokenT.setFail(errFake)
		fullT.stall(true)
		if err := sendText(full, strings.Repeat("x", 62), false); err != nil {
			t.Fatal(err)
		}

		n := m.Broadcast([]byte("news"), nil)
		equal(t, "receivers that took it", n, 3)
		time.Sleep(3 * wheelTick)
		equal(t, "good", goodT.sentText(), "news")
		equal(t, "other", otherT.sentText(), "news")
		if full.Open() || broken.Open() || !good.Open() {
			t.Errorf("open: full %v, broken %v, good %v; want only the good one", full.Open(), broken.Open(), good.Open())
		}
		equal(t, "closes", m.Stats().Closes(), map[string]uint64{"connection_lost": 1, "slow_consumer": 1})

		n = m.Broadcast([]byte("devices only"), func(s *Session) bool { return s.Role() == RoleDevice })
		synctest.Wait()
		equal(t, "receivers with a filter", n, 1)
		equal(t, "device", otherT.sentText(), "news devices only")
		equal(t, "good", goodT.sentText(), "news")
	})
}

func TestStop(t *testing.T) {
	tests := []struct {
		name    string
		grace   time.Duration
		timeout time.Duration
		arrange func(t *testing.T, m *Manager)
		err     error
		took    time.Duration
	}{
		{"nobody there", 0, time.Second, func(*testing.T, *Manager) {}, nil, 0},
		{"peers answer", time.Hour, time.Hour, func(t *testing.T, m *Manager) {
			for range 10 {
				connect(t, m, frontend, answering)
				connect(t, m, Info{Role: RoleFrontend, Blocking: true}, answering)
			}
		}, nil, 0},
		{"a slow answer is waited for", time.Hour, time.Hour, func(t *testing.T, m *Manager) {
			connect(t, m, frontend, answering, func(f *fake) { f.rtt = 700 * time.Millisecond })
		}, nil, 700 * time.Millisecond},
		{"no answer: the grace time ends it", 2 * time.Second, time.Hour, func(t *testing.T, m *Manager) {
			connect(t, m, frontend)
		}, nil, 2 * time.Second},
		{"no answer: ctx ends it", time.Hour, time.Second, func(t *testing.T, m *Manager) {
			connect(t, m, frontend)
			connect(t, m, Info{Role: RoleFrontend, Blocking: true})
		}, context.DeadlineExceeded, time.Second},
		{"a session that was closing already", time.Hour, time.Second, func(t *testing.T, m *Manager) {
			s, _ := connect(t, m, frontend)
			s.Close(protocol.CloseKicked, "")
		}, context.DeadlineExceeded, time.Second},
		{"stalled", time.Hour, time.Second, func(t *testing.T, m *Manager) {
			_, f := connect(t, m, frontend)
			f.stall(true)
			f.buffered.Store(1 << 30)
		}, context.DeadlineExceeded, time.Second},
		{"stuck in a blocking write", time.Hour, time.Second, func(t *testing.T, m *Manager) {
			s, f := connect(t, m, Info{Role: RoleFrontend, Blocking: true})
			f.block()
			_ = sendText(s, "never arrives", false)
			s.Flush()
			synctest.Wait()
		}, context.DeadlineExceeded, time.Second},
		{"the connection ends without an answer", time.Hour, time.Hour, func(t *testing.T, m *Manager) {
			s, _ := connect(t, m, frontend)
			time.AfterFunc(300*time.Millisecond, func() { s.TransportClosed(errFake) })
		}, nil, 300 * time.Millisecond},
		{"a transport that never reports its end", time.Hour, time.Second, func(t *testing.T, m *Manager) {
			connect(t, m, frontend, func(f *fake) { f.mute = true })
		}, context.DeadlineExceeded, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.CloseGrace = tt.grace
				var mu sync.Mutex
				ended := map[*Session]int{}
				on(&opts).disconnect = func(s *Session, _ Cause) {
					mu.Lock()
					defer mu.Unlock()
					ended[s]++
				}
				m := newTestManager(t, opts)
				tt.arrange(t, m)
				connected := int(m.Stats().Connects.Load())
				begin := time.Now()
				ctx, cancel := context.WithTimeout(context.Background(), tt.timeout)
				defer cancel()
				if err := m.Stop(ctx); !errors.Is(err, tt.err) {
					t.Errorf("Stop: %v, want %v", err, tt.err)
				}
				if took := time.Since(begin); took < tt.took || took > tt.took+wheelTick {
					t.Errorf("Stop took %v, want %v", took, tt.took)
				}
				mu.Lock()
				defer mu.Unlock()
				equal(t, "sessions that OnDisconnect saw", len(ended), connected)
				for s, n := range ended {
					if n != 1 {
						t.Errorf("OnDisconnect ran %d times for %v", n, s.ID())
					}
				}
				if m.Len() != 0 || len(m.IDs()) != 0 || m.Devices() != 0 || m.transports.Load() != 0 {
					t.Errorf("left after Stop: Len %d, IDs %d, devices %d, transports %d", m.Len(), len(m.IDs()), m.Devices(), m.transports.Load())
				}
			})
		})
	}
}

func TestStopSendsWhatIsQueuedAndSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, f := connect(t, m, frontend, answering)
		_ = sendText(s, "queued", false)
		_ = sendTelemetry(s, 1, 0, 1)
		if err := m.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
		equal(t, "written", f.sentText(), "queued data:1:0-1 close:1001:going_away")
	})
}

func TestStoppedManagerIsNotUsedAgain(t *testing.T) {
	m := newTestManager(t, testOptions())
	s, _ := connect(t, m, device("d"), answering)
	if err := m.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tryConnect(m, frontend); !errors.Is(err, ErrStopped) {
		t.Errorf("Add: %v, want ErrStopped", err)
	}
	if _, _, err := tryConnect(m, device("d")); !errors.Is(err, ErrStopped) {
		t.Errorf("Add: %v, want ErrStopped", err)
	}
	if err := m.Stop(context.Background()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if err := m.SendTo(s.ID(), nil); !errors.Is(err, ErrSessionNotFound) {
		t.Errorf("SendTo: %v", err)
	}
	equal(t, "Broadcast", m.Broadcast([]byte("x"), nil), 0)
	// Nothing of this may panic or block.
	s.Flush()
	s.Schedule()
	s.Writable()
	s.ReportLoss(1, 0, 1, 1, LossBus)
	s.Fail(protocol.CloseInternal, "")
	s.TransportClosed(nil)
	equal(t, "message after the end", s.HandleMessage(wsframe.OpText, []byte("{}")), nil)
}

func TestSecondStopWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.CloseGrace = 5 * time.Second
		m := newTestManager(t, opts)
		connect(t, m, frontend)
		begin := time.Now()
		go func() { _ = m.Stop(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := m.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("second Stop returned %v after %v, want its own deadline after 1s", err, time.Since(begin))
		}
		if err := m.Stop(context.Background()); err != nil || time.Since(begin) < 5*time.Second {
			t.Errorf("third Stop returned %v after %v, want to wait for the first", err, time.Since(begin))
		}
	})
}

func TestStopDuringTraffic(t *testing.T) {
	for round := range 20 {
		opts := testOptions()
		opts.CloseGrace = 20 * time.Millisecond
		m := newTestManager(t, opts)
		var wg sync.WaitGroup
		var tr tracked
		for g := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					info := frontend
					info.Blocking = (i+g)%3 == 0
					s, f, err := tryConnect(m, info, func(f *fake) { f.answer = i%2 == 0 })
					if err != nil {
						return
					}
					if i%5 == 0 {
						f.stall(true)
						f.buffered.Store(1 << 30)
					}
					for j := range 5 {
						text := tr.add(NewTextFrame([]byte("x")))
						data := tr.add(telemetry(1, uint64(j), 1))
						m.Broadcast([]byte("to all"), func(*Session) bool { return j == 0 && i < 20 })
						_ = s.Send(text, false)
						_ = s.SendTelemetry(data, nil)
						s.Flush()
						text.Release()
						data.Release()
					}
				}
			})
		}
		time.Sleep(time.Duration(round%4) * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		_ = m.Stop(ctx)
		cancel()
		wg.Wait()
		tr.check(t)
		equal(t, "Len", m.Len(), 0)
	}
}

func TestOptionDefaults(t *testing.T) {
	m := newTestManager(t, Options{Callbacks: NopCallbacks{}})
	o := m.Options()
	equal(t, "heartbeat", fmt.Sprint(o.HeartbeatInterval, o.HeartbeatTimeout), "30s 1m30s")
	equal(t, "idle timeout, flush interval, close grace", fmt.Sprint(o.IdleTimeout, o.FlushInterval, o.CloseGrace), "0s 0s 2s")
	equal(t, "bytes", fmt.Sprint(o.ControlBytes, o.TelemetryBytes, o.InflightBytes), "1048576 1048576 262144")
	equal(t, "flushers", o.Flushers, 1)
	equal(t, "overflow", o.Overflow, DropOldest)
	o2, err := Options{Callbacks: o.Callbacks, DeviceRate: Rate{Messages: 50}}.withDefaults()
	equal(t, "burst", fmt.Sprint(o2.DeviceRate.Burst, err), "101 <nil>")
}

func TestOptionErrors(t *testing.T) {
	tests := []struct {
		name string
		set  func(*Options)
		want string
	}{
		{"no Callbacks", func(o *Options) { o.Callbacks = nil }, "Callbacks is required"},
		{"timeout below the interval", func(o *Options) { o.HeartbeatTimeout = 30 * time.Second }, "must be longer than --heartbeat-interval"},
		{"negative interval", func(o *Options) { o.HeartbeatInterval = -1 }, "heartbeat interval -1ns is negative"},
		{"negative timeout", func(o *Options) { o.HeartbeatTimeout = -1 }, "must be longer"},
		{"negative idle timeout", func(o *Options) { o.IdleTimeout = -1 }, "idle timeout -1ns is negative"},
		{"negative flush interval", func(o *Options) { o.FlushInterval = -1 }, "flush interval -1ns is negative"},
		{"negative grace", func(o *Options) { o.CloseGrace = -1 }, "close grace -1ns is negative"},
		{"negative flushers", func(o *Options) { o.Flushers = -1 }, "flushers -1 is negative"},
		{"negative control bytes", func(o *Options) { o.ControlBytes = -1 }, "control bytes -1 is negative"},
		{"negative telemetry bytes", func(o *Options) { o.TelemetryBytes = -1 }, "telemetry bytes -1 is negative"},
		{"negative in-flight bytes", func(o *Options) { o.InflightBytes = -1 }, "in-flight bytes -1 is negative"},
		{"negative rate", func(o *Options) { o.DeviceRate.Messages = -1 }, "message rate -1"},
		{"rate not a number", func(o *Options) { o.DeviceRate.Messages = math.NaN() }, "message rate NaN"},
		{"infinite rate", func(o *Options) { o.DeviceRate.Messages = math.Inf(1) }, "message rate +Inf"},
		{"negative byte rate", func(o *Options) { o.FrontendRate.Bytes = -1 }, "frontend: byte rate -1"},
		{"negative burst", func(o *Options) { o.FrontendRate = Rate{Messages: 1, Burst: -1} }, "burst -1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := Options{Callbacks: NopCallbacks{}}
			tt.set(&opts)
			m, err := NewManager(opts)
			if m != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestPrepareAttachesBeforeAnybodyFindsTheSession(t *testing.T) {
	opts := testOptions()
	type link struct{ s *Session }
	var m *Manager
	on(&opts).prepare = func(s *Session) any {
		if m.Get(s.ID()) != nil || m.ByDevice("d") != nil {
			t.Error("the session is in a table before it is prepared")
		}
		return &link{s}
	}
	on(&opts).connect = func(s *Session) {
		if s.Attachment().(*link).s != s || m.ByDevice("d") != s || m.Get(s.ID()) != s {
			t.Error("OnConnect runs before the session is complete")
		}
	}
	m = newTestManager(t, opts)
	connect(t, m, device("d"))
}

func TestSessionClosedInOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		var ended []Cause
		on(&opts).connect = func(s *Session) { s.Fail(protocol.CloseUnauthorized, "not today") }
		on(&opts).disconnect = func(_ *Session, c Cause) { ended = append(ended, c) }
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		synctest.Wait()
		equal(t, "written", f.sentText(), "close:4001:unauthorized")
		equal(t, "causes", ended, "[{unauthorized unauthorized not today}]")
		equal(t, "open, Len", fmt.Sprint(s.Open(), m.Len()), "false 0")
		time.Sleep(2*time.Second + wheelTick)
		if !f.closed() {
			t.Error("the transport is open after the grace time")
		}
	})
}
