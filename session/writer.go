package session

import (
	"sync/atomic"
	"time"
)

// writer flushes one session whose transport blocks, so that a stalled peer
// stalls nobody else.
//
// Goroutines: one, owned by the session, ended by stop when the session leaves
// its Manager; a write under way ends at the transport's deadline or when the
// transport is closed.
type writer struct {
	s       *Session
	pending atomic.Uint32
	wakeup  chan struct{}
	quit    chan struct{}
	stopped atomic.Bool
}

func newWriter(s *Session) *writer {
	return &writer{s: s, wakeup: make(chan struct{}, 1), quit: make(chan struct{})}
}

func (w *writer) wake(d dueness) {
	for {
		old := w.pending.Load()
		if old >= uint32(d) {
			return
		}
		if w.pending.CompareAndSwap(old, uint32(d)) {
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
	alarm := time.NewTimer(time.Hour)
	alarm.Stop()
	defer alarm.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-w.wakeup:
		}
		if w.pending.Load() == uint32(dueLater) && interval > 0 {
			alarm.Reset(interval)
			select {
			case <-w.quit:
				return
			case <-w.wakeup:
				// Something that cannot wait joined it.
			case <-alarm.C:
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
