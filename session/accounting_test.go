package session

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// ledgerCheck reads what a receiver was sent and follows each stream: what is
// written and what is told as lost must together be everything, in order.
type ledgerCheck struct {
	next       map[uint32]uint64
	lost, data uint64
}

func (l *ledgerCheck) read(frames []wireFrame) error {
	for i, w := range frames {
		stream, from, to, kind := uint32(0), uint64(0), uint64(0), "data"
		if loss, ok := w.lost(); ok {
			stream, from, to, kind = loss.Stream, loss.From, loss.To, "loss"
			l.lost += to - from
		} else if w.op == 2 {
			h := w.header()
			stream, from, to = h.Stream, h.Seq, h.End()
			l.data += to - from
		} else {
			continue
		}
		if from != l.next[stream] || to <= from {
			return fmt.Errorf("frame %d: %s of stream %d is [%d,%d), but the samples before it end at %d", i, kind, stream, from, to, l.next[stream])
		}
		l.next[stream] = to
	}
	return nil
}

// TestDropOldestAccountsForEverySample runs random loads of interleaved streams
// against a peer that stalls, for many sizes of the queue.
func TestDropOldestAccountsForEverySample(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			opts := testOptions()
			opts.FlushInterval = time.Duration(rng.IntN(2)) * time.Millisecond
			opts.TelemetryBytes = 100 + rng.IntN(8000)
			opts.InflightBytes = 1 + rng.IntN(4000)
			opts.ControlBytes = 1 << 20
			opts.Flushers = 1 + rng.IntN(2)
			m := newTestManager(t, opts)
			info := frontend
			info.Blocking = rng.IntN(4) == 0
			s, f := connect(t, m, info)
			var release func()

			var tr tracked
			streams := 1 + rng.IntN(6)
			sent := make(map[uint32]uint64)
			var texts, total uint64
			for range 400 {
				stream := uint32(rng.IntN(streams))
				switch rng.IntN(20) {
				case 0:
					text := tr.add(NewTextFrame([]byte("text")))
					if err := s.Send(text, rng.IntN(2) == 0); err != nil {
						t.Fatal(err)
					}
					text.Release()
					s.Flush()
					texts++
				case 1:
					n := uint64(1 + rng.IntN(50))
					s.ReportLoss(stream, sent[stream], sent[stream]+n, n, LossBus)
					sent[stream] += n
					total += n
				case 2:
					f.stall(true)
				case 3:
					f.stall(false)
				case 4:
					f.progress(int64(rng.IntN(2 * opts.InflightBytes)))
				case 5:
					time.Sleep(time.Duration(rng.IntN(3)) * opts.FlushInterval)
					synctest.Wait()
				case 6:
					if info.Blocking && release == nil {
						release = f.block()
					} else if release != nil {
						release()
						release = nil
					}
				default:
					n := 1 + rng.IntN(60)
					if rng.IntN(30) == 0 {
						n = 1 + rng.IntN(2*opts.TelemetryBytes/4)
					}
					data := tr.add(telemetry(stream, sent[stream], n))
					if err := s.SendTelemetry(data, nil); err != nil {
						t.Fatal(err)
					}
					data.Release()
					sent[stream] += uint64(n)
					total += uint64(n)
				}
				s.out.mu.Lock()
				if queued := s.out.telemetry.bytes; queued > opts.TelemetryBytes {
					t.Fatalf("seed %d: %d bytes of telemetry queued, at most %d allowed", seed, queued, opts.TelemetryBytes)
				}
				s.out.mu.Unlock()
			}
			if release != nil {
				release()
			}
			f.stall(false)
			time.Sleep(time.Second)
			synctest.Wait()

			check := ledgerCheck{next: make(map[uint32]uint64)}
			if err := check.read(parseWire(f.wire)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for stream, n := range sent {
				if check.next[stream] != n {
					t.Errorf("seed %d: stream %d ends at sample %d for the receiver, %d were sent", seed, stream, check.next[stream], n)
				}
			}
			st := m.Stats()
			equal(t, "samples written and lost", check.data+check.lost, total)
			equal(t, "LostSamples", fmt.Sprint(st.LostSamples.Load(), " ", s.Health().LostSamples), fmt.Sprint(check.lost, " ", check.lost))
			equal(t, "SamplesOut", st.SamplesOut.Load(), check.data)
			equal(t, "MessagesOut", st.MessagesOut.Load(), texts)
			equal(t, "BytesOut", st.BytesOut.Load(), len(f.wire))
			equal(t, "Writes", st.Writes.Load(), f.writes)
			s.TransportClosed(nil)
			tr.check(t)
		})
		if t.Failed() {
			return
		}
	}
}

