package bench

import "time"

// clock returns nanoseconds since 1970 without steps: the wall time is read
// once, and the monotonic clock is added.
type clock struct {
	base time.Time
	wall int64
}

func newClock() clock {
	t := time.Now()
	return clock{base: t, wall: t.UnixNano()}
}

func (c *clock) now() int64 { return c.wall + int64(time.Since(c.base)) }
