package bench

import "math"

// schedule defines when the messages of a generator are due. The schedule never
// waits: a late sender catches up, and its messages keep their times.
type schedule struct {
	start    int64   // ns; message 0 is due here
	interval float64 // ns between two messages
}

func newSchedule(start int64, perSecond float64) schedule {
	return schedule{start: start, interval: 1e9 / perSecond}
}

// due is the time of message g, in ns.
func (s *schedule) due(g uint64) int64 { return s.start + int64(float64(g)*s.interval) }

// count is how many messages are due before until.
func (s *schedule) count(until int64) uint64 {
	if until <= s.start {
		return 0
	}
	n := uint64(float64(until-s.start) / s.interval)
	for n > 0 && s.due(n-1) >= until {
		n--
	}
	for s.due(n) < until {
		n++
	}
	return n
}

// never is later than any time of a run.
const never = math.MaxInt64
