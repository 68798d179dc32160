package session

import (
	"sync"
	"time"
)

// wake schedules a flush of the session on its flusher, or on its own writer.
func (s *Session) wake(when flushTime) {
	if s.writer != nil {
		s.writer.wake(when)
		return
	}
	s.flusher.add(s, when)
}

// flusher writes the outboxes of its share of the event-loop sessions.
//
// Goroutines: one, owned by the Manager, ended by stop.
type flusher struct {
	interval time.Duration
	wakeup   chan struct{}
	quit     chan struct{}
	done     chan struct{}

	// mu guards the rest; a leaf.
	mu sync.Mutex
	// now has the sessions to flush at once, later the sessions to flush at the end
	// of the flush interval.
	now   []*Session
	later []*Session
	// since is the time at which the first session was added to later. The flush
	// interval starts at this time.
	since time.Time
}

func newFlusher(interval time.Duration) *flusher {
	f := &flusher{
		interval: interval,
		wakeup:   make(chan struct{}, 1),
		quit:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	go f.run()
	return f
}

func (f *flusher) add(s *Session, when flushTime) {
	f.mu.Lock()
	var signal bool
	if when == flushNow || f.interval <= 0 {
		signal = len(f.now) == 0
		f.now = append(f.now, s)
	} else {
		if len(f.later) == 0 {
			f.since = time.Now()
			signal = len(f.now) == 0
		}
		f.later = append(f.later, s)
	}
	f.mu.Unlock()
	if signal {
		select {
		case f.wakeup <- struct{}{}:
		default:
		}
	}
}

func (f *flusher) run() {
	defer close(f.done)
	sc := &scratch{buf: make([]byte, 0, writeSize), frames: make([]*Frame, 0, 128)}
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	var batch []*Session
	interval := f.interval
	for {
		f.mu.Lock()
		batch = append(batch[:0], f.now...)
		clear(f.now)
		f.now = f.now[:0]
		wait := time.Duration(-1)
		if len(f.later) > 0 {
			wait = interval - time.Since(f.since)
			if wait <= 0 {
				batch = append(batch, f.later...)
				clear(f.later)
				f.later = f.later[:0]
			}
		}
		f.mu.Unlock()
		if len(batch) > 0 {
			begun := time.Now()
			for i, s := range batch {
				s.flush(sc, true)
				batch[i] = nil
			}
			interval = stretchedInterval(f.interval, time.Since(begun))
			continue
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-f.quit:
			return
		case <-f.wakeup:
		case <-timer.C:
		}
	}
}

// stretchedInterval returns the flush interval after a round of writes that took
// the time round. Long rounds make the interval longer, up to four times the
// configured interval. Then more telemetry leaves in each write, and the flusher
// uses about half a processor at most.
func stretchedInterval(interval, round time.Duration) time.Duration {
	return max(interval, min(round*7/4, 4*interval))
}

func (f *flusher) stop() {
	close(f.quit)
	<-f.done
}
