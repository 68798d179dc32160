package cluster

import (
	"testing"

	"github.com/labgate/labgate/router/federation"
)

// idle is a member that does nothing.
type idle struct{ federation.Member }

func (idle) Receive(federation.NodeID, *federation.Message)        {}
func (idle) InterestChanged(federation.NodeID, string, bool)       {}
func (idle) ReceiveTelemetry(federation.NodeID, *federation.Batch) {}

func TestMessagesAllocateNothing(t *testing.T) {
	b, _ := testBus(t)
	p := known(b, 7)
	b.member = idle{}
	m := message(1, `{"type":"test.start"}`)
	m.Name, m.ID = "press-1", "c-1"
	var batch []*packet
	if n := testing.AllocsPerRun(1000, func() {
		if err := b.Send(p.node, m); err != nil {
			t.Fatal(err)
		}
		batch = b.takeBatch(batch[:0], true)
		for _, p := range batch {
			b.queue.recycle(p)
		}
	}); n > 0 {
		t.Errorf("sending: %.1f allocations", n)
	}

	b.peerInterest(p, "press-1", 1)
	tel := &federation.Batch{Device: "press-1", Wire: make([]byte, 1000)}
	if n := testing.AllocsPerRun(1000, func() {
		b.SendTelemetry(tel)
		batch = b.takeBatch(batch[:0], true)
		for _, p := range batch {
			b.queue.recycle(p)
		}
	}); n > 0 {
		t.Errorf("sending telemetry: %.1f allocations", n)
	}

	b.UpdateInterest("press-1", true)
	rc := &redisConn{bus: b, live: true}
	h := header{node: p.node, number: 1, sent: b.now()}
	for channel, text := range map[string]string{
		b.self.channel:                packetOf(h, appendMessage(nil, m), appendMessage(nil, m)),
		b.names.telemetry + "press-1": packetOf(h, appendTelemetry(nil, tel)),
	} {
		if n := testing.AllocsPerRun(1000, func() { rc.receive(channel, text) }); n > 0 {
			t.Errorf("receiving on %s: %.1f allocations", channel, n)
		}
	}
	if s := b.Stats(); s.Received < 3000 {
		t.Errorf("only %d were received", s.Received)
	}
}
