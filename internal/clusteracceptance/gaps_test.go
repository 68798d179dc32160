package clusteracceptance

import (
	"regexp"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
)

// TestLossesOfADeviceWithGapsBalance: a device leaves a gap after each frame, as
// triggered recordings do, and Redis closes the subscription of a node. All
// samples are received or reported lost on the other node, though a loss covers
// more gaps than are reported one by one.
func TestLossesOfADeviceWithGapsBalance(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	nodes := startNodes(t, redis.URL(), "a", "b")
	a, b := nodes[0], nodes[1]
	oven := newDevice(t, "oven-1")
	atA := oven.connect(a)
	far, near := connect(t, b, "/ws/frontend/far"), connect(t, a, "/ws/frontend/near")
	const each, gap = 100, 100
	var sent uint64
	send := func(frames int) {
		for range frames {
			atA.SendSamples(oven.seq, each)
			oven.seq += each + gap
			sent += each
			time.Sleep(time.Millisecond)
		}
	}
	far.awaitCrossing(t, func() { send(10) })
	for _, victim := range []*node{b, a, b} {
		outages := victim.Metric("labgate_bus_outages_total")
		list := redisCLI(t, redis, "CLIENT", "LIST", "TYPE", "pubsub")
		found := regexp.MustCompile(`(?m)^id=(\d+) .*\bname=labgate-` + victim.name + ` `).FindStringSubmatch(list)
		if found == nil {
			t.Fatalf("no subscription of node %s: %s", victim.name, list)
		}
		redisCLI(t, redis, "CLIENT", "KILL", "ID", found[1])
		for victim.Metric("labgate_bus_outages_total") == outages {
			send(1)
		}
		far.awaitCrossing(t, func() { send(10) })
	}
	for _, fe := range []*peer{near, far} {
		var k book
		gatewaytest.Eventually(t, "all samples are received or reported lost on node "+fe.welcome.Node, func() bool {
			k = fe.book("oven-1")
			return k.received+k.lost == sent
		})
		t.Logf("node %s: %d sent, %d received, %d lost %v", fe.welcome.Node, sent, k.received, k.lost, k.causes)
		if k.lost != k.causes["bus"] || fe == near && k.lost > 0 || fe == far && k.lost < 20*each {
			t.Errorf("node %s: %d of %d lost %v", fe.welcome.Node, k.lost, sent, k.causes)
		}
	}
	inexact := 0
	for _, r := range far.book("oven-1").runs {
		if r.cause != "" && r.to-r.from > each {
			inexact++
		}
	}
	if inexact == 0 {
		t.Error("no loss covered more gaps than are reported one by one")
	}
}

// awaitCrossing sends until more samples have come.
func (p *peer) awaitCrossing(t *testing.T, send func()) {
	t.Helper()
	before := p.book("oven-1").received
	gatewaytest.Eventually(t, "telemetry crosses", func() bool {
		send()
		return p.book("oven-1").received > before
	})
}
