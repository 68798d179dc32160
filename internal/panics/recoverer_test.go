package panics

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
)

type fakeSession uuid.UUID

func (s fakeSession) ID() uuid.UUID { return uuid.UUID(s) }

func TestRun(t *testing.T) {
	var log bytes.Buffer
	r := NewRecoverer(zerolog.New(&log))
	ran := false
	if !r.Run(nil, func() { ran = true }) || !ran || r.Count() != 0 || log.Len() != 0 {
		t.Errorf("without a panic: ran %v, counted %d, logged %q", ran, r.Count(), &log)
	}
	if r.Run(nil, func() { panic("injected") }) || r.Count() != 1 || !strings.Contains(log.String(), `"panic":"injected"`) || strings.Contains(log.String(), `"session"`) {
		t.Errorf("a panic: counted %d, logged %q", r.Count(), &log)
	}
	log.Reset()
	id := uuid.New()
	if r.Run(fakeSession(id), func() { panic("again") }) || r.Count() != 2 || !strings.Contains(log.String(), id.String()) {
		t.Errorf("a session's panic: counted %d, logged %q", r.Count(), &log)
	}
}

// TestRunDoesNotAllocate: each read of a session runs through it.
func TestRunDoesNotAllocate(t *testing.T) {
	r := NewRecoverer(zerolog.Nop())
	id := fakeSession(uuid.New())
	s := Session(&id)
	sum := 0
	if n := testing.AllocsPerRun(100, func() { r.Run(s, func() { sum++ }) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
