package session

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// alarmClock is a timer that notes when it fired.
type alarmClock struct {
	Timer
	due   time.Time
	fired []time.Time
	then  func(c *alarmClock)
}

func newAlarmClock() *alarmClock {
	c := new(alarmClock)
	c.Owner = c
	return c
}

func (c *alarmClock) Expire(time.Time) {
	c.fired = append(c.fired, time.Now())
	if c.then != nil {
		c.then(c)
	}
}

func (c *alarmClock) set(w *Wheel, d time.Duration) {
	c.due = time.Now().Add(d)
	w.Schedule(&c.Timer, c.due)
}

// check fails unless the clock rang once, in time.
func (c *alarmClock) check(t *testing.T) {
	t.Helper()
	if len(c.fired) != 1 {
		t.Fatalf("fired %d times, want once", len(c.fired))
	}
	if late := c.fired[0].Sub(c.due); late < 0 || late > wheelTick {
		t.Fatalf("fired %v after its deadline, want 0 to %v", late, wheelTick)
	}
}

func inWheel(t *testing.T, test func(t *testing.T, w *Wheel)) {
	synctest.Test(t, func(t *testing.T) {
		// Off the tick's beat.
		time.Sleep(3333333 * time.Nanosecond)
		w := newWheel(time.Now())
		defer w.Stop()
		test(t, w)
	})
}

const revolution = wheelSlots * wheelTick

func TestWheelFiresInTime(t *testing.T) {
	for name, most := range map[string]time.Duration{"crowded": 300 * time.Millisecond, "one revolution": revolution, "many": 7 * revolution, "sparse": time.Hour} {
		t.Run(name, func(t *testing.T) {
			inWheel(t, func(t *testing.T, w *Wheel) {
				rng := rand.New(rand.NewPCG(1, 2))
				n := 5000
				if name == "sparse" {
					n = 50
				}
				clocks := make([]*alarmClock, n)
				for i := range clocks {
					clocks[i] = newAlarmClock()
					clocks[i].set(w, time.Duration(rng.Int64N(int64(most))))
					if i%10 == 0 {
						time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
					}
				}
				time.Sleep(most + 2*wheelTick)
				synctest.Wait()
				for _, c := range clocks {
					c.check(t)
				}
			})
		})
	}
}

func TestWheelEdges(t *testing.T) {
	for _, d := range []time.Duration{
		0, 1, wheelTick - 1, wheelTick, wheelTick + 1, 64 * wheelTick, 65 * wheelTick,
		revolution - 1, revolution, revolution + 1, revolution + wheelTick, 2 * revolution, 10 * revolution,
	} {
		for _, idle := range []time.Duration{0, wheelTick, 63 * wheelTick, revolution - wheelTick, revolution, 3*revolution + 5*time.Millisecond} {
			inWheel(t, func(t *testing.T, w *Wheel) {
				time.Sleep(idle)
				c := newAlarmClock()
				c.set(w, d)
				time.Sleep(d + wheelTick)
				synctest.Wait()
				c.check(t)
			})
		}
	}
}

func TestWheelDeadlineInThePast(t *testing.T) {
	inWheel(t, func(t *testing.T, w *Wheel) {
		for range 3 {
			time.Sleep(time.Second)
			c := newAlarmClock()
			w.Schedule(&c.Timer, time.Now().Add(-time.Hour))
			time.Sleep(wheelTick)
			synctest.Wait()
			if len(c.fired) != 1 {
				t.Fatalf("fired %d times within a tick, want once", len(c.fired))
			}
		}
	})
}

