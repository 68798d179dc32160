package cluster

import (
	"regexp"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
	"github.com/labgate/labgate/router/federation"
)

// TestNoLossIsUnaccountedFor kills a node's subscription while a device that
// leaves a gap after each frame sends through it: what arrived and what an
// Inbound tells as lost is what was sent.
func TestNoLossIsUnaccountedFor(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	n := together(t, redis.URL(), "a", "b")
	a, b := n[0], n[1]
	b.UpdateInterest("press-1", true)
	wanted := func() bool { return len(a.wants["press-1"]) == 1 }
	a.await(t, "a knows that b wants the telemetry", wanted)

	var out federation.Outbound
	const each = 100
	var next, sent uint64
	send := func(frames int) {
		for range frames {
			rg := out.Place(next, next+each)
			next, sent = next+each+50, sent+each
			a.SendTelemetry(&federation.Batch{Device: "press-1", Range: rg, Wire: make([]byte, 40)})
			out.Commit(rg)
			time.Sleep(time.Millisecond)
		}
	}
	send(300)
	for round, victim := range []*node{b, a, b} {
		outages := victim.Stats().Outages
		killSubscription(t, redis, victim)
		for victim.Stats().Outages == outages {
			send(1)
		}
		for !victim.settled() {
			send(1)
		}
		before := len(b.arrived())
		for end := time.Now().Add(patience); len(b.arrived()) < before+50; send(10) {
			if time.Now().After(end) {
				t.Fatalf("round %d: nothing arrives any more", round)
			}
		}
	}
	end := out.Position()
	await(t, "the last position is told", func() bool {
		a.SendTelemetry(&federation.Batch{Device: "press-1", Range: end})
		time.Sleep(10 * time.Millisecond)
		batches := b.arrived()
		return batches[len(batches)-1].Range.To == end.To
	})

	var in federation.Inbound
	in.Begin(a.Self(), new(federation.Range))
	var came, told, inexact uint64
	for _, batch := range b.arrived() {
		lost, fresh := in.Take(a.Self(), &batch.Range, false)
		came += batch.Range.To - fresh
		for _, rc := range lost {
			told += rc.Count
			if !rc.Exact() {
				inexact += rc.Count
			}
		}
	}
	t.Logf("%d samples sent, %d came, %d told as lost, %d of these with bounds only", sent, came, told, inexact)
	if came+told != sent {
		t.Errorf("%d came, %d told as lost, %d sent: of %d nobody was told", came, told, sent, int64(sent-came-told))
	}
	if inexact == 0 {
		t.Error("no outage covered more gaps than are told one by one")
	}
}

// settled reports whether a node is up and knows one other.
func (n *node) settled() bool {
	n.Lock()
	defer n.Unlock()
	return n.isUp && len(n.there) == 1
}

// arrived returns the batches that a node was given.
func (n *node) arrived() []federation.Batch {
	n.Lock()
	defer n.Unlock()
	return n.batches[:len(n.batches):len(n.batches)]
}

// killSubscription has Redis close the connection on which a node listens.
func killSubscription(t *testing.T, redis *redistest.Server, n *node) {
	t.Helper()
	list, _ := redis.Do("CLIENT", "LIST", "TYPE", "pubsub").(string)
	line := regexp.MustCompile(`(?m)^id=(\d+) .*\bname=` + clientName(n.options.Name) + ` `)
	found := line.FindStringSubmatch(list)
	if found == nil {
		t.Fatalf("no subscription of node %s:\n%s", n.options.Name, list)
	}
	redis.Do("CLIENT", "KILL", "ID", found[1])
}
