package cluster

import (
	"maps"

	"github.com/labgate/labgate/router/federation"
)

// Stats returns the counters of the bus. The seconds of a present outage count.
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
