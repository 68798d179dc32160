package client

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

func newStream[T Value](t testing.TB, d *Device, channels int, dt time.Duration, perFrame int) *Stream[T] {
	t.Helper()
	s, err := NewStream[T](d, channels, dt, perFrame)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// For all sizes of Append the frames follow each other without a gap, and
// contain the values in order, with the times that follow from the first
// sample.
func TestStreamIsContinuous(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		d := dialDevice(t, g.config(), DeviceConfig{})
		s := g.next()
		stream := newStream[float32](t, d, 2, 100*time.Microsecond, 7)
		const samples = 1000
		began := time.Now()
		value := float32(0)
		for given := 0; given < samples; {
			n := min(given%19, samples-given) // 0, then all kinds of sizes
			if n == 0 {
				n = 1
			}
			values := make([]float32, 0, 2*n)
			for range n {
				values = append(values, value, -value)
				value++
			}
			check(t, stream.Append(values...))
			given += n
		}
		check(t, stream.Flush())
		check(t, stream.Flush()) // nothing left
		if seq := stream.Seq(); seq != samples {
			t.Errorf("the next sample is %d, want %d", seq, samples)
		}
		next := uint64(0)
		for next < samples {
			h, body := s.frame()
			if h.Seq != next || h.Kind != protocol.KindSamples || h.Format != protocol.FormatF32 || h.Channels != 2 || h.DT != 100_000 {
				t.Fatalf("frame %+v, want it to start at %d", h, next)
			}
			if h.Count != 7 && h.End() != samples {
				t.Fatalf("frame of %d samples before the end", h.Count)
			}
			if want := began.UnixNano() + int64(next)*100_000; h.T0 != want {
				t.Fatalf("sample %d at %d, want %d", h.Seq, h.T0, want)
			}
			for i := range int(h.Count) {
				if v := protocol.F32At(body, 2*i); v != float32(next) || protocol.F32At(body, 2*i+1) != -v {
					t.Fatalf("sample %d holds %g", next, v)
				}
				next++
			}
		}
		s.readOn()
		d.Close()
	})
}

func TestStreamFormats(t *testing.T) {
	g := newGateway(t, false)
	d := dialDevice(t, g.config(), DeviceConfig{})
	s := g.next()
	roundTrip(t, d, s, protocol.FormatF32, []float32{0, 1.5, -math.MaxFloat32, float32(math.Inf(1))}, protocol.F32At)
	roundTrip(t, d, s, protocol.FormatF64, []float64{0, math.Pi, -math.MaxFloat64, math.Inf(-1)}, protocol.F64At)
	roundTrip(t, d, s, protocol.FormatI16, []int16{0, 1, math.MinInt16, math.MaxInt16}, protocol.I16At)
	roundTrip(t, d, s, protocol.FormatI32, []int32{0, -1, math.MinInt32, math.MaxInt32}, protocol.I32At)
	s.readOn()
}

// roundTrip also shows that a stream can follow a closed one, from 0.
func roundTrip[T Value](t *testing.T, d *Device, s *fakeSession, format uint8, values []T, at func([]byte, int) T) {
	t.Helper()
	stream := newStream[T](t, d, len(values), time.Second, 2)
	if _, err := NewStream[T](d, 1, 1, 1); !errors.Is(err, ErrStreamOpen) {
		t.Errorf("a second stream: %v", err)
	}
	check(t, stream.Append(values...))
	check(t, stream.Close()) // sends the half frame
	check(t, stream.Close())
	h, body := s.frame()
	if h.Format != format || h.Seq != 0 || h.Count != 1 {
		t.Errorf("format %d: %+v", format, h)
	}
	for i, v := range values {
		if got := at(body, i); got != v {
			t.Errorf("format %d: %v arrives as %v", format, v, got)
		}
	}
	if err := errors.Join(stream.Append(values...), stream.Flush(), stream.Skip(1), stream.SetTime(time.Now())); err == nil || strings.Count(err.Error(), ErrClosed.Error()) != 4 {
		t.Errorf("after Close: %v", err)
	}
}

