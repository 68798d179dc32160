package client

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

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

// However samples are given, the frames continue each other without a gap and
// hold the values in order, with the times that follow from the first one.
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

// The frames that are kept while there is no connection are the newest, and
// the numbers tell exactly what was dropped.
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

		// A gateway that takes less than the one before gets what it takes.
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

// A network that takes nothing holds one batch; urgent text comes right after
// it, ordinary text next, and only then the telemetry that was there before.
func TestUrgentTextOvertakesQueuedTelemetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		cfg := g.config()
		cfg.SendBuffer.Telemetry = 64 << 20
		d := dialDevice(t, cfg, DeviceConfig{})
		s := g.next()
		stream := newStream[int32](t, d, 1, time.Millisecond, 250) // frames of about 1 KiB
		values := make([]int32, 250)
		const frames = 1000
		for range frames {
			check(t, stream.Append(values...))
		}
		synctest.Wait() // the sender is stuck in its first write
		for _, m := range []protocol.Message{{Type: "first"}, {Type: "second"}} {
			check(t, d.Send(m))
			m.Type = "urgent." + m.Type
			check(t, d.SendUrgent(m))
		}
		var order []string
		before, after := 0, 0
		next := uint64(0)
		for before+after < frames {
			typ, b, err := s.ws.Read(context.Background())
			check(t, err)
			if typ == websocket.MessageText {
				var e protocol.Envelope
				check(t, e.Parse(b))
				order = append(order, string(e.Type))
				continue
			}
			var h protocol.TelemetryHeader
			check(t, h.Parse(b))
			if h.Seq != next {
				t.Fatalf("telemetry from %d, want %d", h.Seq, next)
			}
			next = h.End()
			if len(order) == 0 {
				before++
			} else {
				after++
				if len(order) != 4 {
					t.Fatalf("telemetry between %v and the rest", order)
				}
			}
		}
		if got := strings.Join(order, " "); got != "urgent.first urgent.second first second" {
			t.Errorf("text in the order %s", got)
		}
		if most := batchSize/1024 + 2; before > most {
			t.Errorf("%d frames of 1 KiB came before the urgent text, want at most one batch, %d", before, most)
		}
		s.readOn()
		d.Close()
	})
}

// countingConn counts the writes to the network.
type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestManyFramesShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		cfg := g.config()
		var writes atomic.Int64
		cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := g.dial(ctx, network, addr)
			return countingConn{c, &writes}, err
		}
		d := dialDevice(t, cfg, DeviceConfig{})
		s := g.next()
		synctest.Wait()
		stream := newStream[float32](t, d, 3, 100*time.Microsecond, 1)
		writes.Store(0)
		go func() { // a device that gives every sample for itself
			for range 10_000 {
				if err := stream.Append(1, 2, 3); err != nil {
					t.Error(err)
				}
				time.Sleep(100 * time.Microsecond)
			}
		}()
		began := time.Now()
		worst := time.Duration(0)
		for i := range 10_000 {
			h, _ := s.frame()
			if h.Seq != uint64(i) {
				t.Fatalf("frame %d is %d", i, h.Seq)
			}
			worst = max(worst, time.Since(time.Unix(0, h.T0)))
		}
		if took := time.Since(began); took > time.Second+10*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if n := writes.Load(); n > 1100 {
			t.Errorf("%d writes for 10000 frames in a second, want one a millisecond", n)
		}
		if worst > time.Millisecond {
			t.Errorf("a sample waited %v, want at most the flush interval, 1ms", worst)
		}
		// A burst fills whole batches.
		writes.Store(0)
		for range 10_000 {
			check(t, stream.Append(1, 2, 3))
		}
		for range 10_000 {
			s.frame()
		}
		if n := writes.Load(); n > 20 {
			t.Errorf("%d writes for a burst of 10000 frames, 500 kB", n)
		}
		// Text does not wait.
		began = time.Now()
		check(t, stream.Append(1, 2, 3))
		check(t, d.Send(protocol.Message{Type: "at.once"}))
		for range 2 { // and takes the telemetry along that would have waited
			if _, _, err := s.ws.Read(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("text waited %v", took)
		}
		s.readOn()
		d.Close()
	})
}

func TestFlushWaitsForTheNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		d := dialDevice(t, g.config(), DeviceConfig{})
		s := g.next()
		check(t, d.Flush(t.Context())) // nothing to do
		stream := newStream[int16](t, d, 1, time.Millisecond, 1)
		check(t, stream.Append(1))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush to a gateway that does not read: %v", err)
		}
		flushed := make(chan error, 1)
		go func() { flushed <- d.Flush(context.Background()) }()
		s.frame()
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		check(t, stream.Append(2))
		go func() { flushed <- d.Flush(context.Background()) }()
		synctest.Wait()
		s.vanish()
		if err := <-flushed; !errors.Is(err, ErrNotConnected) {
			t.Errorf("Flush over the end of a connection: %v", err)
		}
		d.Close()
	})
}

// A device that samples must not feed the garbage collector.
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

func BenchmarkOneSampleFrames(b *testing.B) {
	g := newGateway(b, false)
	d := dialDevice(b, g.config(), DeviceConfig{})
	g.next().discard(b)
	stream := newStream[float32](b, d, 3, 100*time.Microsecond, 1)
	b.ReportAllocs()
	for b.Loop() {
		if err := stream.Append(1, 2, 3); err != nil {
			b.Fatal(err)
		}
		if d.Stats().TelemetryQueued > 1<<20 {
			if err := d.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// discard reads data messages, too, and forgets them.
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
