package cluster

import (
	"time"

	"github.com/labgate/labgate/router/federation"
)

// monitorPeers finds out which nodes are gone, and repeats sync requests that have
// no reply, until the bus is left.
//
// A node is gone when nothing was heard of it for eight tenths of the time to live
// and its key has expired. Its heartbeats come every quarter of the time to live,
// and its key lives for seven tenths. While Redis cannot be asked for the key,
// silence alone decides.
func (b *Bus) monitorPeers() {
	interval := b.options.TTL / 20
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := b.now()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
		at := b.now()
		b.checkPeers(at, at-last-interval.Microseconds())
		last = at
	}
}

// checkPeers looks at all peers once. overslept is by how many microseconds the
// call is late: this process was suspended and could hear nobody.
func (b *Bus) checkPeers(at, overslept int64) {
	ttl := b.options.TTL.Microseconds()
	var silent []federation.NodeID
	b.calls.Lock()
	for node, p := range b.peers {
		if overslept > ttl/4 {
			p.lastHeard += overslept
		}
		if at-p.lastHeard > ttl*8/10 {
			silent = append(silent, node)
		} else if (!p.joined || p.announced > p.seq || len(p.waiting) > 0) && at-p.lastRequest > b.options.Timeout.Microseconds() {
			b.requestSync(p, at)
		} else {
			b.warnOfNamesakes(p, at)
		}
	}
	for node, until := range b.departed {
		if at > until {
			delete(b.departed, node)
		}
	}
	b.calls.Unlock()

	b.mu.Lock()
	b.local.forgetReleased(at - releasedTime.Microseconds())
	b.local.snapshot = nil
	b.mu.Unlock()

	gone := b.nodesWithoutKey(silent)
	b.callMember(func(federation.Member) {
		for node, p := range b.peers {
			// A silent node that has a key cannot reach this one. It is given twice the
			// time to live.
			if silence := b.now() - p.lastHeard; silence > 2*ttl || gone[node] && silence > ttl*8/10 {
				b.removePeer(p, federation.NodeLost, at)
			}
		}
	})
}

// nodesWithoutKey returns the nodes whose key has expired, or cannot be asked for.
func (b *Bus) nodesWithoutKey(nodes []federation.NodeID) map[federation.NodeID]bool {
	if len(nodes) == 0 {
		return nil
	}
	b.mu.Lock()
	rc := b.conn
	if !b.up {
		rc = nil
	}
	b.mu.Unlock()
	gone := map[federation.NodeID]bool{}
	for _, node := range nodes {
		gone[node] = true
		if rc == nil {
			continue
		}
		n, err := rc.client.Do(rc.ctx, rc.client.B().Exists().Key(b.names.ofNode(node)).Build()).AsInt64()
		gone[node] = err != nil || n == 0
	}
	return gone
}
