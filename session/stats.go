package session

import (
	"sync"
	"sync/atomic"
)

// Stats counts what happened since the Manager was made.
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
	RateLimited        atomic.Uint64 // messages refused, for whichever rate
	ByteRateLimited    atomic.Uint64 // those of them for the rate in bytes
	Replacements       atomic.Uint64
	ReplaceAlarms      atomic.Uint64
	GrowthAlarms       atomic.Uint64

	// closes counts ended sessions by reason; a leaf lock.
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
