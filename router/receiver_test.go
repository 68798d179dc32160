package router

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// recorder is a Receiver that is no session. It keeps the frames.
type recorder struct {
	batches []span
	devices []string
	remote  []bool
	lost    []Loss
	frames  []*session.Frame
}

func (x *recorder) ReceiveBatch(b *Batch) {
	from, to := b.Frame.Range()
	x.batches = append(x.batches, span{from: from, to: to})
	x.devices = append(x.devices, b.Device)
	x.remote = append(x.remote, b.Remote)
	b.Frame.Retain()
	x.frames = append(x.frames, b.Frame)
}

func (x *recorder) ReceiveLoss(l Loss) { x.lost = append(x.lost, l) }

func (x *recorder) release() {
	for _, f := range x.frames {
		f.Release()
	}
}

// TestReceiversThatAreNoSessions: such receivers get the telemetry of all
// devices, with and without subscribed front ends, and may keep the frames.
func TestReceiversThatAreNoSessions(t *testing.T) {
	x := new(recorder)
	inBubble(t, func(t *testing.T, g *gateway) {
		d1, d2 := g.device("d1"), g.device("d2")
		d1.sendBinary(telemetry(0, 10), telemetry(10, 5))
		a := g.frontend("alice")
		a.send(`{"type":"gateway.subscribe","payload":{"devices":["d2"]}}`)
		d2.sendBinary(telemetry(7, 3))
		d1.sendBinary(telemetry(20, 1))
		synctest.Wait()
		if want := []span{{from: 0, to: 15}, {from: 7, to: 10}, {from: 20, to: 21}}; !slices.Equal(x.batches, want) {
			t.Errorf("got %v, want %v", x.batches, want)
		}
		if got := strings.Join(x.devices, " "); got != "d1 d2 d1" {
			t.Errorf("devices %s", got)
		}
		if slices.Contains(x.remote, true) {
			t.Errorf("remote: %v", x.remote)
		}
		// The kept frame equals the front end's.
		_, payload, _ := wsframe.CutFrame(x.frames[1].Wire())
		var h protocol.TelemetryHeader
		if err := h.Parse(payload); err != nil || h.Seq != 7 || h.Stream != *d2.welcome.Stream {
			t.Errorf("kept %+v, %v", h, err)
		}
		a.take()
	}, func(o *Options, _ *session.Options) { o.Receivers = []Receiver{x} })
	x.release()
}

// TestReceiversGetTheTelemetryOfOtherNodes: receivers get telemetry and losses
// of remote devices. None of it goes back to the bus.
func TestReceiversGetTheTelemetryOfOtherNodes(t *testing.T) {
	x, bus := new(recorder), new(countingBus)
	inBubble(t, func(t *testing.T, g *gateway) {
		a := g.frontend("alice")
		g.holdElsewhere("d")
		member{g.r}.InterestChanged(elsewhere, "d", true)
		bus.batches = 0
		member{g.r}.ReceiveTelemetry(elsewhere, batchOf("d", 0, 5))
		member{g.r}.ReceiveTelemetry(elsewhere, batchOf("d", 20, 5))
		if want := []span{{from: 0, to: 5}, {from: 20, to: 25}}; !slices.Equal(x.batches, want) || slices.Contains(x.remote, false) {
			t.Errorf("got %v, remote %v", x.batches, x.remote)
		}
		if want := []Loss{{Device: "d", Stream: 1, Samples: federation.Samples{From: 5, To: 20, Count: 15}}}; !slices.Equal(x.lost, want) {
			t.Errorf("lost %v, want %v", x.lost, want)
		}
		if bus.batches != 0 {
			t.Errorf("%d batches were given to the bus again", bus.batches)
		}
		a.take()
	}, ofSeveral, func(o *Options, _ *session.Options) {
		o.Receivers = []Receiver{x}
		bus.Bus, o.Bus = o.Bus, bus
	})
	x.release()
}

// countingBus counts the batches sent to it.
type countingBus struct {
	federation.Bus
	batches int
}

func (b *countingBus) SendTelemetry(*federation.Batch) { b.batches++ }

// TestTelemetryWithoutReceiversIsNotCopied: without a receiver telemetry is
// counted and not copied.
func TestTelemetryWithoutReceiversIsNotCopied(t *testing.T) {
	g := newGateway(t)
	d := g.sink(session.Info{Role: session.RoleDevice, Name: "d1"})
	d.read(wsframe.OpBinary, telemetry(0, 10), telemetry(10, 10))
	if f := d.sess.Attachment().(*deviceConn).telemetry.frame; f != nil {
		t.Error("a batch was made for nobody")
	}
	if n := g.r.Stats().SamplesIn.Load(); n != 20 {
		t.Errorf("%d samples counted", n)
	}
}
