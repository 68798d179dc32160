package cluster

import (
	"github.com/labgate/labgate/router/federation"
	"time"
)

// keep finds out which nodes are gone, and asks again those that have not
// answered, until the bus is left.
//
// A node that was not heard for a while and whose key is gone, too, is gone: its
// heartbeats come every quarter of the time to live, and its key lives for
// seven tenths of it. When keys cannot be asked for, silence must do.
func (b *Bus) keep() {
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
		b.sweep(at, at-last-interval.Microseconds())
		last = at
	}
}

// sweep looks at all nodes. overslept is how much later than it should it does:
// nobody was heard while this process was suspended.
func (b *Bus) sweep(at, overslept int64) {
	ttl := b.options.TTL.Microseconds()
	var silent []federation.NodeID
	b.calls.Lock()
	for node, p := range b.peers {
		if overslept > ttl/4 {
			p.heard += overslept
		}
		if at-p.heard > ttl*8/10 {
			silent = append(silent, node)
		} else if (!p.joined || p.told > p.seq || len(p.waiting) > 0) && at-p.asked > b.options.Timeout.Microseconds() {
			b.ask(p, at)
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
	b.own.forgetFormer(at - formerTime.Microseconds())
	b.own.snapshot = nil
	b.mu.Unlock()

	gone := b.withoutKey(silent)
	b.call(func(federation.Member) {
		for node, p := range b.peers {
			// One that has a key and is not heard cannot be reached: twice the time
			// to live is enough.
			if silence := b.now() - p.heard; silence > 2*ttl || gone[node] && silence > ttl*8/10 {
				b.lose(p, federation.NodeLost, at)
			}
		}
	})
}

// withoutKey returns those of the nodes whose key is not there, or cannot be
// asked for.
func (b *Bus) withoutKey(nodes []federation.NodeID) map[federation.NodeID]bool {
	if len(nodes) == 0 {
		return nil
	}
	b.mu.Lock()
	l := b.link
	if !b.up {
		l = nil
	}
	b.mu.Unlock()
	gone := map[federation.NodeID]bool{}
	for _, node := range nodes {
		gone[node] = true
		if l == nil {
			continue
		}
		n, err := l.client.Do(l.ctx, l.client.B().Exists().Key(b.names.ofNode(node)).Build()).AsInt64()
		gone[node] = err != nil || n == 0
	}
	return gone
}
