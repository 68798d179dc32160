package session

import (
	"sync"
	"sync/atomic"
)

// Stats has the counters of a Manager since its creation.
type Stats struct {
	Connects           atomic.Uint64
	MessagesOut        atomic.Uint64
	TelemetryFramesOut atomic.Uint64
	SamplesOut         atomic.Uint64
	BytesOut           atomic.Uint64
	Writes             atomic.Uint64
	WriteErrors        atomic.Uint64
	LostFrames         atomic.Uint64
	LostSamples        atomic.Uint64
	BadMessages        atomic.Uint64
	RateLimited        atomic.Uint64 // messages refused for the message rate or the byte rate
	ByteRateLimited    atomic.Uint64 // messages refused for the byte rate
	Replacements       atomic.Uint64
	ReplaceAlarms      atomic.Uint64
	GrowthAlarms       atomic.Uint64

	// mu guards closes, which counts ended sessions by reason; a leaf.
	mu     sync.Mutex
	closes map[string]uint64
}

// Closes returns the number of ended sessions by reason.
func (st *Stats) Closes() map[string]uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make(map[string]uint64, len(st.closes))
	for reason, n := range st.closes {
		out[reason] = n
	}
	return out
}

func (st *Stats) countClose(reason string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closes == nil {
		st.closes = make(map[string]uint64)
	}
	st.closes[reason]++
}
