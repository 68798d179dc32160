package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/protocol"
)

// logBuffer collects a Manager's log, entry by entry.
type logBuffer struct{ bytes.Buffer }

func (b *logBuffer) entries(t *testing.T, message string) (out []map[string]any) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		var entry map[string]any
		if line == "" {
			continue
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if strings.HasPrefix(fmt.Sprint(entry["message"]), message) {
			out = append(out, entry)
		}
	}
	return out
}

// TestHealthParts: each part costs what it should, alone.
func TestHealthParts(t *testing.T) {
	tests := []struct {
		name    string
		arrange func(s *Session)
		score   int
		part    func(h Health) any
		value   any
	}{
		{"nothing to remark", func(*Session) {}, 100, func(h Health) any { return h.State }, Healthy},
		{"round trip of 50 ms", func(s *Session) { s.rtt.Store(int64(50 * time.Millisecond)) }, 100, func(h Health) any { return h.RTTMicros }, 50_000},
		{"round trip of 525 ms", func(s *Session) { s.rtt.Store(int64(525 * time.Millisecond)) }, 90, func(h Health) any { return h.RTTMicros }, 525_000},
		{"round trip of a minute", func(s *Session) { s.rtt.Store(int64(time.Minute)) }, 80, func(h Health) any { return h.RTTMicros }, 60_000_000},
		{"one ping on its way", func(s *Session) { s.unanswered.Store(1) }, 100, func(h Health) any { return h.UnansweredPings }, 1},
		{"two pings unanswered", func(s *Session) { s.unanswered.Store(2) }, 80, func(h Health) any { return h.UnansweredPings }, 2},
		{"many pings unanswered", func(s *Session) { s.unanswered.Store(9) }, 60, func(h Health) any { return h.UnansweredPings }, 9},
		{"heard 30 s ago", func(*Session) { time.Sleep(30 * time.Second) }, 100, func(h Health) any { return h.SinceHeardMillis }, 30_000},
		{"heard 60 s ago", func(*Session) { time.Sleep(60 * time.Second) }, 75, func(h Health) any { return h.SinceHeardMillis }, 60_000},
		{"outbox half full", func(s *Session) { fillControl(s, 500) }, 100, func(h Health) any { return h.OutboxFill }, 0.5},
		{"outbox three quarters full", func(s *Session) { fillControl(s, 750) }, 90, func(h Health) any { return h.OutboxFill }, 0.75},
		{"outbox full", func(s *Session) { fillControl(s, 1000) }, 80, func(h Health) any { return h.OutboxFill }, 1},
		{"telemetry queue full", func(s *Session) { _ = sendTelemetry(s, 1, 0, (1000-4-32)/4) }, 80, func(h Health) any { return h.OutboxFill }, 1},
		{"losses of late", func(s *Session) { s.ReportLoss(1, 0, 7, 7, LossBus); s.updateHealth(s.m.now()) }, 80, func(h Health) any { return h.LostSamples }, 7},
		{"losses long ago", func(s *Session) {
			s.ReportLoss(1, 0, 7, 7, LossBus)
			s.updateHealth(s.m.now())
			s.updateHealth(s.m.now())
		}, 100, func(h Health) any { return h.LostSamples }, 7},
		{"three bad messages", func(s *Session) {
			for i := range 3 {
				equal(t, "CountBadMessage", s.CountBadMessage(), i+1)
			}
			s.updateHealth(s.m.now())
		}, 97, func(h Health) any { return h.BadMessages }, 3},
		{"many bad messages", func(s *Session) {
			for range 50 {
				s.CountBadMessage()
			}
			s.updateHealth(s.m.now())
		}, 90, func(h Health) any { return h.BadMessages }, 50},
		{"everything", func(s *Session) {
			s.rtt.Store(int64(time.Minute))
			s.unanswered.Store(9)
			fillControl(s, 1000)
			time.Sleep(80 * time.Second)
		}, 0, func(h Health) any { return h.State }, Unresponsive},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.ControlBytes, opts.TelemetryBytes = 1000, 1000
				m := newTestManager(t, opts)
				s, f := connect(t, m, frontend)
				// For the measure only: the wheel has its next look far away.
				m.opts.HeartbeatInterval, m.opts.HeartbeatTimeout = 30*time.Second, 90*time.Second
				f.stall(true)
				f.buffered.Store(1 << 30)
				tt.arrange(s)
				h := s.Health()
				equal(t, "score", h.Score, tt.score)
				equal(t, "state", h.State, stateOf(tt.score))
				equal(t, "the part itself", tt.part(h), tt.value)
			})
		})
	}
}

func fillControl(s *Session, n int) {
	// 4 bytes of header from 126 bytes on (RFC 6455 section 5.2).
	_ = sendText(s, strings.Repeat("x", n-4), false)
}

func TestHealthStates(t *testing.T) {
	for score, want := range map[int]HealthState{100: Healthy, 70: Healthy, 69: Degraded, 30: Degraded, 29: Unresponsive, 0: Unresponsive} {
		equal(t, fmt.Sprint("state of ", score), stateOf(score), want)
	}
}

