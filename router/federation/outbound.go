package federation

import (
	"sync"
	"time"
)

// Outbound is the outbound position of a device: it places the samples that the
// device sends to this node among all samples before them. The zero value is that of a device that has sent nothing.
type Outbound struct {
	// mu guards the rest; a leaf.
	mu sync.Mutex
	// placed is where the last samples were placed, committed what other nodes
	// may be told: the samples before it are on the bus.
	placed, committed Range
	// repeats counts how often the position was told since it last moved.
	repeats int
}

// Place returns the place of the samples [from, to), which come next. Position
// does not tell of them before Commit: a position must not overtake the samples
// before it, or they would be taken for lost.
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

// firstChain numbers the first chain of a device. It grows even if somebody sets
// the clock back.
func firstChain() uint64 { return uint64(started.Add(time.Since(started)).UnixMicro()) }

// Commit says that the samples of a range are on the bus, or that no node wants
// them.
func (o *Outbound) Commit(at Range) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at.From = at.To
	o.committed = at
	o.repeats = 0
}

// Position returns the range without samples behind the last ones committed.
func (o *Outbound) Position() Range {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.committed
}

// maxRepeats is how often a position is told after each move: the message that
// tells it may be lost, too.
const maxRepeats = 3

// Repeat returns the position, and whether it should be told once more.
func (o *Outbound) Repeat() (Range, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	again := o.committed.First > 0 && o.repeats < maxRepeats
	o.repeats++
	return o.committed, again
}
