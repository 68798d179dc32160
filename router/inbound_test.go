package router

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// elsewhere is the other node in these tests.
const elsewhere federation.NodeID = 0xE15E

// ofSeveral makes a gateway one of several nodes, on a bus of its own.
func ofSeveral(o *Options, so *session.Options) {
	bus := membus.NewHub().Bus("node-1")
	o.Bus, so.Node = bus, uint32(bus.Self())
}

// holdElsewhere joins the bus, where another node holds the device.
func (g *gateway) holdElsewhere(device string) {
	g.t.Helper()
	if err := g.r.Join(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(g.r.Leave)
	m := member{g.r}
	m.NodeJoined(elsewhere, "elsewhere")
	m.DeviceHeld(elsewhere, federation.Holding{Device: device, Epoch: g.r.registry.createdMicros + 1})
}

// batchOf returns a batch of frames with these numbers of samples, from seq
// on.
func batchOf(device string, seq uint64, counts ...int) *federation.Batch {
	b := &federation.Batch{Device: device, Range: federation.Range{Chain: 1, From: seq, To: seq}}
	for _, n := range counts {
		b.Wire = wsframe.AppendFrame(b.Wire, wsframe.OpBinary, telemetry(b.Range.To, n))
		b.Range.To += uint64(n)
	}
	return b
}

// moveOn turns a batch of frames of one size into the batch that follows.
func moveOn(b *federation.Batch, frames int) {
	size := len(b.Wire) / frames
	samples := (b.Range.To - b.Range.From) / uint64(frames)
	b.Range.From = b.Range.To
	for i := range frames {
		putSeq(b.Wire[i*size+wsframe.HeaderSize(size):], b.Range.To)
		b.Range.To += samples
	}
}

// Telemetry of a remote device reaches the front ends with this node's stream
// number. When a batch does not match its range, the part before the mismatch
// is delivered, and the rest is reported as lost.
func TestTelemetryOfAnotherNode(t *testing.T) {
	part := func(b *federation.Batch, bytes int) *federation.Batch {
		b.Wire = b.Wire[:bytes]
		return b
	}
	frame := wsframe.HeaderSize(32+4*5) + 32 + 4*5 // of five samples
	for _, c := range []struct {
		name string
		b    *federation.Batch
		want []span
		bad  bool
	}{
		{"one frame", batchOf("d", 10, 5), []span{{from: 10, to: 15}}, false},
		{"several", batchOf("d", 10, 5, 1, 300), []span{{from: 10, to: 15}, {from: 15, to: 16}, {from: 16, to: 316}}, false},
		{"large frames", batchOf("d", 10, 20_000, 20_000), []span{{from: 10, to: 20_010}, {from: 20_010, to: 40_010}}, false},
		{"partly known", batchOf("d", 5, 5, 5), []span{{from: 10, to: 15}}, false},
		{"known", batchOf("d", 0, 5, 5), nil, false},
		{"after a gap", batchOf("d", 20, 5), []span{{from: 10, to: 20, lost: true}, {from: 20, to: 25}}, false},
		{"only where it is", &federation.Batch{Device: "d", Range: federation.Range{Chain: 1, From: 30, To: 30}}, []span{{from: 10, to: 30, lost: true}}, false},
		{"cut off", part(batchOf("d", 10, 5, 5), frame+10), []span{{from: 10, to: 15}, {from: 15, to: 20, lost: true}}, true},
		{"less than it says", part(batchOf("d", 10, 5, 5), frame), []span{{from: 10, to: 15}, {from: 15, to: 20, lost: true}}, true},
		{"not a frame", &federation.Batch{Device: "d", Range: federation.Range{Chain: 1, From: 10, To: 12}, Wire: []byte("what is this")}, []span{{from: 10, to: 12, lost: true}}, true},
		{"a text", &federation.Batch{Device: "d", Range: federation.Range{Chain: 1, From: 10, To: 12}, Wire: wsframe.AppendFrame(nil, wsframe.OpText, telemetry(10, 2))}, []span{{from: 10, to: 12, lost: true}}, true},
		{"a frame elsewhere", func() *federation.Batch {
			b := batchOf("d", 10, 5, 5)
			b.Wire = append(b.Wire[:frame], batchOf("d", 16, 5).Wire...)
			return b
		}(), []span{{from: 10, to: 15}, {from: 15, to: 20, lost: true}}, true},
		{"more behind it", func() *federation.Batch {
			b := batchOf("d", 10, 5)
			b.Wire = append(b.Wire, "more"...)
			return b
		}(), []span{{from: 10, to: 15}}, true},
		{"more than it says", func() *federation.Batch {
			b := batchOf("d", 10, 5, 5)
			b.Range.To = 18
			return b
		}(), []span{{from: 10, to: 15}, {from: 15, to: 18, lost: true}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				fe := g.frontend("")
				g.holdElsewhere("d")
				m := member{g.r}
				m.ReceiveTelemetry(elsewhere, batchOf("d", 0, 10))
				synctest.Wait()
				fe.take()
				m.ReceiveTelemetry(elsewhere, c.b)
				synctest.Wait()
				stream := g.r.registry.devices["d"].stream
				for i := range c.want {
					c.want[i].stream = stream
				}
				if got := spansOnBus(t, fe.take()); !slices.Equal(got, c.want) {
					t.Errorf("got  %v\nwant %v", got, c.want)
				}
				if bad := g.r.Stats().Errors()[protocol.ErrBadMessage] > 0; bad != c.bad {
					t.Errorf("counted as malformed: %t", bad)
				}
				lost := uint64(0)
				for _, s := range c.want {
					if s.lost {
						lost += s.to - s.from
					}
				}
				if n := g.r.Stats().LostBetweenNodes.Load(); n != lost {
					t.Errorf("%d samples counted as lost, want %d", n, lost)
				}
			}, ofSeveral)
		})
	}
}

