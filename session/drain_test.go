package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

// acknowledging is a fake whose kernel tells what the peer has not taken.
type acknowledging struct {
	*fake
	unacknowledged atomic.Int64
}

// Unacknowledged implements Acknowledger.
func (a *acknowledging) Unacknowledged() int { return int(a.unacknowledged.Load()) }

// TestStopWaitsForSlowReaders: while the Manager stops, a peer that has not
// taken everything has until the end of the context, and one that has, the
// grace time from then on.
func TestStopWaitsForSlowReaders(t *testing.T) {
	const grace = 2 * time.Second
	for _, c := range []struct {
		name string
		// queued waits in the outbox, handed in the transport, kernel below it; the
		// peer takes it after so long, or never.
		queued, handed, kernel bool
		failed                 bool // the peer's session had failed before
		after                  time.Duration
		answers                bool
		err                    error
		least, most            time.Duration
	}{
		{name: "nothing waits, no answer", least: grace, most: grace + wheelTick},
		{name: "in the outbox", queued: true, handed: true, after: 20 * time.Second, answers: true, least: 20 * time.Second, most: 20*time.Second + wheelTick},
		{name: "in the transport", handed: true, after: 20 * time.Second, answers: true, least: 20 * time.Second, most: 20*time.Second + wheelTick},
		{name: "in the kernel", kernel: true, after: 20 * time.Second, least: 20 * time.Second, most: 20*time.Second + 2*grace + wheelTick},
		{name: "in the outbox, no answer", queued: true, handed: true, after: 20 * time.Second, least: 20 * time.Second, most: 20*time.Second + 2*grace + wheelTick},
		{name: "never taken, failed", queued: true, handed: true, failed: true, after: time.Hour, least: grace, most: grace + wheelTick},
		{name: "never taken", queued: true, handed: true, after: time.Hour, err: context.DeadlineExceeded, least: time.Minute, most: time.Minute + wheelTick},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.CloseGrace = grace
				m := newTestManager(t, opts)
				a := &acknowledging{fake: &fake{ended: make(chan struct{})}}
				s, err := m.Add(frontend, a)
				if err != nil {
					t.Fatal(err)
				}
				if c.handed {
					a.stall(true)
					if c.queued {
						a.buffered.Store(1 << 30)
					}
				}
				if c.kernel {
					a.unacknowledged.Store(1)
				}
				_ = sendText(s, "queued", false)
				_ = sendTelemetry(s, 1, 0, 1)
				if c.failed {
					s.Fail(protocol.CloseSlowConsumer, "")
				}
				time.AfterFunc(c.after, func() {
					a.unacknowledged.Store(0)
					if c.handed {
						a.stall(false)
					}
					if c.answers {
						synctest.Wait()
						a.read(func(s *Session) { _ = s.HandleControl(8, nil) })
					}
				})
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := m.Stop(ctx); !errors.Is(err, c.err) {
					t.Errorf("Stop: %v", err)
				}
				if took := time.Since(begin); took < c.least || took > c.most {
					t.Errorf("Stop took %v, want %v to %v", took, c.least, c.most)
				}
				if c.err == nil && !c.failed {
					equal(t, "written", a.sentText(), "queued data:1:0-1 close:1001:going_away")
				}
			})
		})
	}
}
