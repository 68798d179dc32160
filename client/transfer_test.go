package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

// A network that reads nothing holds one batch; urgent text comes right after
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
		go func() { // a device that appends each sample by itself
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
		for range 2 { // and the waiting telemetry leaves with the text
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
