package session

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
)

// limited starts a Manager with 10 messages a second and a burst of 20, and
// counts what gets through.
func limited(t *testing.T) (f *fake, s *Session, through *int) {
	through = new(int)
	opts := testOptions()
	opts.FrontendRate = Rate{Messages: 10, Burst: 20}
	on(&opts).message = func(*Session, wsframe.Opcode, []byte) error { *through++; return nil }
	m := newTestManager(t, opts)
	s, f = connect(t, m, frontend)
	return f, s, through
}

func message(s *Session) { _ = s.HandleMessage(wsframe.OpText, []byte("{}")) }

func TestRateLimitBurstAndRefill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, through := limited(t)
		for range 25 {
			f.read(message)
		}
		equal(t, "of a burst of 25", *through, 20)
		for range 5 {
			time.Sleep(100 * time.Millisecond)
			f.read(message)
		}
		equal(t, "and one each tenth of a second", *through, 25)
		time.Sleep(time.Minute)
		for range 25 {
			f.read(message)
		}
		equal(t, "after a minute's rest, of another 25", *through, 45)
		if !s.Open() {
			t.Error("closed for a moderate excess")
		}
		equal(t, "refused: stats, bad messages", fmt.Sprint(s.m.Stats().RateLimited.Load(), s.Health().BadMessages), "10 10")
	})
}

func TestRateLimitAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, through := limited(t)
		for range 10_000 {
			time.Sleep(100 * time.Millisecond)
			f.read(message)
		}
		equal(t, "messages at exactly the rate", *through, 10_000)
		equal(t, "written", f.sentText(), "")
	})
}

func TestRefusalIsToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, _ := limited(t)
		for range 30 {
			f.read(message)
		}
		sent := f.sent()
		equal(t, "answers to ten refusals", len(sent), 1)
		for _, part := range []string{`"type":"gateway.error"`, `"code":"rate_limited"`, "10 messages per second", "burst 20"} {
			if !strings.Contains(sent[0], part) {
				t.Errorf("the refusal %s lacks %s", sent[0], part)
			}
		}
		time.Sleep(999 * time.Millisecond) // 9 tokens
		for range 12 {
			f.read(message)
		}
		equal(t, "answers within the second", len(f.sent()), 1)
		time.Sleep(time.Millisecond)
		for range 3 {
			f.read(message)
		}
		equal(t, "answers after the second", len(f.sent()), 2)
		if !s.Open() {
			t.Error("closed")
		}
	})
}

func TestPersistentFloodIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, through := limited(t)
		n := 0
		for s.Open() && n < 1000 {
			f.read(message)
			n++
		}
		// The burst, twice as many refusals, and the one too many.
		equal(t, "messages until the close", n, 20+2*20+1)
		equal(t, "of which got through", *through, 20)
		f.read(message)
		equal(t, "got through after the close", *through, 20)
		synctest.Wait()
		sent := f.sent()
		equal(t, "last frame", sent[len(sent)-1], "close:4006:rate_limited")
		equal(t, "closes", s.m.Stats().Closes(), "map[rate_limited:1]")
	})
}

// TestFloodWithPauses: a peer that keeps above the limit without ever resting
// is closed in the end, one that rests now and then is not.
func TestFloodWithPauses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pause time.Duration
		open  bool
	}{
		{"11 a second", time.Second / 11, false},
		{"bursts of 25 every 3 seconds", 3 * time.Second, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, s, _ := limited(t)
				for range 1000 {
					n := 1
					if tt.open {
						n = 25
					}
					for range n {
						f.read(message)
					}
					time.Sleep(tt.pause)
				}
				equal(t, "open", s.Open(), tt.open)
			})
		})
	}
}

func TestPingFloodIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, _ := limited(t)
		n := 0
		for s.Open() && n < 1000 {
			f.read(func(s *Session) { _ = s.HandleControl(wsframe.OpPing, []byte("p")) })
			n++
		}
		synctest.Wait()
		equal(t, "pings until the close", n, 61)
		pongs := 0
		for _, frame := range f.sent() {
			if frame == "pong:p" {
				pongs++
			}
		}
		equal(t, "pongs", pongs, 20)
		equal(t, "closes", s.m.Stats().Closes(), "map[rate_limited:1]")
	})
}

func TestTelemetryAndPongsAreNotLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, s, through := limited(t)
		for range 10_000 {
			f.read(func(s *Session) {
				_ = s.HandleMessage(wsframe.OpBinary, nil)
				_ = s.HandleControl(wsframe.OpPong, nil)
			})
		}
		equal(t, "telemetry got through", *through, 10_000)
		equal(t, "open", s.Open(), true)
	})
}

func TestNoRateLimitByDefault(t *testing.T) {
	n := 0
	opts := testOptions()
	on(&opts).message = func(*Session, wsframe.Opcode, []byte) error { n++; return nil }
	m := newTestManager(t, opts)
	_, f := connect(t, m, frontend)
	for range 10_000 {
		f.read(message)
	}
	equal(t, "messages", n, 10_000)
}
