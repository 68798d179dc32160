package tensile

import (
	"fmt"
	"time"
)

// Pacer computes how many samples are due. A Pacer counts from the start and
// not from the last call, so a late call gets the missed samples too, and
// irregular calls cause no drift.
type Pacer struct {
	start  time.Time
	period time.Duration
	issued uint64
}

// NewPacer returns a Pacer for samples with the given time between them; the
// first sample is due at start.
func NewPacer(start time.Time, period time.Duration) (*Pacer, error) {
	if period <= 0 {
		return nil, fmt.Errorf("tensile: sample period is %v, must be positive", period)
	}
	return &Pacer{start: start, period: period}, nil
}

// Due returns the index of the first new sample, and how many samples have
// become due since the last call. If the clock went back, n is 0.
func (p *Pacer) Due(now time.Time) (first uint64, n int) {
	elapsed := now.Sub(p.start)
	if elapsed < 0 {
		return p.issued, 0
	}
	total := uint64(elapsed/p.period) + 1
	first = p.issued
	if total <= first {
		return first, 0
	}
	p.issued = total
	return first, int(total - first)
}
