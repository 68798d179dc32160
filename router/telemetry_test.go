package router

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

func TestTelemetryIsStampedAndElseUnchanged(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		g.device("d0")
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		envelope := protocol.TelemetryHeader{Kind: protocol.KindBuckets, Format: protocol.FormatI16, Flags: 0xA5, Seq: 1 << 60, T0: -1, DT: 7, Channels: 3, Count: 8}
		frames := [][]byte{
			telemetry(1<<30, 1),
			telemetry(0, 1000),
			append(envelope.Append(nil), bytes.Repeat([]byte{1, 2, 3}, envelope.BodySize()/3)...),
			// The largest frame: 65535 samples of an i16.
			append((&protocol.TelemetryHeader{Kind: 1, Format: protocol.FormatI16, Channels: 1, Count: 65535}).Append(nil), make([]byte, 131070)...),
		}
		for i, frame := range frames {
			d.sendBinary(frame)
			got := a.one()
			want := bytes.Clone(frame)
			binary.LittleEndian.PutUint32(want[4:], 2)
			if got.op != wsframe.OpBinary || !bytes.Equal(got.data, want) {
				t.Errorf("frame %d was changed: %v", i, got)
			}
		}
		if st := g.r.Stats(); st.TelemetryFramesIn.Load() != 4 || st.SamplesIn.Load() != 1+1000+8+65535 {
			t.Errorf("counted %d frames, %d samples", st.TelemetryFramesIn.Load(), st.SamplesIn.Load())
		}
	})
}

// TestOneReadIsOneBatch: the telemetry of a read event is queued together,
// complete, in order and in one write.
func TestOneReadIsOneBatch(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a, b := g.device("d1"), g.frontend("alice"), g.frontend("bob")
		g.quiet()
		var frames [][]byte
		for i := range 50 {
			frames = append(frames, telemetry(uint64(i), 1))
		}
		// After the first reads the router's buffers fit the length of the
		// reads.
		for range 3 {
			d.sendBinary(frames...)
		}
		g.quiet()
		before := a.writeCount()
		d.sendBinary(frames...)
		synctest.Wait()
		if n := a.writeCount() - before; n != 1 {
			t.Errorf("%d writes", n)
		}
		for _, p := range []*peer{a, b} {
			got := p.spans()
			if len(got) != 50 {
				t.Fatalf("%d frames", len(got))
			}
			checkTiled(t, got, 1, 0, 50)
		}
	})
}

// TestBatchesOfAllSizes sends reads of very different lengths. The batch's
// buffer adapts, and no frame is lost.
func TestBatchesOfAllSizes(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		rng := newRand(7)
		seq := uint64(0)
		for range 100 {
			var frames [][]byte
			for range []int{1, 1, 3, 40, 400}[rng.IntN(5)] {
				n := []int{1, 1, 1, 1, 2, 10, 10, 50, 300, 3000}[rng.IntN(10)]
				frames = append(frames, telemetry(seq, n))
				seq += uint64(n)
			}
			d.sendBinary(frames...)
		}
		synctest.Wait()
		checkTiled(t, a.spans(), 1, 0, seq)
	}, func(_ *Options, so *session.Options) { so.TelemetryBytes = 1 << 30 })
}

// TestAGapOfTheDevicesOwnStaysAGap: a gap that the device leaves is not
// reported as a loss.
func TestAGapOfTheDevicesOwnStaysAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		var frames [][]byte
		seqs := []uint64{0, 1, 2, 10, 11, 5, 6, 6, 0, 1 << 40, 1<<40 + 1}
		for _, seq := range seqs {
			frames = append(frames, telemetry(seq, 1))
		}
		d.sendBinary(frames...)
		synctest.Wait()
		got := a.spans()
		if len(got) != len(seqs) {
			t.Fatalf("%d frames of %d", len(got), len(seqs))
		}
		for i, s := range got {
			if s.lost || s.from != seqs[i] || s.to != seqs[i]+1 {
				t.Errorf("frame %d: %+v, want seq %d", i, s, seqs[i])
			}
		}
	})
}

// TestAGapMakesTheLossesExact: a reported loss around a gap of the device does
// not include samples that the device never sent.
func TestAGapMakesTheLossesExact(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.stall(true)
		d.sendBinary(telemetry(0, 100), telemetry(100, 100), telemetry(1000, 100))
		// Larger than the queue: all earlier telemetry is dropped.
		d.sendBinary(telemetry(1100, 250))
		synctest.Wait()
		a.stall(false)
		synctest.Wait()
		want := []span{{1, 0, 200, true}, {1, 1000, 1100, true}, {1, 1100, 1350, false}}
		got := a.spans()
		if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
			t.Errorf("got %v, want %v", got, want)
		}
	}, func(_ *Options, so *session.Options) { so.TelemetryBytes = 1100 })
}

func TestTelemetryOfAFrontendIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		a, _ := g.frontend("alice"), g.frontend("bob")
		g.device("d1")
		g.quiet()
		a.sendBinary(telemetry(0, 1))
		a.oneError(protocol.ErrNotAllowed, "")
		g.only("")
		if h := a.sess.Health(); h.BadMessages != 1 {
			t.Errorf("%d bad messages", h.BadMessages)
		}
	})
}

func TestBadTelemetryIsNamed(t *testing.T) {
	change := func(offset int, b ...byte) []byte {
		frame := telemetry(0, 4)
		copy(frame[offset:], b)
		return frame
	}
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		for _, test := range []struct {
			field string
			frame []byte
		}{
			{"header", nil},
			{"header", telemetry(0, 1)[:31]},
			{"version", change(0, 2)},
			{"kind", change(1, 0)},
			{"kind", change(1, 3)},
			{"format", change(2, 0)},
			{"format", change(2, 5)},
			{"seq", change(8, bytes.Repeat([]byte{0xFF}, 8)...)},
			{"channels", change(28, 0, 0)},
			{"count", change(30, 0, 0)},
			{"count", change(30, 3, 0)},
			{"count", change(30, 5, 0)},
			{"count", append(telemetry(0, 1), 0)},
			{"count", change(1, 2, 1, 0, 0, 0, 0, 0)[:32+12]},
		} {
			d.sendBinary(test.frame)
			e := d.oneError(protocol.ErrBadMessage, "")
			if !strings.Contains(e.Message, `telemetry frame: field "`+test.field+`"`) {
				t.Errorf("%s: %s", test.field, e.Message)
			}
			a.none()
		}
		// Bad frames between good ones affect no good one.
		d.sendBinary(telemetry(0, 1), nil, telemetry(1, 1))
		d.oneError(protocol.ErrBadMessage, "")
		checkTiled(t, a.spans(), 1, 0, 2)
		if n := g.r.Stats().TelemetryFramesIn.Load(); n != 2 {
			t.Errorf("counted %d frames", n)
		}
	})
}

func TestTelemetryWithoutReceiversCostsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		none := g.connect(session.Info{Role: session.RoleFrontend, Telemetry: protocol.TelemetryNone})
		g.quiet()
		d.event(func() {
			frame := telemetry(0, 10)
			for range 100 {
				_ = d.sess.HandleMessage(wsframe.OpBinary, frame)
				if d.sess.Attachment().(*deviceConn).telemetry.frame != nil {
					t.Fatal("a batch was begun")
				}
			}
			if stream := binary.LittleEndian.Uint32(frame[4:]); stream != 0xDEAD {
				t.Errorf("the frame was stamped %d", stream)
			}
			d.sess.EndRead()
		})
		none.none()
		if st := g.r.Stats(); st.TelemetryFramesIn.Load() != 100 || st.SamplesIn.Load() != 1000 {
			t.Error("not counted")
		}
		// A front end that subscribes in the middle of a read gets the
		// following frames.
		d.event(func() {
			d.deliver(wsframe.OpBinary, telemetry(0, 1))
			g.frontend("late")
			d.deliver(wsframe.OpBinary, telemetry(1, 1))
			d.sess.EndRead()
		})
		synctest.Wait()
		checkTiled(t, g.peers[2].spans(), 1, 1, 2)
	})
}

// TestTheLastReadOfADeviceIsDelivered: also when the read contains a close
// frame or a frame that ends the session.
func TestTheLastReadOfADeviceIsDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		d.event(func() {
			d.sess.Heard()
			d.deliver(wsframe.OpBinary, telemetry(0, 1))
			d.deliver(wsframe.OpBinary, telemetry(1, 1))
			_ = d.sess.HandleControl(wsframe.OpClose, nil)
			// Frames after the close frame are ignored.
			d.deliver(wsframe.OpBinary, telemetry(2, 1))
			d.sess.EndRead()
		})
		time.Sleep(time.Second)
		checkTiled(t, a.spans(), 1, 0, 2)
	})
}

// checkTiled checks that spans cover [from, to) in order, without gap or
// overlap, and returns how many samples of them were lost.
func checkTiled(t testing.TB, got []span, stream uint32, from, to uint64) (lost uint64) {
	t.Helper()
	next := from
	for _, s := range got {
		if s.stream != stream || s.from != next {
			t.Fatalf("%+v where sample %d of stream %d is due", s, next, stream)
		}
		next = s.to
		if s.lost {
			lost += s.to - s.from
		}
	}
	if next != to {
		t.Fatalf("the last sample is %d, want %d", next, to)
	}
	return lost
}
