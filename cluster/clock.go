package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

var started = time.Now()

// now returns microseconds of a clock that never jumps and runs on while the
// machine sleeps. Setting the time of day, which small computers without a
// battery do after they have started, must not make messages look old.
func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(started).Microseconds() // forbidden by a sandbox: stands still while the machine sleeps
	}
	return t.Nano() / 1000
}

// offset estimates what to add to a time of another node's clock to get the
// time at which something sent then can be here at the earliest.
//
// Each heartbeat arrives late by what it waited on its way; so the smallest
// difference of the latest few is nearest to the truth. The first that is heard
// could itself be late, and the other node's clock may have stood still with
// its virtual machine: that is what an exchange, with both ends seen from here,
// is for.
type offset struct {
	known  bool
	least  int64
	recent [16]int64 // µs; of the latest heartbeats
	next   int
}

// exchange takes what an answer says: it was sent at the other's time sent,
// after the question was asked here and before the answer was heard here.
func (o *offset) exchange(asked, sent, heard int64) {
	low, high := asked-sent, heard-sent
	best := high
	if o.known {
		best = min(max(o.least, low), high)
	}
	for i := range o.recent {
		o.recent[i] = best
	}
	o.known, o.least = true, best
}

// beat takes a heartbeat, sent at the other's time and heard at ours.
func (o *offset) beat(sent, heard int64) {
	if !o.known {
		return
	}
	o.recent[o.next%len(o.recent)] = heard - sent
	o.next++
	o.least = o.recent[0]
	for _, d := range o.recent[1:] {
		o.least = min(o.least, d)
	}
}

// age returns how many microseconds something was on its way longer than the
// fastest are.
func (o *offset) age(sent, heard int64) int64 { return heard - sent - o.least }
