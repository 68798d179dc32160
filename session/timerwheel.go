package session

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Expirer owns a Timer. The wheel's goroutine calls Expire when the timer's deadline
// has passed, without a lock of the wheel. Expire must not block.
type Expirer interface {
	Expire(now time.Time)
}

// Timer is an entry of a Wheel. Embed the Timer in the struct that has the deadline.
// The zero value with Owner set is ready to use. The wheel's lock guards all other
// fields.
type Timer struct {
	Owner      Expirer
	next, prev *Timer
	deadline   int64
	slot       int32
	armed      bool
}

const (
	wheelSlots = 1024
	dueSlot    = wheelSlots // the slot of timers that are about to fire
	wheelTick  = 10 * time.Millisecond

	// stallAfter is the delay of the wheel's goroutine above which the process has
	// stalled: a signal stopped the process, the process got no processor time, or
	// an Expire blocked.
	stallAfter = time.Second
	// stallPause is the time that the wheel waits after a stall before it continues.
	// In this time the gateway reads the bytes that arrived during the stall, so that
	// their senders do not miss a deadline.
	stallPause = 100 * time.Millisecond
)

// Wheel is a hashed timing wheel (Varghese and Lauck, SOSP 1987, scheme 6) for all
// deadlines: heartbeats, idle timeouts, commands. A timer fires at most one tick of
// 10 ms after its deadline, and never before. Schedule and Cancel are O(1) and
// allocate nothing. After a stall of the process, the wheel waits for 100 ms before
// it fires the timers that are due and were not cancelled in that time.
//
// Goroutines: one, owned by the wheel, ended by Stop. The goroutine sleeps until
// the next slot in use, so an idle gateway does not wake up.
type Wheel struct {
	start time.Time
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}

	// stalled is the time at which the last stall ended, in nanoseconds since start;
	// 0 before the first stall.
	stalled atomic.Int64
	// expected is the time at which the goroutine should run next, in nanoseconds
	// since start. Owned by the goroutine.
	expected int64

	// mu guards the rest and every armed Timer; a leaf.
	mu sync.Mutex
	// slots has the timers by tick. The additional slot, dueSlot, has the timers that
	// are about to fire, so that Cancel and Schedule still find these timers.
	slots [wheelSlots + 1]*Timer
	// used has one bit for each slot, which is set while the slot has timers.
	used [wheelSlots/64 + 1]uint64
	// cursor is the last tick whose timers have fired.
	cursor int64
	// sleepUntil is the tick at which the goroutine wakes up.
	sleepUntil int64
	stopped    bool
}

// newWheel starts a wheel with the time origin start.
func newWheel(start time.Time) *Wheel {
	w := &Wheel{
		start: start,
		wake:  make(chan struct{}, 1),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go w.run()
	return w
}

// Schedule sets t to fire at the given time. If t was set already, the new time
// replaces the old one. On a stopped wheel, Schedule does nothing.
func (w *Wheel) Schedule(t *Timer, at time.Time) {
	deadline := int64(at.Sub(w.start))
	// Round up, so that a timer never fires early.
	tick := (deadline + int64(wheelTick) - 1) / int64(wheelTick)

	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return
	}
	if t.armed {
		w.unlink(t)
	}
	if tick <= w.cursor {
		tick = w.cursor + 1
	}
	t.deadline = tick
	w.link(t, int32(tick&(wheelSlots-1)))
	early := tick < w.sleepUntil
	if early {
		w.sleepUntil = tick
	}
	w.mu.Unlock()

	if early {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Cancel stops t. If Expire has not begun, the wheel does not call Expire. If Expire
// has begun, Cancel does not wait for its end.
func (w *Wheel) Cancel(t *Timer) {
	w.mu.Lock()
	if t.armed {
		w.unlink(t)
	}
	w.mu.Unlock()
}

// Stop ends the wheel and waits for its goroutine. No timer fires after Stop.
func (w *Wheel) Stop() {
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		<-w.done
		return
	}
	w.stopped = true
	w.mu.Unlock()
	close(w.quit)
	<-w.done
}

func (w *Wheel) run() {
	defer close(w.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		w.fire(w.now())
		now := w.now()
		wait := w.untilNext(now)
		w.expected = int64(now.Add(wait).Sub(w.start))
		timer.Reset(wait)
		select {
		case <-w.quit:
			return
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// fire fires all timers that are due at now.
func (w *Wheel) fire(now time.Time) {
	target := int64(now.Sub(w.start)) / int64(wheelTick)
	w.mu.Lock()
	first := w.cursor + 1
	if target-first >= wheelSlots {
		// More than one revolution has passed: visit each slot once.
		first = target - wheelSlots + 1
	}
	for tick := first; tick <= target; tick++ {
		for t := w.slots[tick&(wheelSlots-1)]; t != nil; {
			next := t.next
			if t.deadline <= target {
				w.unlink(t)
				w.link(t, dueSlot)
			}
			t = next
		}
	}
	if target > w.cursor {
		w.cursor = target
	}
	// Timers fire one at a time, because Expire may cancel or move another timer
	// that is due.
	for t := w.slots[dueSlot]; t != nil && !w.stopped; t = w.slots[dueSlot] {
		if w.hasStalled() {
			w.mu.Unlock()
			now = w.now()
			w.mu.Lock()
			continue
		}
		w.unlink(t)
		w.mu.Unlock()
		t.Owner.Expire(now)
		w.mu.Lock()
	}
	w.mu.Unlock()
}

// now returns the current time. After a stall, now first waits for stallPause, so
// that the goroutines that read connections catch up.
func (w *Wheel) now() time.Time {
	stalled := w.hasStalled()
	if stalled {
		select {
		case <-w.quit:
		case <-time.After(stallPause):
		}
	}
	now := time.Now()
	w.expected = int64(now.Sub(w.start))
	if stalled {
		w.stalled.Store(w.expected)
	}
	return now
}

// hasStalled reports whether the goroutine runs more than stallAfter later than
// expected. If not, hasStalled sets expected to the current time.
func (w *Wheel) hasStalled() bool {
	now := int64(time.Since(w.start))
	if now-w.expected > int64(stallAfter) {
		return true
	}
	w.expected = now
	return false
}

// untilNext returns the time until the next slot in use, and sets sleepUntil.
func (w *Wheel) untilNext(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := w.cursor + wheelSlots
	for ahead := int64(1); ahead <= wheelSlots; {
		slot := (w.cursor + ahead) & (wheelSlots - 1)
		word := w.used[slot>>6] >> (slot & 63)
		if word != 0 {
			next = w.cursor + ahead + int64(bits.TrailingZeros64(word))
			break
		}
		ahead += 64 - slot&63
	}
	w.sleepUntil = next
	wait := time.Duration(next)*wheelTick - now.Sub(w.start)
	return max(wait, 0)
}

// link puts t into a slot. The caller holds mu.
func (w *Wheel) link(t *Timer, slot int32) {
	t.slot, t.armed = slot, true
	t.prev, t.next = nil, w.slots[slot]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[slot] = t
	w.used[slot>>6] |= 1 << (slot & 63)
}

// unlink takes t out of its slot. The caller holds mu.
func (w *Wheel) unlink(t *Timer) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.slot] = t.next
		if t.next == nil {
			w.used[t.slot>>6] &^= 1 << (t.slot & 63)
		}
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.armed = nil, nil, false
}
