package cluster

import (
	"github.com/labgate/labgate/router/federation"
	"maps"
)

// Stats returns the bus's counters. An outage that lasts counts up to now.
func (b *Bus) Stats() federation.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Nodes = len(b.nodes)
	s.DroppedTelemetry = b.queue.droppedBatch
	s.IngressRefused = maps.Clone(b.refused)
	if b.outage != 0 {
		s.OutageSeconds += float64(b.now()-b.outage) / 1e6
	}
	return s
}
