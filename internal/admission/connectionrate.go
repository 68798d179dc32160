package admission

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// maxRateWait bounds what a client is told to wait, in seconds.
const maxRateWait = 60

// connectionRate lets a number of connections in each second. All peers come
// back at once after a restart or a cut cable; those that are refused are spread
// over the time that the others need.
type connectionRate struct {
	rate float64 // 0: no limit

	// mu guards the rest; a leaf.
	mu     sync.Mutex
	tokens float64
	last   time.Time
	// refused were refused of late: one less for each that may have come since.
	refused float64
}

// take returns 0 to let a connection in, or the seconds that it should stay
// away.
func (c *connectionRate) take(now time.Time) int {
	if c.rate == 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	burst := max(c.rate, 1)
	grown := burst
	if !c.last.IsZero() {
		grown = now.Sub(c.last).Seconds() * c.rate
	}
	c.last = now
	c.tokens = min(c.tokens+grown, burst)
	c.refused = max(c.refused-grown, 0)
	if c.tokens >= 1 {
		c.tokens--
		return 0
	}
	c.refused++
	spread := min(c.refused/c.rate, maxRateWait-1)
	return 1 + int(math.Floor(rand.Float64()*(spread+1)))
}
