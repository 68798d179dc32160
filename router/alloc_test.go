//go:build !race

// Under the race detector, sync.Pool drops values at random and the detector
// itself allocates. So these budgets are checked without it.

package router

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestAllocationsPerTelemetryFrame: in steady state a read of telemetry costs
// no allocation, from the frame's arrival to the last receiver's write.
func TestAllocationsPerTelemetryFrame(t *testing.T) {
	for _, test := range []struct {
		receivers, listeners, frames, samples int
		rights                                session.Rights
	}{
		{0, 0, 1, 1, nil}, {1, 0, 1, 1, nil}, {50, 0, 1, 1, nil}, {50, 0, 20, 1, nil}, {0, 50, 20, 10, nil}, {8, 8, 3, 1000, nil},
		{50, 50, 3, 1, rights{observe: "x* d*"}},
	} {
		t.Run(fmt.Sprintf("%d+%d receivers, %d frames of %d", test.receivers, test.listeners, test.frames, test.samples), func(t *testing.T) {
			g := newGateway(t)
			var sinks []*sink
			for range test.receivers {
				sinks = append(sinks, g.sink(session.Info{Role: session.RoleFrontend, Rights: test.rights}))
			}
			for range test.listeners {
				s := g.sink(session.Info{Role: session.RoleFrontend, Telemetry: protocol.TelemetryNone, Rights: test.rights})
				s.read(wsframe.OpText, []byte(`{"type":"gateway.subscribe","payload":{"devices":["d1"]}}`))
				sinks = append(sinks, s)
			}
			d := g.sink(session.Info{Role: session.RoleDevice, Name: "d1"})
			frames := make([][]byte, test.frames)
			for i := range frames {
				frames[i] = telemetry(0, test.samples)
			}
			size := uint64(wsframe.HeaderSize(len(frames[0]))+len(frames[0])) * uint64(test.frames)
			seq := uint64(0)
			mark(sinks)
			budget(t, 0, func() {
				for _, frame := range frames {
					putSeq(frame, seq)
					seq += uint64(test.samples)
				}
				d.read(wsframe.OpBinary, frames...)
				await(sinks, size)
			})
		})
	}
}

// TestAllocationsPerBatchOfAnotherNode: in steady state a batch from the bus
// costs no allocation.
func TestAllocationsPerBatchOfAnotherNode(t *testing.T) {
	const frames, samples = 20, 10
	g := newGateway(t, ofSeveral)
	sinks := []*sink{g.sink(session.Info{Role: session.RoleFrontend}), g.sink(session.Info{Role: session.RoleFrontend})}
	g.holdElsewhere("d1")
	b := batchOf("d1", 0, slices.Repeat([]int{samples}, frames)...)
	mark(sinks)
	budget(t, 0, func() {
		member{g.r}.ReceiveTelemetry(elsewhere, b)
		await(sinks, uint64(len(b.Wire)))
		moveOn(b, frames)
	})
	if errs := g.r.Stats().Errors(); len(errs) != 0 {
		t.Error(errs)
	}
}

// TestAllocationsPerEnvelope: a forwarded text costs no allocation, a command
// two (its entry in the pending table, and its id), an answer none. A listener
// of events adds none.
func TestAllocationsPerEnvelope(t *testing.T) {
	for _, test := range []struct {
		name, text, answer string
		fromDevice, inUse  bool
		listener           events.Listener
		most               float64
		rights             session.Rights
	}{
		{name: "unicast to a device", text: `{"type":"test.state","dst":"d1","ts":1763720000123456,"payload":{"speed":12.5}}`},
		{name: "urgent, with a spoofed src", text: `{"src":"@user/bob","type":"test.stop","dst":"d1","urgent":true}`},
		{name: "to a session of a user", text: `{"type":"test.state","dst":"@user/alice","payload":1}`, fromDevice: true},
		{name: "to all front ends", text: `{"type":"test.state","id":"x","payload":1}`, fromDevice: true},
		{name: "command and answer", text: `{"type":"test.start","id":"c-00017","dst":"d1"}`, answer: `{"type":"test.started","re":"c-00017"}`, most: 2},
		{name: "listener: command and answer", listener: &lastEvent{}, text: `{"type":"test.start","id":"c-00017","dst":"d1"}`, answer: `{"type":"test.started","re":"c-00017"}`, most: 2},
		{name: "limited rights: command and answer", rights: rights{command: "d*"}, text: `{"type":"test.start","id":"c-00017","dst":"d1"}`, answer: `{"type":"test.started","re":"c-00017"}`, most: 2},
		{name: "limited rights: to all front ends", rights: rights{observe: "d*"}, text: `{"type":"test.state","id":"x","payload":1}`, fromDevice: true},
		// The third is the new id, because the asker's is in use.
		{name: "command with an id in use", inUse: true, text: `{"type":"test.start","id":"c-00017","dst":"d1"}`, answer: `{"type":"test.started","re":"~000000"}`, most: 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t, func(o *Options, _ *session.Options) { o.Events = test.listener })
			d := g.sink(session.Info{Role: session.RoleDevice, Name: "d1"})
			a := g.sink(session.Info{Role: session.RoleFrontend, Name: "alice", Rights: test.rights})
			from, to := a, d
			if test.fromDevice {
				from, to = d, a
			}
			ask, answer := []byte(test.text), []byte(test.answer)
			if test.inUse {
				g.sink(session.Info{Role: session.RoleFrontend}).read(wsframe.OpText, ask)
				// Ids of one length, so that the answer need not be built.
				g.r.lastCommand.Store(36 * 36 * 36 * 36 * 36)
			}
			sinks := []*sink{d, a}
			mark(sinks)
			budget(t, test.most, func() {
				from.read(wsframe.OpText, ask)
				await([]*sink{to}, 1)
				if test.answer != "" {
					if test.inUse {
						id := strconv.AppendUint(make([]byte, 0, 6), g.r.lastCommand.Load(), 36)
						copy(answer[bytes.IndexByte(answer, '~')+1:], id)
					}
					d.read(wsframe.OpText, answer)
					await([]*sink{a}, 1)
				}
			})
			if errs := g.r.Stats().Errors(); len(errs) != 0 {
				t.Error(errs)
			}
		})
	}
}

// lastEvent is a listener that keeps the last CommandEnded.
type lastEvent struct {
	events.Nop
	command events.CommandEnded
}

func (l *lastEvent) CommandEnded(e events.CommandEnded) { l.command = e }

// budget checks how often f allocates after a warm-up.
func budget(t *testing.T, most float64, f func()) {
	t.Helper()
	for range 2000 {
		f()
	}
	if n := testing.AllocsPerRun(2000, f); n > most {
		t.Errorf("%v allocations, at most %v allowed", n, most)
	}
}
