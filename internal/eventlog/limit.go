package eventlog

import (
	"sync/atomic"
	"time"
)

// limiter bounds the lines of one kind. It lets burst lines through at once and
// one each interval in the long run, and counts the others. It is a token bucket
// that keeps one time in place of a number of tokens, so that a decision is one
// atomic operation and needs no lock.
type limiter struct {
	// Static.
	interval, burst time.Duration

	// full is when the bucket is full again, in nanoseconds of the Log's clock.
	full atomic.Int64
	// suppressed counts the lines that were not written since the last one.
	suppressed atomic.Uint64
}

// newLimiter allows burst lines at once and perSecond lines a second.
func newLimiter(perSecond, burst int) *limiter {
	interval := time.Second / time.Duration(perSecond)
	return &limiter{interval: interval, burst: interval * time.Duration(burst)}
}

// take reports whether a line may be written now, and how many were suppressed
// since the last one.
func (l *limiter) take(now time.Duration) (suppressed uint64, ok bool) {
	for {
		before := l.full.Load()
		full := max(time.Duration(before), now) + l.interval
		if full > now+l.burst {
			l.suppressed.Add(1)
			return 0, false
		}
		if l.full.CompareAndSwap(before, int64(full)) {
			return l.suppressed.Swap(0), true
		}
	}
}
