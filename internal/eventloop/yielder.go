package eventloop

import "time"

const (
	// workTime is how long a goroutine beside the pollers works in a row.
	workTime = 500 * time.Microsecond
	// maxYield ends the waiting for pollers that have no end of work.
	maxYield = 10 * time.Millisecond
)

// yielder makes a goroutine beside the pollers, which may have a lot of work at
// once, yield to them: after workTime it waits until each poller has begun
// another loop iteration. A yielder belongs to one goroutine.
type yielder struct {
	iterations iterations
	spent      time.Duration
}

// yieldAfter counts work that began at a time and has ended, and waits if the
// goroutine has worked for long enough.
func (y *yielder) yieldAfter(begun time.Time) {
	if y.spent += time.Since(begun); y.spent < workTime {
		return
	}
	y.spent = 0
	next := make(chan struct{}, len(y.iterations))
	late := time.NewTimer(maxYield)
	defer late.Stop()
	for _, it := range y.iterations {
		if !it.notify(next) {
			return
		}
	}
	for range y.iterations {
		select {
		case <-next:
		case <-late.C:
			return
		}
	}
}
