package cluster

import (
	"testing"

	"github.com/labgate/labgate/router/federation"
)

// FuzzReceive gives a bus whatever could be published on its channels.
func FuzzReceive(f *testing.F) {
	sample := header{node: 7, number: 2, sent: 1_000_000}
	for _, m := range someMessages {
		f.Add(uint8(0), []byte(packetOf(sample, appendMessage(nil, &m))))
	}
	h := federation.Holding{Device: "press-1", Epoch: 3, Meta: map[string]string{"room": "12"}}
	r := federation.Release{Device: "press-1", Epoch: 3, Reason: "closed_by_peer"}
	f.Add(uint8(0), []byte(packetOf(sample, appendHold(nil, 1, &h), appendRelease(nil, 2, &r), appendUser(nil, 3, "mia", true), appendInterest(nil, 5, "press-1", 1))))
	f.Add(uint8(1), []byte(packetOf(sample, appendNumbers(nil, recordSnapshot, "", 4), appendHold(nil, 0, &h), appendRelease(nil, 0, &r), appendInterest(nil, 0, "x", 1), appendNumbers(nil, recordSnapshotEnd, "", 4, 3))))
	f.Add(uint8(1), []byte(packetOf(sample, appendNumbers(nil, recordSyncRequest, "b", 900_000, 0), appendNumbers(nil, recordSyncReply, "b", 1_000_000, 0), appendNumbers(nil, recordHeartbeat, "b", 1), appendNumbers(nil, recordLeaving, ""))))
	for _, rg := range someRanges() {
		f.Add(uint8(2), []byte(packetOf(sample, appendTelemetry(nil, &federation.Batch{Range: rg, Wire: []byte{0x82, 1, 0}}))))
	}
	f.Add(uint8(3), []byte(`{"dst":"press-1","type":"start"}`))
	f.Fuzz(func(t *testing.T, channel uint8, text []byte) {
		b, _ := testBus(t)
		known(b, 7)
		b.UpdateInterest("press-1", true)
		b.subscribed("press-1")
		channels := []string{b.self.channel, b.names.all, b.names.telemetry + "press-1", b.names.ingress, "another"}
		rc := &redisConn{bus: b, live: true, probeIn: make(chan struct{}, 1)}
		// The same again: a packet must not depend on what an earlier one left behind.
		for range 2 {
			rc.dispatch(channels[int(channel)%len(channels)], string(text))
		}
	})
}
