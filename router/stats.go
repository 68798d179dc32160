package router

import (
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/protocol"
)

// Stats has the counters of a router since its creation.
type Stats struct {
	TextIn            atomic.Uint64
	TelemetryFramesIn atomic.Uint64
	SamplesIn         atomic.Uint64
	Commands          atomic.Uint64
	Answers           atomic.Uint64
	// LostBetweenNodes counts samples of remote devices that were lost on the
	// way to this node. Each sample counts once, however many front ends
	// subscribe to the device.
	LostBetweenNodes atomic.Uint64

	// mu guards errors, which counts refusals and failures by code; a leaf.
	mu     sync.Mutex
	errors map[protocol.ErrorCode]uint64
}

// Errors returns the number of refusals and failures, by code.
func (st *Stats) Errors() map[protocol.ErrorCode]uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make(map[protocol.ErrorCode]uint64, len(st.errors))
	for code, n := range st.errors {
		out[code] = n
	}
	return out
}

func (st *Stats) countError(code protocol.ErrorCode) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.errors == nil {
		st.errors = make(map[protocol.ErrorCode]uint64)
	}
	st.errors[code]++
}
