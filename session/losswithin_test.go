package session

import (
	"testing"
	"testing/synctest"
)

// TestLossWithBoundsKeepsItsCount reports a loss of some samples within bounds:
// ahead of what follows, behind what waits, and when the report itself gives way.
func TestLossWithBoundsKeepsItsCount(t *testing.T) {
	for name, behind := range map[string]int{"kept": 1, "dropped with its neighbours": 10} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				opts := testOptions()
				opts.TelemetryBytes = 400
				m := newTestManager(t, opts)
				s, f := stalled(t, m)
				_ = sendTelemetry(s, 1, 0, 10)
				s.ReportLoss(1, 10, 500, 17, LossBus)
				s.ReportLoss(1, 500, 520, 20, LossBus)
				for i := range behind {
					_ = sendTelemetry(s, 1, uint64(520+10*i), 10)
				}
				f.stall(false)
				synctest.Wait()
				var bus, slow, received uint64
				for _, w := range parseWire(f.wire) {
					l, ok := w.lost()
					switch {
					case !ok:
						received += uint64(w.header().Count)
					case l.Cause != string(LossBus):
						slow += l.Count()
					default:
						bus += l.Count()
						if l.Inexact != (l.To == 500) {
							t.Errorf("told %+v", l)
						}
					}
				}
				if bus != 37 || received+slow != uint64(10+10*behind) || (behind > 1) != (slow > 0) {
					t.Errorf("%d lost on the bus, want 37; %d received and %d lost here of %d", bus, received, slow, 10+10*behind)
				}
				equal(t, "lost samples", s.Health().LostSamples, 37+slow)
			})
		})
	}
}
