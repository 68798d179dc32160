package session

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Expirer owns a Timer. Expire is called when the timer's deadline has passed, on
// the wheel's goroutine with no lock of the wheel held; it must not block.
type Expirer interface {
	Expire(now time.Time)
}

// Timer is an entry of a Wheel, to be embedded in what has the deadline. The zero
// value with Owner set is ready to use. All other fields are guarded by the
// wheel's lock.
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

	// stallAfter is how late the wheel's goroutine must run for the process to
	// count as stalled: stopped by a signal, starved of processor time, or held up
	// in an Expire.
	stallAfter = time.Second
	// stallPause is how long the wheel waits after a stall before it goes on, so
	// that what arrived meanwhile is read before deadlines pass for its absence.
	stallPause = 100 * time.Millisecond
)

// Wheel is one hashed timing wheel (Varghese and Lauck, SOSP 1987, scheme 6) for
// all deadlines: heartbeats, idle timeouts, commands. A timer fires at most one tick of 10 ms after its deadline and never before.
// Scheduling and cancelling are O(1) and allocate nothing. After a stall of the
// process the wheel first waits for 100 ms, then fires what is due and was not
// cancelled in that time.
//
// Goroutines: one, owned by the wheel, ended by Stop. It sleeps to the next
// slot in use, so an idle gateway does not wake up.
type Wheel struct {
	start time.Time
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}

	// stalled is when the last stall ended, in nanoseconds since start; 0 before
	// the first.
	stalled atomic.Int64
	// expected is when the goroutine should run next, in nanoseconds since start.
	// The goroutine owns it.
	expected int64

	// mu guards the rest and every armed Timer. It is a leaf: nothing else is
	// locked while it is held.
	mu sync.Mutex
	// slots holds the timers by tick. The additional slot, dueSlot, holds those
	// that are about to fire, so that Cancel and Schedule still find them.
	slots [wheelSlots + 1]*Timer
	used  [wheelSlots/64 + 1]uint64
	// cursor is the last tick whose timers have fired.
	cursor int64
	// sleepUntil is the tick at which the goroutine wakes up.
	sleepUntil int64
	stopped    bool
}

// newWheel starts a wheel whose time begins at start.
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

// Schedule sets t to fire at the given time, also if t was set already. On a
// stopped wheel it does nothing.
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

// Cancel stops t: an Expire that has not begun does not happen. Cancel does not
// wait for one that has begun.
func (w *Wheel) Cancel(t *Timer) {
	w.mu.Lock()
	if t.armed {
		w.unlink(t)
	}
	w.mu.Unlock()
}

// Stop ends the wheel and waits for its goroutine; nothing fires after it.
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

// fire runs everything due at now, slot by slot.
func (w *Wheel) fire(now time.Time) {
	target := int64(now.Sub(w.start)) / int64(wheelTick)
	w.mu.Lock()
	first := w.cursor + 1
	if target-first >= wheelSlots {
		// More than a revolution has passed: look at each slot once.
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
	// One at a time, because an Expire may cancel or move another due timer.
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

// now returns the time. After a stall it first gives the goroutines that read
// connections time to catch up.
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

// hasStalled reports whether the goroutine runs much later than expected. If not,
// the goroutine is expected to run on from now.
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