// TestHealthChangesAreLoggedOnce follows a peer that falls silent and comes
// back.
func TestHealthChangesAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		opts := livenessOptions()
		opts.HeartbeatTimeout = 10 * time.Minute
		opts.Logger = zerolog.New(&log).Level(zerolog.InfoLevel)
		m := newTestManager(t, opts)
		s, f := connect(t, m, device("d"))
		time.Sleep(8 * time.Minute) // 40 for the pings and most of 50 for the silence
		f.read(func(s *Session) { _ = s.HandleControl(10, nil) })
		for range 10 {
			time.Sleep(15 * time.Second)
			f.read(func(s *Session) { _ = s.HandleControl(10, nil) })
		}
		synctest.Wait()
		var changes []string
		for _, e := range log.entries(t, "session health changed") {
			changes = append(changes, fmt.Sprint(e["before"], ">", e["after"]))
			if e["session"] != s.ID().String() || e["name"] != "d" || e["role"] != "device" || e["level"] != "info" {
				t.Errorf("log entry %v does not say who", e)
			}
			for _, part := range []string{"score", "rtt_us", "since_heard_ms", "unanswered_pings", "outbox_fill", "lost_samples", "bad_messages"} {
				if _, ok := e[part]; !ok {
					t.Errorf("log entry lacks %s", part)
				}
			}
		}
		equal(t, "changes", changes, "[healthy>degraded degraded>unresponsive unresponsive>healthy]")
	})
}

func TestQuietLogByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		opts := livenessOptions()
		opts.Logger = zerolog.New(&log).Level(zerolog.InfoLevel)
		m := newTestManager(t, opts)
		s, _ := connect(t, m, device("d"), answering)
		time.Sleep(time.Hour)
		s.Close(protocol.CloseNormal, "")
		synctest.Wait()
		equal(t, "log of an hour without events", log.String(), "")
	})
}

// TestReplacementAlarm: more than five replacements of a device id within a
// minute are an alarm, once.
func TestReplacementAlarm(t *testing.T) {
	tests := []struct {
		name     string
		times    int
		distance time.Duration
		alarms   int
	}{
		{"five in a minute", 5, time.Second, 0},
		{"six in a minute", 6, time.Second, 1},
		{"fifty in a minute", 50, time.Second, 1},
		{"one every 20 seconds", 50, 20 * time.Second, 0},
		{"one a second, three minutes", 183, time.Second, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logBuffer
				opts := testOptions()
				opts.Logger = zerolog.New(&log).Level(zerolog.WarnLevel)
				m := newTestManager(t, opts)
				connect(t, m, device("d"))
				connect(t, m, device("other"))
				for i := range tt.times {
					time.Sleep(tt.distance)
					connect(t, m, device("d"))
					if i < 3 {
						connect(t, m, device("other"))
					}
				}
				entries := log.entries(t, "device id is replaced again and again")
				equal(t, "alarms in the log", len(entries), tt.alarms)
				for _, e := range entries {
					equal(t, "device, level", fmt.Sprint(e["device"], " ", e["level"]), "d warn")
				}
				equal(t, "counted alarms", m.Stats().ReplaceAlarms.Load(), tt.alarms)
				equal(t, "replacements", m.Stats().Replacements.Load(), tt.times+3)
			})
		})
	}
}

func TestReplacementsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		for range 10 {
			for i := range 50 {
				connect(t, m, device(fmt.Sprint("d", i)))
			}
			time.Sleep(5 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		connect(t, m, device("d1"))
		equal(t, "device ids remembered", len(m.replacements.devices), 1)
	})
}

func TestGrowthWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		opts := testOptions()
		opts.Logger = zerolog.New(&log).Level(zerolog.WarnLevel)
		m := newTestManager(t, opts)
		var all []*Session
		grow := func(n int) {
			for range n {
				s, _ := connect(t, m, frontend)
				all = append(all, s)
			}
		}
		warnings := func() int {
			synctest.Wait()
			return len(log.entries(t, "unusual growth of sessions"))
		}
		grow(50)
		time.Sleep(time.Hour)
		equal(t, "warnings in an hour of 50 sessions", warnings(), 0)
		grow(100)
		time.Sleep(time.Minute)
		equal(t, "warnings at 150 after 50", warnings(), 0)
		grow(200)
		time.Sleep(time.Minute)
		equal(t, "warnings at 350", warnings(), 1)
		grow(200)
		time.Sleep(time.Minute)
		equal(t, "warnings while it goes on growing", warnings(), 1)
		time.Sleep(time.Hour)
		equal(t, "warnings when it has become usual", warnings(), 1)
		grow(2000)
		time.Sleep(time.Minute)
		equal(t, "warnings at the next growth", warnings(), 2)
		equal(t, "counted", m.Stats().GrowthAlarms.Load(), 2)
		for _, s := range all {
			s.TransportClosed(nil)
		}
	})
}
