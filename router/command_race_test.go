package router

import (
	"encoding/json"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestOneOutcomePerCommand races a command's answers, its deadline, the end of
// its device and a takeover against each other. The asker and the listener of
// events get exactly one outcome.
func TestOneOutcomePerCommand(t *testing.T) {
	const rounds = 1000
	book := newEventBook(t)
	inBubble(t, func(t *testing.T, g *gateway) {
		rng := rand.New(rand.NewPCG(1, 2))
		askers := []*peer{g.frontend("alice"), g.frontend("bob"), g.frontend("")}
		seen := map[protocol.ErrorCode]int{}
		for round := range rounds {
			d := g.device("d1")
			g.quiet()
			g.peers = g.peers[:len(askers)]
			race := &race{rng: rng}

			// The commands race with the end of the device.
			outcomes := make([]<-chan apiOutcome, 2)
			for i := range outcomes {
				outcomes[i] = g.command(t.Context(), "d1", protocol.Message{Type: "c", TimeoutMS: 10 * (1 + rng.IntN(3))})
			}
			for _, a := range askers {
				timeout := strconv.Itoa(10 * (1 + rng.IntN(3)))
				race.run(rng.IntN(2), func() {
					a.send(`{"type":"c","id":"1","dst":"d1","timeout_ms":`+timeout+`}`, `{"type":"c","id":"2","dst":"d1","timeout_ms":20}`)
				})
			}
			// The device answers every command that it got, and some commands
			// twice.
			for range 2 {
				race.run(rng.IntN(4), func() {
					for _, m := range d.take() {
						if m.Type == "c" {
							d.send(`{"type":"done","re":"` + m.ID + `"}`)
						}
					}
				})
			}
			switch rng.IntN(4) {
			case 0:
				race.run(rng.IntN(4), d.hangUp)
			case 1:
				race.run(rng.IntN(4), func() { d.sess.Close(protocol.CloseKicked, "") })
			case 2:
				race.run(rng.IntN(4), func() {
					next, err := g.add(session.Info{Role: session.RoleDevice, Name: "d1"})
					if err != nil {
						t.Error(err)
						return
					}
					g.peers = append(g.peers, next)
				})
			}
			race.wait()
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()

			for _, a := range askers {
				ends := map[string]int{}
				for _, m := range a.take() {
					switch m.Type {
					case "done":
						ends[m.Re]++
						seen[""]++
					case protocol.TypeError:
						ends[m.Re]++
						seen[errorCode(t, m)]++
					}
				}
				if len(ends) != 2 || ends["1"] != 1 || ends["2"] != 1 {
					t.Fatalf("round %d: %q was told %v", round, a.sess.Name(), ends)
				}
				if n := a.waitingFor(); n != 0 {
					t.Fatalf("round %d: %d pending", round, n)
				}
			}
			for _, done := range outcomes {
				select {
				case o := <-done:
					if (o.text == nil) == (o.err == nil) {
						t.Fatalf("round %d: %s, %v", round, o.text, o.err)
					}
					if o.err != nil {
						seen[codeOf(t, o.err)]++
					}
				default:
					t.Fatalf("round %d: an API command has no outcome", round)
				}
			}
			if told := book.take(); len(told) != 2*len(askers)+len(outcomes) {
				t.Fatalf("round %d: %d commands were told to have ended", round, len(told))
			}
			if n := d.pendingCommands(); n != 0 {
				t.Fatalf("round %d: %d pending", round, n)
			}
			for _, p := range append(g.peers[len(askers):], d) {
				p.hangUp()
			}
			g.peers = g.peers[:len(askers)]
		}
		t.Log("outcomes:", seen)
		for _, code := range []protocol.ErrorCode{"", protocol.ErrTimeout, protocol.ErrDeviceDisconnected, protocol.ErrDeviceOffline} {
			if seen[code] == 0 {
				t.Errorf("outcome %q was never reached: the test races too little", code)
			}
		}
	}, book.listen)
}

func errorCode(t *testing.T, m received) protocol.ErrorCode {
	t.Helper()
	var e protocol.Error
	if err := json.Unmarshal(m.Payload, &e); err != nil {
		t.Fatal(err)
	}
	return e.Code
}

// race starts functions at the same instants of the bubble's clock, at ticks
// of the wheel. A random number of scheduler steps separates them.
type race struct {
	rng *rand.Rand
	wg  sync.WaitGroup
}

func (r *race) run(ticks int, f func()) {
	yields := r.rng.IntN(4)
	r.wg.Go(func() {
		time.Sleep(time.Duration(ticks) * 10 * time.Millisecond)
		for range yields {
			runtime.Gosched()
		}
		f()
	})
}

func (r *race) wait() { r.wg.Wait() }