// TestMemoryOfAStalledPeerIsBounded overloads stalled peers in every queue.
func TestMemoryOfAStalledPeerIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := testOptions()
		opts.TelemetryBytes, opts.ControlBytes, opts.InflightBytes = 20_000, 10_000, 5_000
		m := newTestManager(t, opts)
		s, f := connect(t, m, frontend)
		f.stall(true)
		for i := range 10_000 {
			_ = sendTelemetry(s, uint32(i%10), uint64(i/10*20), 20)
			if i%100 == 0 {
				time.Sleep(opts.FlushInterval)
			}
			if i%500 == 0 {
				_ = sendText(s, "some text", false)
				s.Flush()
			}
			s.out.mu.Lock()
			o := &s.out
			if o.telemetry.bytes > opts.TelemetryBytes || o.control.bytes > opts.ControlBytes {
				t.Fatalf("queued: %d bytes of telemetry, %d of control", o.telemetry.bytes, o.control.bytes)
			}
			if n := len(o.telemetry.ring); n > 512 {
				t.Fatalf("a ring of %d for %d frames", n, o.telemetry.count)
			}
			if o.lost != nil && len(o.lost.ranges) > 10 {
				t.Fatalf("%d ranges of loss remembered for 10 streams", len(o.lost.ranges))
			}
			s.out.mu.Unlock()
		}
		// A write begins with any frame when there is any room.
		if peak := f.peak.Load(); peak > int64(opts.InflightBytes+120) {
			t.Errorf("%d bytes were on their way, at most %d and one frame allowed", peak, opts.InflightBytes)
		}
		if !s.Open() {
			t.Error("the session was closed")
		}
	})
}

func TestIdleSessionKeepsNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestManager(t, testOptions())
		s, f := stalled(t, m)
		for i := range 5000 {
			_ = sendTelemetry(s, 1, uint64(i), 1)
			_ = sendText(s, "x", i%2 == 0)
		}
		time.Sleep(time.Millisecond)
		f.stall(false)
		synctest.Wait()
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		o := &s.out
		if n := max(len(o.telemetry.ring), len(o.control.ring), len(o.urgent.ring)); n > keepRing || o.telemetry.bytes+o.control.bytes+o.urgent.bytes != 0 {
			t.Errorf("an empty outbox keeps a ring of %d frames", n)
		}
	})
}

func TestFrameThatGrewIsNotPooled(t *testing.T) {
	f := NewFrame(100)
	if !f.AppendTelemetry(make([]byte, 1<<20), 1, 0, 1) {
		t.Fatal("the first telemetry of a frame must fit")
	}
	f.Release()
	for range 100 {
		if f := NewFrame(100); cap(f.wire) > frameClasses[0] {
			t.Fatalf("a frame for 100 bytes has a buffer of %d", cap(f.wire))
		}
	}
}

func TestFrames(t *testing.T) {
	f := telemetry(3, 10, 5)
	payload := append([]byte{}, f.Wire()[2:]...)
	for name, refused := range map[string]bool{
		"another stream": f.AppendTelemetry(payload, 4, 15, 16),
		"a gap":          f.AppendTelemetry(payload, 3, 16, 17),
		"too large":      f.AppendTelemetry(make([]byte, 1000), 3, 15, 16),
	} {
		if refused {
			t.Errorf("%s was joined", name)
		}
	}
	if !f.AppendTelemetry(payload, 3, 15, 20) || f.Frames() != 2 || f.Samples() != 10 || f.Len() != 2*(2+len(payload)) {
		t.Errorf("two frames joined: %d frames, %d samples, %d bytes", f.Frames(), f.Samples(), f.Len())
	}
	f.Release()

	big := NewFrame(20 << 10)
	big.AppendTelemetry(payload, 3, 15, 20)
	small := big.Compact()
	if small == big || cap(small.wire) != frameClasses[0] || small.Samples() != 5 || small.stream != 3 || !small.telemetry || string(small.wire[2:]) != string(payload) {
		t.Errorf("Compact: %d bytes in a buffer of %d, %d samples", small.Len(), cap(small.wire), small.Samples())
	}
	if small.Compact() != small {
		t.Error("Compact copies what is compact")
	}
	small.Release()
}
