package session

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// TestNoLostWakeUps has a kernel that takes bytes at random from another
// goroutine while several send: in the end everything is written.
func TestNoLostWakeUps(t *testing.T) {
	for _, locked := range []bool{false, true} {
		for seed := range uint64(6) {
			opts := testOptions()
			opts.InflightBytes = 1 << (8 + seed)
			opts.ControlBytes, opts.TelemetryBytes = 64<<20, 64<<20
			opts.Flushers = 1 + int(seed%2)
			m := newTestManager(t, opts)
			s, f := connect(t, m, frontend, func(f *fake) { f.discard, f.locked = true, locked })
			f.stall(true)
			stop := make(chan struct{})
			var kernel, senders sync.WaitGroup
			kernel.Go(func() {
				rng := rand.New(rand.NewPCG(seed, 7))
				for {
					select {
					case <-stop:
						return
					default:
						f.progress(rng.Int64N(int64(2 * opts.InflightBytes)))
						runtime.Gosched()
					}
				}
			})
			var want int64
			for g := range 3 {
				n := 600
				want += int64(n) * int64([]int{102, 102, 38}[g])
				senders.Go(func() {
					text := NewTextFrame([]byte(strings.Repeat("x", 100)))
					data := telemetry(1, 0, 1)
					defer text.Release()
					defer data.Release()
					for i := range n {
						switch g {
						case 0:
							_ = s.Send(text, i%2 == 0)
							s.Flush()
						case 1:
							_ = s.Send(text, false)
							s.Schedule()
						case 2:
							_ = s.SendTelemetry(data, nil)
						}
					}
				})
			}
			senders.Wait()
			gatewaytest.Eventually(t, fmt.Sprintf("everything written, locked=%v, seed %d", locked, seed), func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return int64(f.total) == want
			})
			close(stop)
			kernel.Wait()
			s.TransportClosed(nil)
		}
	}
}

// TestLastProgressWakesUp takes the kernel's last step at every moment around
// the flusher's look at it: the classic lost wake-up.
func TestLastProgressWakesUp(t *testing.T) {
	opts := testOptions()
	opts.InflightBytes = 100
	m := newTestManager(t, opts)
	s, f := connect(t, m, frontend, func(f *fake) { f.discard = true })
	f.stall(true)
	total := 0
	for i := range 3000 {
		// Fill up, then let the one and only progress race with the next flush.
		total += 102
		text := NewTextFrame([]byte(strings.Repeat("x", 100)))
		_ = s.Send(text, false)
		done := make(chan struct{})
		go func() { f.progress(1 << 20); close(done) }()
		if i%2 == 0 {
			s.Flush()
		} else {
			s.Schedule()
		}
		text.Release()
		<-done
		gatewaytest.Eventually(t, "the frame is written", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.total >= total-102*boolInt(f.buffered.Load() > 0)
		})
	}
}

// TestProgressBetweenLookAndMark: the kernel takes everything after the flusher
// has seen that there is no room and before it has noted the stall.
func TestProgressBetweenLookAndMark(t *testing.T) {
	m := newTestManager(t, testOptions())
	s, f := connect(t, m, frontend)
	f.buffered.Store(1 << 30)
	_ = sendText(s, "x", false)
	f.onLook = func() {
		f.onLook = nil
		f.progress(1 << 40)
	}
	s.Flush()
	equal(t, "written", f.sentText(), "x")
	if s.stalled.Load() {
		t.Error("marked as stalled although everything was written")
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
