package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/labgate/labgate/router/federation"
)

func TestMessagesToOneAndToAllKeepTheirOrder(t *testing.T) {
	b, _ := testBus(t)
	one, two := known(b, 1), known(b, 2)
	b.said(&b.all)
	send := func(corr uint64, to ...*peer) {
		for _, p := range to {
			if err := b.Send(p.node, message(corr, "")); err != nil {
				t.Fatal(err)
			}
		}
		if len(to) == 0 {
			if err := b.SendAll(message(corr, "")); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(1, one)
	send(2, two)
	send(3, one)
	send(4)
	send(5)
	send(6, two)
	send(7, one)
	send(8)
	var got []string
	packets := b.queue.take(nil, maxInt)
	for _, p := range packets {
		for rs := records(p.buf[headerSize:]); rs != ""; {
			var m federation.Message
			_, body, _, _ := rs.next()
			if err := readMessage(body, &m); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d:%d", p.to.node, m.Corr))
		}
	}
	if s := strings.Join(got, " "); s != "1:1 1:3 2:2 0:4 0:5 2:6 1:7 0:8" {
		t.Error(s)
	}
	if len(packets) != 6 {
		t.Errorf("%d packets, want 6: neighbours for the same receivers leave together", len(packets))
	}
	for _, d := range []*destination{&one.to, &two.to, &b.all} {
		if d.waiting != 0 || d.open != nil {
			t.Errorf("%s: %d bytes wait after all have left, open %v", d.channel, d.waiting, d.open)
		}
	}
}

func TestTheQueueForOneNodeIsBounded(t *testing.T) {
	b, _ := testBus(t)
	one, two := known(b, 1), known(b, 2)
	large := string(make([]byte, 100<<10))
	n := 0
	for ; ; n++ {
		if err := b.Send(one.node, message(1, large)); errors.Is(err, federation.ErrFull) {
			break
		} else if err != nil || n > 1000 {
			t.Fatal(n, err)
		}
	}
	if n < maxWaiting/(101<<10)-1 || n > maxWaiting/(100<<10) {
		t.Errorf("%d messages of 100 KiB accepted", n)
	}
	if err := b.Send(two.node, message(1, large)); err != nil {
		t.Errorf("another node's queue: %v", err)
	}
	if err := b.SendAll(message(1, large)); err != nil {
		t.Errorf("all nodes' queue: %v", err)
	}
	for _, p := range b.queue.take(nil, maxInt) {
		if len(p.buf) > maxPacket {
			t.Errorf("a packet of %d bytes", len(p.buf))
		}
	}
}

func TestALargeMessageFindsRoomWhereNothingWaits(t *testing.T) {
	b, _ := testBus(t)
	one := known(b, 1)
	b.said(&b.all)
	if err := b.Send(one.node, message(1, string(make([]byte, 16<<20)))); err != nil {
		t.Error(err)
	}
	if err := b.Send(one.node, message(1, "")); !errors.Is(err, federation.ErrFull) {
		t.Errorf("behind it: %v", err)
	}
	b.said(&b.all)
	for _, m := range []*federation.Message{message(1, string(make([]byte, maxText+1))), {Kind: federation.KindQuery, ID: string(make([]byte, maxString+1))}} {
		if err := b.Send(one.node, m); !errors.Is(err, federation.ErrFull) {
			t.Errorf("what no receiver reads: %v", err)
		}
	}
}

func TestOldestTelemetryGivesWay(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 1)
	b.hears(b.names.all, header{node: p.node, number: 1, sent: b.now()}, appendInterest(nil, 1, "press-1", 1))
	wire := make([]byte, 10<<10)
	const sent = 1000
	for i := range uint64(sent) {
		b.SendTelemetry(&federation.Batch{Device: "press-1", Range: federation.Range{Chain: 1, From: i, To: i + 1}, Wire: wire})
	}
	if b.queue.telemetry > maxTelemetry {
		t.Errorf("%d bytes wait", b.queue.telemetry)
	}
	var kept []uint64
	for _, p := range b.queue.takeTelemetry(nil, maxInt) {
		if len(p.buf) > maxPacket {
			t.Errorf("a packet of %d bytes", len(p.buf))
		}
		for rs := records(p.buf[headerSize:]); rs != ""; {
			var batch federation.Batch
			_, body, _, _ := rs.next()
			if err := readTelemetry(body, &batch); err != nil || !bytes.Equal(batch.Wire, wire) {
				t.Fatal(err)
			}
			kept = append(kept, batch.Range.From)
		}
	}
	for i, from := range kept {
		if from != uint64(sent-len(kept)+i) {
			t.Fatalf("kept %v: not the newest, or not in order", kept)
		}
	}
	if dropped := b.Stats().DroppedTelemetry; int(dropped)+len(kept) != sent || len(kept) < 300 {
		t.Errorf("%d kept and %d dropped of %d", len(kept), dropped, sent)
	}
	if b.queue.telemetry != 0 || len(b.queue.due) != 0 {
		t.Errorf("%d bytes of telemetry wait after all was taken", b.queue.telemetry)
	}
}

func TestAllTelemetryIsBounded(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 1)
	wire := make([]byte, 200<<10)
	for i := range uint64(2 * maxTelemetryAll / maxTelemetry) {
		device := fmt.Sprint("press-", i)
		b.hears(b.names.all, header{node: p.node, number: 1, sent: b.now()}, appendInterest(nil, i+1, device, 1))
		for range maxTelemetry / len(wire) {
			b.SendTelemetry(&federation.Batch{Device: device, Wire: wire})
		}
	}
	if b.queue.telemetry > maxTelemetryAll {
		t.Errorf("%d bytes wait", b.queue.telemetry)
	}
	if b.Stats().DroppedTelemetry == 0 {
		t.Error("nothing was dropped")
	}
	b.queue.drop()
	if b.queue.telemetry != 0 {
		t.Errorf("%d bytes wait after all was dropped", b.queue.telemetry)
	}
}