func TestStreamSkipAndSetTime(t *testing.T) {
	g := newGateway(t, false)
	d := dialDevice(t, g.config(), DeviceConfig{})
	s := g.next()
	stream := newStream[int16](t, d, 1, time.Millisecond, 10)
	start := time.Unix(1_700_000_000, 5)
	check(t, stream.SetTime(start))
	check(t, stream.Append(1, 2, 3))
	check(t, stream.Skip(100)) // sends the three
	check(t, stream.Append(4))
	check(t, stream.SetTime(start.Add(time.Hour)))
	check(t, stream.Append(5))
	check(t, stream.Close())
	for _, want := range []struct {
		seq   uint64
		count uint16
		at    time.Duration
	}{{0, 3, 0}, {103, 1, 103 * time.Millisecond}, {104, 1, time.Hour}} {
		h, _ := s.frame()
		if h.Seq != want.seq || h.Count != want.count || h.T0 != start.Add(want.at).UnixNano() {
			t.Errorf("%+v, want %d samples from %d at start+%v", h, want.count, want.seq, want.at)
		}
	}
	s.readOn()
}

func TestStreamChecksWhatItIsGiven(t *testing.T) {
	g := newGateway(t, false)
	g.welcome.MaxMessage = 1000
	d := dialDevice(t, g.config(), DeviceConfig{})
	g.next().readOn()
	for want, err := range map[string]error{
		"0 channels":            second(NewStream[int16](d, 0, 1, 1)),
		"65536 channels":        second(NewStream[int16](d, 65536, 1, 1)),
		"0 samples per frame":   second(NewStream[int16](d, 1, 1, 0)),
		"65536 samples":         second(NewStream[int16](d, 1, 1, 65536)),
		"0s between":            second(NewStream[int16](d, 1, 0, 1)),
		"5s between":            second(NewStream[int16](d, 1, 5*time.Second, 1)),
		"use fewer samples":     second(NewStream[float64](d, 1, 1, 122)),
		"are not whole samples": newStream[float64](t, d, 3, 1, 40).Append(1, 2, 3, 4),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// The frames that wait while there is no connection are the newest, and the
// sample numbers show exactly which were dropped.
func TestTelemetryOverAReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		cfg := g.config()
		const frame = protocol.TelemetryHeaderSize + 10*2 + frameOverhead
		cfg.SendBuffer.Telemetry = 5 * frame
		d := dialDevice(t, cfg, DeviceConfig{})
		s := g.next()
		stream := newStream[int16](t, d, 1, time.Millisecond, 10)
		ten := make([]int16, 10)
		check(t, stream.Append(ten...))
		if h, _ := s.frame(); h.Seq != 0 {
			t.Errorf("first %+v", h)
		}
		s.vanish()
		synctest.Wait()
		for range 12 {
			check(t, stream.Append(ten...))
		}
		if got := d.Stats(); got.DroppedFrames != 7 || got.DroppedSamples != 70 || got.TelemetryQueued != 5*frame {
			t.Errorf("stats %+v, want 7 frames dropped and 5 queued", got)
		}
		s = g.next()
		for i := range uint64(5) {
			if h, _ := s.frame(); h.Seq != 80+10*i {
				t.Errorf("after the reconnect: frame from %d, want %d", h.Seq, 80+10*i)
			}
		}
		check(t, stream.Append(ten...))
		if h, _ := s.frame(); h.Seq != 130 {
			t.Errorf("then from %d, want 130", h.Seq)
		}

		// A gateway with a smaller limit than the previous one gets only
		// messages within its limit.
		g.set(func() { g.welcome.MaxMessage = protocol.TelemetryHeaderSize + 19 })
		s.vanish()
		synctest.Wait()
		check(t, stream.Append(ten...))
		check(t, stream.Append(1, 2, 3))
		check(t, stream.Flush())
		s = g.next()
		if h, _ := s.frame(); h.Seq != 150 || h.Count != 3 {
			t.Errorf("after the large frame: %+v", h)
		}
		if n := d.Stats().DroppedSamples; n != 80 {
			t.Errorf("%d samples dropped, want 80", n)
		}
		s.readOn()
		d.Close()
		if err := stream.Append(ten...); !errors.Is(err, ErrClosed) {
			t.Errorf("Append after Close of the device: %v", err)
		}
	})
}

// Append must not allocate for each call.
func TestAppendAllocates(t *testing.T) {
	g := newGateway(t, false)
	d := dialDevice(t, g.config(), DeviceConfig{})
	g.next().discard(t)
	stream := newStream[float32](t, d, 3, 100*time.Microsecond, 10)
	values := make([]float32, 30)
	for range 1000 {
		check(t, stream.Append(values...))
	}
	if n := testing.AllocsPerRun(1000, func() { stream.Append(values...) }); n > 1 {
		t.Errorf("%g allocations for a frame, want less than one or one", n)
	}
}

// discard reads and forgets data messages, too.
func (s *fakeSession) discard(t testing.TB) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, _, err := s.ws.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		s.ws.CloseNow()
		<-done
	})
}
