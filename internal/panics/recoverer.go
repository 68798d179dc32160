// Package panics is the one place where a panic ends: it is logged and counted,
// and only the peer whose input or request was being handled notices.
package panics

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

// Session is the peer that a function works for.
type Session interface {
	// ID is the session id in the log.
	ID() uuid.UUID
}

// Recoverer runs functions and recovers their panics. Its methods may be called
// on any goroutine.
type Recoverer struct {
	log   zerolog.Logger
	count atomic.Uint64
}

// NewRecoverer returns a Recoverer that logs to log.
func NewRecoverer(log zerolog.Logger) *Recoverer { return &Recoverer{log: log} }

// Count returns how many panics were recovered.
func (r *Recoverer) Count() uint64 { return r.count.Load() }

// Run calls f and reports whether f returned without a panic. A panic is logged
// with the session, nil where there is none yet. Run does not allocate unless f
// panics.
func (r *Recoverer) Run(s Session, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			r.count.Add(1)
			event := r.log.Error().Str("panic", fmt.Sprint(p)).Bytes("stack", debug.Stack())
			if s != nil {
				event = event.Stringer("session", s.ID())
			}
			event.Msg("panic while serving one peer; no other notices")
		}
	}()
	f()
	return true
}
