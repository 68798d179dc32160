package bench

import "time"

// clock gives nanoseconds since 1970 that never step: the wall time is read
// once and carried on by the monotonic clock.
type clock struct {
	base time.Time
	wall int64
}

func newClock() clock {
	t := time.Now()
	return clock{base: t, wall: t.UnixNano()}
}

func (c *clock) now() int64 { return c.wall + int64(time.Since(c.base)) }