// The position of a device never reaches the bus before the samples that it
// covers; other nodes would count these samples as lost.
func TestPositionsDoNotOvertakeTelemetry(t *testing.T) {
	bus := &orderly{Bus: membus.NewHub().Bus("node-1")}
	g := newGateway(t, func(o *Options, so *session.Options) { o.Bus, so.Node = bus, uint32(bus.Self()) })
	if err := g.r.Join(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.r.Leave)
	m := member{g.r}
	m.NodeJoined(elsewhere, "elsewhere")
	d := g.sink(session.Info{Role: session.RoleDevice, Name: "d"})
	m.InterestChanged(elsewhere, "d", true)

	stop, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		for {
			select {
			case <-stop:
				return
			default:
				g.r.registry.sendPositions(true)
			}
		}
	}()
	frame := telemetry(0, 10)
	for i := range uint64(200_000) {
		putSeq(frame, 10*i)
		d.read(wsframe.OpBinary, frame)
	}
	close(stop)
	<-told
	if bus.samples != 200_000*10 || bus.positions == 0 || bus.overtaken != 0 {
		t.Errorf("%d samples, %d positions, %d samples that came after a position behind them", bus.samples, bus.positions, bus.overtaken)
	}
}

// orderly is a Bus that checks the order of a device's batches and positions.
type orderly struct {
	federation.Bus
	mu                                sync.Mutex // guards the rest; a leaf
	to, samples, overtaken, positions uint64
}

func (o *orderly) SendTelemetry(b *federation.Batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(b.Wire) == 0 {
		o.positions++
	} else {
		o.samples += b.Range.To - b.Range.From
		if b.Range.From < o.to {
			o.overtaken += o.to - b.Range.From
		}
	}
	o.to = max(o.to, b.Range.To)
}

// spansOnBus is spansOf for losses of the bus.
func spansOnBus(t *testing.T, got []received) []span {
	t.Helper()
	var all []span
	for _, m := range got {
		if m.Type != protocol.TypeLost {
			all = append(all, spansOf(t, []received{m})...)
			continue
		}
		var l protocol.Lost
		if err := json.Unmarshal(m.Payload, &l); err != nil {
			t.Fatal(err)
		}
		if l.Cause != string(session.LossBus) {
			t.Fatalf("lost %+v", l)
		}
		all = append(all, span{l.Stream, l.From, l.To, true})
	}
	return all
}

// BenchmarkTelemetryOfAnotherNode handles a batch from the bus up to the
// write. An operation is one frame of 128 bytes.
func BenchmarkTelemetryOfAnotherNode(b *testing.B) {
	for _, receivers := range []int{1, 20} {
		b.Run(fmt.Sprintf("to_%d", receivers), func(b *testing.B) {
			const frames, samples = 100, 24
			g := newGateway(b, ofSeveral)
			var sinks []*sink
			for range receivers {
				sinks = append(sinks, g.sink(session.Info{Role: session.RoleFrontend, Telemetry: protocol.TelemetryAll}))
			}
			g.holdElsewhere("d")
			batch := batchOf("d", 0, slices.Repeat([]int{samples}, frames)...)
			mark(sinks)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%frames != 0 {
					continue
				}
				member{g.r}.ReceiveTelemetry(elsewhere, batch)
				await(sinks, uint64(len(batch.Wire)))
				moveOn(batch, frames)
			}
		})
	}
}
