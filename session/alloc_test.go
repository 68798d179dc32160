//go:build !race

// The race detector allocates and empties pools at random, so these budgets
// hold without it only.

package session

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// sink is a transport that takes everything and costs nothing.
type sink struct{ s *Session }

func (k *sink) Write(b []byte) (int, error) { return len(b), nil }
func (k *sink) Buffered() int               { return 0 }
func (k *sink) Close() error                { k.s.TransportClosed(nil); return nil }
func (k *sink) attach(s *Session)           { k.s = s }

func connectSink(t testing.TB, m *Manager) *Session {
	t.Helper()
	s, err := m.Add(frontend, new(sink))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSessionSize(t *testing.T) {
	const budget = 512
	size := unsafe.Sizeof(Session{})
	t.Logf("a Session has %d bytes, %d of them its outbox", size, unsafe.Sizeof(outbox{}))
	if size > budget {
		t.Errorf("a Session has %d bytes, at most %d allowed", size, budget)
	}
}

// TestAllocations holds the paths that run for each message to their budget.
func TestAllocations(t *testing.T) {
	opts := testOptions()
	opts.DeviceRate = Rate{Messages: 1e6, Burst: 2e6, Bytes: 1e12}
	opts.FrontendRate = opts.DeviceRate
	// The test itself flushes, so that it sees what flushing allocates.
	opts.FlushInterval = time.Hour
	m := newTestManager(t, opts)
	var all []*Session
	for range 50 {
		all = append(all, connectSink(t, m))
	}
	one := all[0]
	payload := telemetry(1, 0, 100).Wire()[4:]
	var routed protocol.Envelope
	if err := routed.Parse([]byte(`{"type":"t.x","payload":{"bytes":"0123456789"}}`)); err != nil {
		t.Fatal(err)
	}
	var timer Timer
	tests := []struct {
		name string
		want float64
		run  func()
	}{
		{"telemetry to 50 sessions and the flush", 0, func() {
			f := NewFrame(len(payload) + 4)
			f.AppendTelemetry(payload, 1, 0, 100)
			for _, s := range all {
				_ = s.SendTelemetry(f, nil)
			}
			f.Release()
			for _, s := range all {
				s.Flush()
			}
		}},
		{"16 telemetry frames in a batch, to 50 sessions", 0, func() {
			f := NewFrame(16 * (len(payload) + 4))
			for i := range uint64(16) {
				if !f.AppendTelemetry(payload, 1, 100*i, 100*i+100) {
					t.Fatal("does not fit")
				}
			}
			for _, s := range all {
				_ = s.SendTelemetry(f, nil)
			}
			f.Release()
			for _, s := range all {
				s.Flush()
			}
		}},
		{"Send and Flush", 0, func() {
			f := NewTextFrameFor(5)
			f.Extend(func(b []byte) []byte { return append(b, "hello"...) })
			_ = one.Send(f, false)
			f.Release()
			one.Flush()
		}},
		{"20 of Send, then Flush", 0, func() {
			for range 20 {
				f := NewTextFrameFor(5)
				f.Extend(func(b []byte) []byte { return append(b, "hello"...) })
				_ = one.Send(f, true)
				f.Release()
			}
			one.Flush()
		}},
		{"100 of SendEnvelope, then Flush", 0, func() {
			for range 100 {
				_ = one.SendEnvelope(&routed, protocol.Splice{Src: "a"}, false, 0)
			}
			one.Flush()
		}},
		{"a message received, with the rate limit", 0, func() {
			one.Heard()
			_ = one.HandleMessage(wsframe.OpText, payload)
			one.EndRead()
		}},
		{"a ping answered", 0, func() {
			one.Heard()
			_ = one.HandleControl(wsframe.OpPing, payload[:8])
			one.EndRead()
		}},
		{"a heartbeat", 0, func() {
			one.nextPing = 0
			one.Expire(time.Time{})
			one.Flush()
		}},
		{"look-ups", 0, func() {
			_ = m.Get(one.ID())
			_ = m.ByDeviceBytes(payload[:8])
			_ = m.ByDevice("d")
		}},
		{"a timer", 0, func() {
			m.Wheel().Schedule(&timer, time.Now().Add(time.Hour))
			m.Wheel().Cancel(&timer)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for range 3 {
				tt.run() // rings and pools grow once
			}
			if got := testing.AllocsPerRun(200, tt.run); got > tt.want {
				t.Errorf("%.0f allocations, at most %.0f allowed", got, tt.want)
			}
		})
	}
}

// BenchmarkFanOut queues one batch of 16 telemetry frames for 200 sessions and
// writes it to each; the figure is the cost of one frame for one receiver.
func BenchmarkFanOut(b *testing.B) {
	for _, samples := range []int{1, 24, 100} {
		b.Run(fmt.Sprintf("samples=%d", samples), func(b *testing.B) {
			opts := testOptions()
			opts.FlushInterval = time.Hour
			m := newTestManager(b, opts)
			var all []*Session
			for range 200 {
				all = append(all, connectSink(b, m))
			}
			wire := telemetry(1, 0, samples).Wire()
			payload := wire[len(wire)-protocol.TelemetryHeaderSize-4*samples:]
			b.SetBytes(int64(16 * 200 * (len(payload) + wsframe.HeaderSize(len(payload)))))
			b.ReportAllocs()
			for seq := uint64(0); b.Loop(); {
				f := NewFrame(16 * (len(payload) + 4))
				for range 16 {
					f.AppendTelemetry(payload, 1, seq, seq+uint64(samples))
					seq += uint64(samples)
				}
				for _, s := range all {
					_ = s.SendTelemetry(f, nil)
				}
				f.Release()
				for _, s := range all {
					s.Flush()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(16*200), "ns/delivery")
		})
	}
}

// BenchmarkUnicast is one command's way out: Send and Flush.
func BenchmarkUnicast(b *testing.B) {
	m := newTestManager(b, testOptions())
	s := connectSink(b, m)
	text := make([]byte, 128)
	b.ReportAllocs()
	for b.Loop() {
		f := NewTextFrame(text)
		_ = s.Send(f, false)
		f.Release()
		s.Flush()
	}
}
