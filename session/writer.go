package session

import (
	"sync/atomic"
	"time"
)

// writer flushes one session whose transport blocks, so that a slow peer does not
// delay other peers.
//
// Goroutines: one, owned by the session, ended by stop when the connection has
// ended. A write in progress ends at the transport's deadline or when the
// transport is closed.
type writer struct {
	s       *Session
	pending atomic.Uint32 // flushTime
	wakeup  chan struct{}
	quit    chan struct{}
	stopped atomic.Bool
}

func newWriter(s *Session) *writer {
	return &writer{s: s, wakeup: make(chan struct{}, 1), quit: make(chan struct{})}
}

func (w *writer) wake(when flushTime) {
	for {
		old := w.pending.Load()
		if old >= uint32(when) {
			return
		}
		if w.pending.CompareAndSwap(old, uint32(when)) {
			break
		}
	}
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

func (w *writer) run() {
	defer w.s.m.writers.Done()
	interval := w.s.m.opts.FlushInterval
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-w.wakeup:
		}
		if w.pending.Load() == uint32(flushWithinInterval) && interval > 0 {
			timer.Reset(interval)
			select {
			case <-w.quit:
				return
			case <-w.wakeup:
				// A message that must not wait was queued.
			case <-timer.C:
			}
		}
		w.pending.Store(0)
		sc := scratchPool.Get().(*scratch)
		w.s.flush(sc, true)
		scratchPool.Put(sc)
	}
}

func (w *writer) stop() {
	if w.stopped.CompareAndSwap(false, true) {
		close(w.quit)
	}
}
