package server

import (
	"maps"
	"sync"
	"sync/atomic"
)

// stats counts what happens before there is a session.
type stats struct {
	accessStats

	connections  atomic.Int64
	acceptErrors atomic.Uint64
	panics       atomic.Uint64
	// refusedConnections were turned away when they came, refused are
	// handshakes and requests.
	refusedConnections, refused byReason
}

// byReason counts by a closed vocabulary.
type byReason struct {
	// mu guards counts; a leaf.
	mu     sync.Mutex
	counts map[string]uint64
}

func (b *byReason) add(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.counts = make(map[string]uint64)
	}
	b.counts[reason]++
}

func (b *byReason) all() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.counts)
}