func TestUnwantedTelemetryIsNotKept(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 1)
	b.SendTelemetry(&federation.Batch{Device: "press-1", Wire: []byte{1}})
	if b.queue.telemetry != 0 {
		t.Error("kept although nobody wants it")
	}
	for i, subscription := range []uint64{1, 2, 0} {
		wanted := subscription != 0
		b.hears(b.names.all, header{node: p.node, number: 1, sent: b.now()}, appendInterest(nil, uint64(i+1), "press-1", subscription))
		b.SendTelemetry(&federation.Batch{Device: "press-1", Wire: []byte{1}})
		if waits := b.queue.telemetry != 0; waits != wanted {
			t.Errorf("wanted %t, kept %t", wanted, waits)
		}
		b.queue.drop()
	}
	if len(b.queue.streams) != 0 || len(b.interest) != 0 {
		t.Errorf("left behind: %v, %v", b.queue.streams, b.interest)
	}
}

func TestTelemetryLeavesBeforeTheReleaseOfItsDevice(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 1)
	for i, device := range []string{"press-1", "press-2"} {
		b.hears(b.names.all, header{node: p.node, number: 1, sent: b.now()}, appendInterest(nil, uint64(i+1), device, 1))
		b.Hold(federation.Holding{Device: device, Epoch: 1})
		b.SendTelemetry(&federation.Batch{Device: device, Wire: []byte{1}})
	}
	if err := b.SendAll(message(1, "")); err != nil {
		t.Fatal(err)
	}
	b.Release(federation.Release{Device: "press-1", Epoch: 1})
	var order []string
	for _, p := range b.queue.take(nil, maxInt) {
		for rs := records(p.buf[headerSize:]); rs != ""; {
			kind, _, _, _ := rs.next()
			order = append(order, fmt.Sprint(strings.TrimPrefix(p.to.channel, "labgate:"), " ", kind))
		}
		if p.to.waiting != 0 {
			t.Errorf("%d bytes wait for %s", p.to.waiting, p.to.channel)
		}
	}
	want := []string{
		fmt.Sprint("all ", recordHold), fmt.Sprint("all ", recordHold), fmt.Sprint("all ", recordMessage),
		fmt.Sprint("telemetry:press-1 ", recordTelemetry), fmt.Sprint("all ", recordRelease),
	}
	if !slices.Equal(order[len(order)-len(want):], want) {
		t.Errorf("%v", order)
	}
	if rest := b.queue.takeTelemetry(nil, maxInt); len(rest) != 1 || b.queue.telemetry != 0 {
		t.Errorf("%d packets of the other device, %d bytes", len(rest), b.queue.telemetry)
	}
}
