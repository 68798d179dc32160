package tensile

import (
	"fmt"
	"time"
)

// Pacer says how many samples a clock has made due. Because it counts from the
// start and not from the last call, a late tick is caught up and nothing
// drifts, however irregular the ticks are.
type Pacer struct {
	start  time.Time
	period time.Duration
	issued uint64
}

// NewPacer paces samples with the given time between them; the first is due at
// start.
func NewPacer(start time.Time, period time.Duration) (*Pacer, error) {
	if period <= 0 {
		return nil, fmt.Errorf("tensile: sample period is %v, must be positive", period)
	}
	return &Pacer{start: start, period: period}, nil
}

// Due returns the index of the first sample not yet handed out and how many
// have become due since the last call, and takes them as handed out. A clock
// that went back gives none.
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
