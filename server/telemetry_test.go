package server

import (
	"math/rand/v2"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// stream checks that the telemetry of one stream is complete and in order.
type stream struct {
	t      testing.TB
	number uint32
	next   uint64
	frames int
}

// take checks one frame of f32 samples made by telemetry.
func (s *stream) take(frame []byte) {
	s.t.Helper()
	var h protocol.TelemetryHeader
	if err := h.Parse(frame); err != nil {
		s.t.Fatal(err)
	}
	if h.Stream != s.number || h.Seq != s.next {
		s.t.Fatalf("frame %d: stream %d seq %d, want stream %d seq %d", s.frames, h.Stream, h.Seq, s.number, s.next)
	}
	body := frame[protocol.TelemetryHeaderSize:]
	for i := range int(h.Count) {
		if v := protocol.F32At(body, i*int(h.Channels)); v != float32(h.Seq+uint64(i)) {
			s.t.Fatalf("seq %d sample %d is %v", h.Seq, i, v)
		}
	}
	s.next = h.End()
	s.frames++
}

// TestTelemetryIsComplete sends 20,000 frames in bursts of uneven size to
// several front ends; each gets every frame, in order.
func TestTelemetryIsComplete(t *testing.T) {
	const frames, receivers = 20_000, 3
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.TelemetryBytes, o.Pollers = 64<<20, 2 })
		dev := g.upgrade("/ws/device/d")
		var fes []*peer
		for range receivers {
			fes = append(fes, g.upgrade("/ws/frontend"))
		}
		none := g.upgrade("/ws/frontend?telemetry=none")
		sent := make(chan uint64, 1)
		go func() {
			var burst []byte
			seq, size := uint64(0), 0
			for n := range frames {
				count := 1 + n%100
				burst = wsframe.AppendMaskedFrame(burst, wsframe.OpBinary, rand.Uint32(), telemetry(seq, count))
				seq += uint64(count)
				if size--; size <= 0 || n == frames-1 {
					if _, err := dev.conn.Write(burst); err != nil {
						t.Error(err)
						break
					}
					burst, size = burst[:0], rand.IntN(200)
				}
			}
			sent <- seq
		}()
		for _, fe := range fes {
			s := stream{t: t, number: *dev.welcome.Stream}
			for s.frames < frames {
				f, err := fe.next()
				if err != nil {
					t.Fatalf("after %d frames: %v", s.frames, err)
				}
				if f.op != wsframe.OpBinary {
					t.Fatalf("%v came: %s", f.op, f.data)
				}
				s.take(f.data)
			}
		}
		total := <-sent
		dev.text(`{"type":"test.end"}`)
		none.await("test.end")
		for _, fe := range fes {
			fe.await("test.end")
		}
		if n := g.router.Stats().SamplesIn.Load(); n != total {
			t.Errorf("%d samples counted, %d sent", n, total)
		}
		if n := g.manager.Stats().SamplesOut.Load(); n != receivers*total {
			t.Errorf("%d samples out, want %d", n, receivers*total)
		}
	})
}

// TestTelemetryUpToTheLimit sends frames from the smallest to the largest
// message that is accepted.
func TestTelemetryUpToTheLimit(t *testing.T) {
	const limit = 1 << 20
	counts := []int{1, 2, 1000, 4087, 4088, 16376, 16377, 65535}
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.TelemetryBytes, o.MaxMessage = 64<<20, limit })
		dev, fe := g.upgrade("/ws/device/d"), g.upgrade("/ws/frontend")
		s := stream{t: t, number: *dev.welcome.Stream}
		for range 3 {
			seq := s.next
			done := make(chan struct{})
			go func() {
				defer close(done)
				for _, count := range counts {
					_, _ = dev.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpBinary, rand.Uint32(), telemetry(seq, count)))
					seq += uint64(count)
				}
				// The largest: 65,532 samples of four channels and the header
				// are 44 bytes short of the limit.
				h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: seq, DT: 1, Channels: 4, Count: 65532}
				b := h.Append(nil)
				for i := range 65532 {
					v := float32(seq + uint64(i))
					b = protocol.AppendF32(b, v, -v, 0, 1)
				}
				_, _ = dev.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpBinary, rand.Uint32(), b))
			}()
			for range len(counts) + 1 {
				f, err := fe.next()
				if err != nil || f.op != wsframe.OpBinary {
					t.Fatalf("%v %.100q, %v", f.op, f.data, err)
				}
				s.take(f.data)
			}
			<-done
		}
	})
}
