package clusteracceptance

import (
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/redistest"
)

// While a node is interested, telemetry crosses complete and in order, with
// many frames in one PUBLISH. Without interest no telemetry crosses.
func TestTelemetryCrosses(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, redistest.Start(t).URL(), "a", "b")
	a, b := nodes[0], nodes[1]
	oven, press := newDevice(t, "oven-1"), newDevice(t, "press-1")
	all := connect(t, b, "/ws/frontend/all")
	none := connect(t, b, "/ws/frontend/none?telemetry=none")
	atA := press.connect(a)
	stopOven, stopPress := oven.streaming(oven.connect(a)), press.streaming(atA)
	arrived := func(n uint64) func() bool {
		return func() bool { return all.book("oven-1").received > n && all.book("press-1").received > n }
	}
	// Samples from before the other node's interest are reported as lost.
	gatewaytest.Eventually(t, "telemetry of both arrives", arrived(0))
	early := map[string]uint64{"oven-1": all.book("oven-1").lost, "press-1": all.book("press-1").lost}
	gatewaytest.Eventually(t, "more of it arrives", arrived(20_000))
	stopOven()
	stopPress()
	for _, d := range []*device{oven, press} {
		all.mustBalance(d)
		if k := all.book(d.id); k.first != 0 || k.lost != early[d.id] {
			t.Errorf("%s: from sample %d, %d lost %v of %d, %d of them at first", d.id, k.first, k.lost, k.causes, d.sent(), early[d.id])
		}
		if got := none.book(d.id); got.received > 0 {
			t.Errorf("%d samples for who wants none", got.received)
		}
	}
	frames, batches := a.Metric("labgate_telemetry_frames_in_total"), a.Metric("labgate_bus_publishes_total")
	t.Logf("%v frames crossed, with %v publishes in all", frames, batches)

	// Without interest telemetry stays on its node.
	all.Text(`{"type":"gateway.subscribe","id":"s","payload":{"devices":["oven-1"]}}`)
	all.awaitRe("s")
	gatewaytest.Eventually(t, "press-1 does not cross any more", func() bool {
		bytes, in := a.Metric("labgate_bus_sent_bytes_total"), a.Metric("labgate_samples_in_total")
		atA.SendSamples(press.sent(), 60_000)
		press.mu.Lock()
		press.seq += 60_000
		press.mu.Unlock()
		gatewaytest.Eventually(t, "the samples are in", func() bool { return a.Metric("labgate_samples_in_total") >= in+60_000 })
		return a.Metric("labgate_bus_sent_bytes_total") < bytes+100_000
	})
}

// A link to Redis stalls and breaks, for moments and for longer than the time
// to live. For the front end on the other node, received and reported lost
// samples together are the sent ones.
func TestTelemetryIsAccountedForWhenTheBusDropsIt(t *testing.T) {
	t.Parallel()
	redis := redistest.Start(t)
	link := redistest.StartProxy(t, redis.Addr())
	a, b := startNode(t, "a", redis.URLVia(link.Addr())), startNode(t, "b", redis.URL())
	awaitJoined(t, a, b)
	far, near := connect(t, b, "/ws/frontend/far"), connect(t, a, "/ws/frontend/near")
	oven := newDevice(t, "oven-1")
	stop := oven.streaming(oven.connect(a))
	crossing := func() {
		t.Helper()
		from := far.book("oven-1").received
		gatewaytest.Eventually(t, "telemetry crosses", func() bool { return far.book("oven-1").received > from+2000 })
	}
	crossing()
	for _, outage := range []time.Duration{100 * time.Millisecond, timeout + 500*time.Millisecond, ttl + 2*time.Second} {
		link.Hold()
		time.Sleep(outage)
		link.Release()
		crossing()
		link.Cut()
		time.Sleep(outage / 2)
		link.Mend()
		crossing()
	}
	stop()
	near.mustBalance(oven)
	far.mustBalance(oven)
	k := far.book("oven-1")
	if k.lost == 0 || k.causes["bus"] != k.lost {
		t.Errorf("%d samples lost, for the causes %v", k.lost, k.causes)
	}
	if near.book("oven-1").lost > 0 {
		t.Errorf("%d samples lost on the device's own node", near.book("oven-1").lost)
	}
	t.Logf("%d samples sent; on the other node %d received, %d reported lost; b heard of %v outages, %v packets lost, %v stale",
		oven.sent(), k.received, k.lost, a.Metric("labgate_bus_outages_total"), b.Metric("labgate_bus_packets_lost_total"), b.Metric("labgate_bus_packets_stale_total"))
}
