package bustest

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// ledger counts the samples that a front end received, and those reported to
// it as lost.
type ledger struct {
	next            uint64
	samples, losses uint64
	wrong           string
}

// book counts samples and reported losses, which must be consecutive from
// first on.
func book(frames []protocol.TelemetryHeader, lost []protocol.Lost, first uint64) ledger {
	b := ledger{next: first}
	for len(frames) > 0 || len(lost) > 0 {
		switch {
		case len(frames) > 0 && frames[0].Seq == b.next:
			b.next, b.samples = frames[0].End(), b.samples+uint64(frames[0].Count)
			frames = frames[1:]
		case len(lost) > 0 && lost[0].From == b.next:
			b.next, b.losses = lost[0].To, b.losses+lost[0].To-lost[0].From
			if lost[0].Cause != "bus" {
				b.wrong = "cause " + lost[0].Cause
			}
			lost = lost[1:]
		default:
			b.wrong = "neither came nor was reported"
			return b
		}
	}
	return b
}

func testTelemetry(t *testing.T, w *world) {
	ns := w.nodes("a", "b", "c")
	here, there := ns[0].frontend(""), ns[1].frontend("")
	d := ns[0].device("d1")
	stream := there.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected").Stream
	const n = 20000
	for i := uint64(0); i < n; i += 50 {
		d.stream(i, i+50, 1+int(i%7))
		if i%1000 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for _, fe := range []*peer{here, there} {
		gatewaytest.Eventually(t, "all samples", func() bool { b := bookOf(fe); return b.next == n })
	}
	frames, _ := there.samples()
	for _, f := range frames {
		if f.Stream != stream {
			t.Fatalf("stream %d, announced as %d", f.Stream, stream)
		}
	}
	if b := bookOf(here); b.losses != 0 {
		t.Errorf("%d samples lost on the device's own node", b.losses)
	}
}

// bookOf is book for everything that a front end has received so far.
func bookOf(fe *peer) ledger {
	frames, lost := fe.samples()
	return book(frames, lost, 0)
}

func testUnwanted(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	d := ns[0].device("d1")
	ns[1].sees("d1", "a")
	fe := ns[1].frontend("")
	fe.send(`{"type":"gateway.subscribe","id":"1","payload":{"telemetry":"none"}}`)
	fe.awaitType(protocol.TypeSubscribed)
	next := uint64(0)
	// stays sends 1000 frames and reports whether they stay on the device's
	// node.
	stays := func() bool {
		before := ns[0].bus.Stats().SentBytes
		d.stream(next, next+1000, 1)
		next += 1000
		return ns[0].bus.Stats().SentBytes-before < 10000
	}
	gatewaytest.Eventually(t, "without interest telemetry stays", stays)
	if !stays() {
		t.Error("telemetry crosses again without interest")
	}
	fe.send(`{"type":"gateway.subscribe","id":"2","payload":{"devices":["d1"]}}`)
	frames, _ := fe.samples()
	seen := len(frames)
	gatewaytest.Eventually(t, "samples", func() bool {
		d.stream(next, next+10, 10)
		next += 10
		frames, _ = fe.samples()
		return len(frames) > seen+3
	})
	frames, lost := fe.samples()
	if b := book(frames[seen:], lost, frames[seen].Seq); b.wrong != "" || b.losses != 0 {
		t.Errorf("from the subscription on: %+v", b)
	}
	fe.send(`{"type":"gateway.unsubscribe","id":"3","payload":{"devices":["d1"]}}`)
	fe.awaitType(protocol.TypeSubscribed)
	gatewaytest.Eventually(t, "telemetry stays after the interest has ended", stays)
	if !stays() {
		t.Error("telemetry crosses again after the interest has ended")
	}
}

// testGaps: gaps that the device leaves are not reported as losses.
func testGaps(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	there := ns[1].frontend("")
	d := ns[0].device("d1")
	there.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	// The first samples may be lost, until the interest has arrived at the
	// other node.
	d.stream(0, 10, 10)
	gatewaytest.Eventually(t, "the first samples", func() bool { b := bookOf(there); return b.next == 10 })
	next, sent := uint64(10), uint64(10)
	for i := range 200 {
		switch i % 20 {
		case 7:
			next += 1 + rand.Uint64N(100)
		case 15:
			next = 0
		}
		d.stream(next, next+20, 5)
		next, sent = next+20, sent+20
		time.Sleep(time.Millisecond)
	}
	gatewaytest.Eventually(t, "all that was sent", func() bool {
		frames, lost := there.samples()
		var n uint64
		for _, f := range frames {
			n += uint64(f.Count)
		}
		for _, l := range lost {
			n += l.To - l.From
		}
		return n == sent
	})
	if _, lost := there.samples(); len(lost) > 1 || len(lost) == 1 && lost[0].To > 10 {
		t.Errorf("losses reported that were none: %+v", lost)
	}
}

// testLossAccounted disconnects the nodes while telemetry flows. Received and
// reported lost samples together are the sent ones.
func testLossAccounted(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	here, there := ns[0].frontend(""), ns[1].frontend("")
	d := ns[0].device("d1")
	there.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	next := uint64(0)
	for round := range 3 {
		for range 100 {
			d.stream(next, next+20, 5)
			next += 20
			time.Sleep(time.Millisecond)
		}
		if round == 2 {
			break
		}
		w.net.SetReachable(false)
		gatewaytest.Eventually(t, "the bus is down", func() bool { return !ns[0].bus.Up() && !ns[1].bus.Up() })
		for range 50 {
			d.stream(next, next+20, 5)
			next += 20
			time.Sleep(time.Millisecond)
		}
		w.net.SetReachable(true)
		gatewaytest.Eventually(t, "the bus is back", func() bool {
			return ns[0].bus.Up() && ns[1].bus.Up() && ns[0].bus.Stats().Nodes == 1 && ns[1].bus.Stats().Nodes == 1
		})
	}
	// The device falls silent; its position is sent all the same.
	gatewaytest.Eventually(t, "everything came or was reported", func() bool { b := bookOf(there); return b.next == next })
	b := bookOf(there)
	if b.wrong != "" || b.samples+b.losses != next || b.losses < 1000 || b.samples < 3000 {
		t.Errorf("%+v of %d samples", b, next)
	}
	if b := bookOf(here); b.samples != next || b.losses != 0 {
		t.Errorf("on the device's own node: %+v of %d", b, next)
	}
}

// testShortVisit: a device connects to a new node and disconnects before the
// other nodes know this node. All samples that the device sent there are
// reported as lost.
func testShortVisit(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	there := ns[1].frontend("")
	d := ns[0].device("d1")
	there.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	d.stream(0, 100, 10)
	gatewaytest.Eventually(t, "the first samples", func() bool { return bookOf(there).next == 100 })
	w.net.SetReachable(false)
	gatewaytest.Eventually(t, "the bus is down", func() bool { return !ns[0].bus.Up() && !ns[1].bus.Up() })
	d.hangUp()
	late := w.node("c")
	visitor := late.device("d1")
	visitor.stream(100, 300, 10)
	visitor.hangUp()
	late.sees("d1", "")
	w.net.SetReachable(true)
	gatewaytest.Eventually(t, "all is reported", func() bool { b := bookOf(there); return b.next == 300 && b.wrong == "" })
}

// testGapsOverAnOutage: a loss that covers many gaps of the device's own is
// reported completely, though not sample by sample.
func testGapsOverAnOutage(t *testing.T, w *world) {
	ns := w.nodes("a", "b")
	there := ns[1].frontend("")
	d := ns[0].device("d1")
	there.awaitNotice(protocol.TypeDeviceOnline, "d1", "a", "connected")
	next, sent := uint64(0), uint64(0)
	send := func(frames int) {
		for range frames {
			d.stream(next, next+20, 20)
			next, sent = next+20+1+rand.Uint64N(50), sent+20
			time.Sleep(time.Millisecond)
		}
	}
	send(50)
	w.net.SetReachable(false)
	gatewaytest.Eventually(t, "the bus is down", func() bool { return !ns[0].bus.Up() && !ns[1].bus.Up() })
	send(100)
	w.net.SetReachable(true)
	gatewaytest.Eventually(t, "the bus is back", func() bool {
		return ns[0].bus.Up() && ns[1].bus.Up() && ns[0].bus.Stats().Nodes == 1 && ns[1].bus.Stats().Nodes == 1
	})
	send(50)
	gatewaytest.Eventually(t, "everything came or was reported", func() bool {
		frames, lost := there.samples()
		var n uint64
		for _, f := range frames {
			n += uint64(f.Count)
		}
		for _, l := range lost {
			n += l.Count()
		}
		return n == sent
	})
	if _, lost := there.samples(); !slices.ContainsFunc(lost, func(l protocol.Lost) bool { return l.Inexact && l.Samples > 80*20 }) {
		t.Errorf("no loss over many gaps was reported: %+v", lost)
	}
}