func TestWheelCancel(t *testing.T) {
	inWheel(t, func(t *testing.T, w *Wheel) {
		var all []*alarmClock
		for i := range 100 {
			// All in few slots, cancelled from the front, the middle and the end.
			c := newAlarmClock()
			c.set(w, time.Duration(i%3)*wheelTick+time.Second)
			all = append(all, c)
		}
		for i, c := range all {
			if i%2 == 0 {
				w.Cancel(&c.Timer)
				w.Cancel(&c.Timer)
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for i, c := range all {
			if i%2 != 0 {
				c.check(t)
			} else if len(c.fired) != 0 {
				t.Fatal("a cancelled timer fired")
			}
			w.Cancel(&c.Timer) // after the end: nothing
		}
		if w.used != [len(w.used)]uint64{} {
			t.Error("an empty wheel has slots marked as used")
		}
	})
}

func TestWheelReschedule(t *testing.T) {
	inWheel(t, func(t *testing.T, w *Wheel) {
		rng := rand.New(rand.NewPCG(3, 4))
		var all []*alarmClock
		for range 500 {
			c := newAlarmClock()
			for range 1 + rng.IntN(5) {
				c.set(w, 100*time.Millisecond+time.Duration(rng.Int64N(int64(2*revolution))))
			}
			all = append(all, c)
		}
		time.Sleep(2*revolution + time.Second)
		synctest.Wait()
		for _, c := range all {
			c.check(t)
		}
	})
}

// TestWheelRearmsItself: a periodic timer, the way the heartbeat works.
func TestWheelRearmsItself(t *testing.T) {
	inWheel(t, func(t *testing.T, w *Wheel) {
		c := newAlarmClock()
		c.then = func(c *alarmClock) {
			if late := time.Since(c.due); late < 0 || late > wheelTick {
				t.Errorf("fired %v after its deadline", late)
			}
			c.set(w, 30*time.Second)
		}
		c.set(w, 30*time.Second)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(c.fired); n != 19 && n != 20 {
			t.Errorf("fired %d times in 10 minutes, want 19 or 20", n)
		}
	})
}

// TestWheelExpireMovesAnother: of timers that are due together, one cancels or
// moves another before it has fired.
func TestWheelExpireMovesAnother(t *testing.T) {
	for _, what := range []string{"cancel", "move"} {
		t.Run(what, func(t *testing.T) {
			inWheel(t, func(t *testing.T, w *Wheel) {
				a, b := newAlarmClock(), newAlarmClock()
				touch := func(other *alarmClock) func(*alarmClock) {
					return func(*alarmClock) {
						if len(other.fired) > 0 {
							return
						}
						if what == "cancel" {
							w.Cancel(&other.Timer)
						} else {
							other.set(w, time.Second)
						}
					}
				}
				a.then, b.then = touch(b), touch(a)
				a.set(w, 5*wheelTick)
				b.set(w, 5*wheelTick)
				time.Sleep(10 * wheelTick)
				synctest.Wait()
				if len(a.fired)+len(b.fired) != 1 {
					t.Fatalf("fired: %d and %d, want only the first", len(a.fired), len(b.fired))
				}
				w.Cancel(new(Timer)) // the wheel's lock orders this look before the next firing
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if want := map[string]int{"cancel": 1, "move": 2}[what]; len(a.fired)+len(b.fired) != want {
					t.Errorf("fired %d and %d in the end, want %d together", len(a.fired), len(b.fired), want)
				}
				if what == "move" {
					a.check(t)
					b.check(t)
				}
			})
		})
	}
}

// TestWheelAfterAStall: when the process could not run, what has arrived
// meanwhile gets the chance to cancel a deadline before it fires; everything
// else that is due fires after that pause, and there is one pause for a stall.
func TestWheelAfterAStall(t *testing.T) {
	for _, stall := range []time.Duration{500 * time.Millisecond, 2 * time.Second, time.Minute} {
		inWheel(t, func(t *testing.T, w *Wheel) {
			blocker, cancelled := newAlarmClock(), newAlarmClock()
			blocker.then = func(*alarmClock) { time.Sleep(stall) }
			blocker.set(w, 20*time.Millisecond)
			var others []*alarmClock
			for i := range 20 {
				c := newAlarmClock()
				c.set(w, time.Duration(30+10*i)*time.Millisecond)
				others = append(others, c)
			}
			cancelled.set(w, 40*time.Millisecond)
			begin := time.Now()
			time.Sleep(stall + 50*time.Millisecond)
			w.Cancel(&cancelled.Timer) // behind the stall, before the end of the pause
			time.Sleep(time.Second)
			synctest.Wait()
			pause := time.Duration(0)
			if stall > stallAfter {
				pause = stallPause
				equal(t, "fired although cancelled in the pause", len(cancelled.fired), 0)
			}
			for i, c := range others {
				if len(c.fired) != 1 {
					t.Fatalf("timer %d fired %d times", i, len(c.fired))
				}
				least := max(c.due.Sub(begin), 20*time.Millisecond+stall+pause)
				if at := c.fired[0].Sub(begin); at < least || at > least+2*wheelTick {
					t.Errorf("stalled for %v: timer %d fired after %v, want %v", stall, i, at, least)
				}
			}
			next := newAlarmClock()
			next.set(w, time.Second)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			next.check(t)
		})
	}
}

func TestWheelStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWheel(time.Now())
		c := newAlarmClock()
		c.set(w, time.Second)
		w.Stop()
		w.Stop()
		late := newAlarmClock()
		late.set(w, 0)
		w.Cancel(&c.Timer)
		w.Cancel(&late.Timer)
		time.Sleep(time.Minute)
		if len(c.fired)+len(late.fired) != 0 {
			t.Error("a stopped wheel fired")
		}
	})
}

func TestWheelSleepsWhenIdle(t *testing.T) {
	inWheel(t, func(t *testing.T, w *Wheel) {
		time.Sleep(10 * revolution)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if ahead := w.sleepUntil - w.cursor; ahead != wheelSlots {
			t.Errorf("an idle wheel sleeps for %d ticks, want a revolution", ahead)
		}
	})
}

// TestWheelFromManyGoroutines is for the race detector; real time.
func TestWheelFromManyGoroutines(t *testing.T) {
	w := newWheel(time.Now())
	var fired atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 5))
			timers := make([]Timer, 50)
			for i := range timers {
				timers[i].Owner = counter{&fired}
			}
			for range 5000 {
				timer := &timers[rng.IntN(len(timers))]
				if rng.IntN(4) == 0 {
					w.Cancel(timer)
				} else {
					w.Schedule(timer, time.Now().Add(time.Duration(rng.IntN(60)-5)*time.Millisecond))
				}
			}
		})
	}
	wg.Wait()
	gatewaytest.Eventually(t, "the wheel is empty", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.used == [len(w.used)]uint64{}
	})
	w.Stop()
	if fired.Load() == 0 {
		t.Error("nothing fired")
	}
}

type counter struct{ n *atomic.Int64 }

func (c counter) Expire(time.Time) { c.n.Add(1) }
