package server

import (
	"sync"
	"sync/atomic"
)

// stats counts what happens before there is a session.
type stats struct {
	accessStats

	connections        atomic.Int64
	refusedConnections atomic.Uint64
	acceptErrors       atomic.Uint64
	panics             atomic.Uint64

	// mu guards refused, the handshakes refused by reason; a leaf.
	mu      sync.Mutex
	refused map[string]uint64
}

func (st *stats) refuse(reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.refused == nil {
		st.refused = make(map[string]uint64)
	}
	st.refused[reason]++
}

func (st *stats) refusals() map[string]uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make(map[string]uint64, len(st.refused))
	for reason, n := range st.refused {
		out[reason] = n
	}
	return out
}
