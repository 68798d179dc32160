package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

var started = time.Now()

// now returns the microseconds of a clock that never jumps and runs on while the
// machine sleeps. Small computers without a battery set the time of day after they
// have started; messages must not look old because of that.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started).Microseconds() // a sandbox forbids the call; this clock stands still while the machine sleeps
	}
	return t.Nano() / 1000
}

// clockOffset estimates the difference between this node's clock and a peer's: how
// much to add to the peer's sending time to get the earliest time at which the
// packet can arrive here.
//
// Each heartbeat arrives late by the time that it waited in queues, so the smallest
// difference of the latest few is nearest to the truth. But the first heartbeat may
// be late, and the peer's clock may have stood still with its virtual machine. So
// the estimate begins with a sync request and its reply, whose times at this end
// bound the difference from both sides.
type clockOffset struct {
	known  bool
	least  int64
	recent [16]int64 // differences of the latest heartbeats; µs
	next   int
}

// exchange takes a reply that the peer sent at its time sent: after the request was
// sent here, and before the reply arrived here.
func (o *clockOffset) exchange(requested, sent, arrived int64) {
	low, high := requested-sent, arrived-sent
	best := high
	if o.known {
		best = min(max(o.least, low), high)
	}
	for i := range o.recent {
		o.recent[i] = best
	}
	o.known, o.least = true, best
}

// heartbeat takes a heartbeat, sent at the peer's time, arrived at this node's.
func (o *clockOffset) heartbeat(sent, arrived int64) {
	if !o.known {
		return
	}
	o.recent[o.next%len(o.recent)] = arrived - sent
	o.next++
	o.least = o.recent[0]
	for _, d := range o.recent[1:] {
		o.least = min(o.least, d)
	}
}

// delay returns how many microseconds a packet took longer than the fastest ones.
func (o *clockOffset) delay(sent, arrived int64) int64 { return arrived - sent - o.least }
