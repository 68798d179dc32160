package federation

import (
	"sync"
	"time"
)

// Outbound is the outbound position of a device. It assigns a Range to the samples
// that the device sends to this node. The zero value is for a device that has sent
// nothing.
type Outbound struct {
	// mu guards the rest; a leaf.
	mu sync.Mutex
	// placed is the range of the last samples. committed is the last range that
	// other nodes may know: the samples before its end are on the bus, or no node
	// is interested in them.
	placed, committed Range
	// repeats counts how often the position was sent since the last Commit.
	repeats int
}

// Place returns the range of the samples [from, to), which follow the last
// samples. Position does not include these samples before Commit. Otherwise other
// nodes could receive a position before its samples, and take the samples for
// lost.
func (o *Outbound) Place(from, to uint64) Range {
	o.mu.Lock()
	defer o.mu.Unlock()
	var first uint64
	if o.placed.First == 0 {
		first = firstChain()
	}
	o.placed = o.placed.appended(from, to, first)
	return o.placed
}

// started is when this process started.
var started = time.Now()

// firstChain returns the number of a device's first chain. Later calls return
// greater numbers, even when the system clock is set back.
func firstChain() uint64 { return uint64(started.Add(time.Since(started)).UnixMicro()) }

// Commit records that the samples of a range are on the bus, or that no node is
// interested in them.
func (o *Outbound) Commit(at Range) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at.From = at.To
	o.committed = at
	o.repeats = 0
}

// Position returns the position behind the last committed samples: a range without
// samples.
func (o *Outbound) Position() Range {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.committed
}

// maxRepeats is the number of times that a position is sent after each Commit.
// More than one is necessary because a report of a position may be lost too.
const maxRepeats = 3

// Repeat returns the position, and whether the caller should send it once more.
func (o *Outbound) Repeat() (Range, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	again := o.committed.First > 0 && o.repeats < maxRepeats
	o.repeats++
	return o.committed, again
}
