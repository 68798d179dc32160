package admission

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Counters count who was let in and who was not. They may be read on any
// goroutine.
type Counters struct {
	// Connections are the open ones on the public listener, sessions or not.
	Connections atomic.Int64
	// RefusedConnections were refused at a limit when they were accepted.
	RefusedConnections ByReason
	// RefusedRequests are handshakes, and requests that are not HTTP/1.1 or
	// beyond its limits.
	RefusedRequests ByReason
	// RefusedCredentials were presented, or missing, in requests and renewals.
	RefusedCredentials ByReason
	// Reloads and ReloadFailures count changed files of credentials that took
	// effect, and those that cannot be used.
	Reloads, ReloadFailures atomic.Uint64
}

// ByReason counts by a closed vocabulary. The zero value is empty.
type ByReason struct {
	// mu guards counts; a leaf.
	mu     sync.Mutex
	counts map[string]uint64
}

// Add counts one.
func (b *ByReason) Add(reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.counts == nil {
		b.counts = make(map[string]uint64)
	}
	b.counts[reason]++
}

// All returns a copy of the counts.
func (b *ByReason) All() map[string]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.counts)
}
