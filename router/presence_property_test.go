package router

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x1ab)) }

// TestEveryViewOfThePresenceIsTrue connects and disconnects devices and front
// ends concurrently. A front end's view starts with the list in its welcome
// and follows each notice. The view never has a gap or a duplicate, and in the
// end equals the devices that are connected.
func TestEveryViewOfThePresenceIsTrue(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) { churn(t, g, seed) },
				func(_ *Options, so *session.Options) { so.RefuseDuplicate = seed%4 == 3 })
		})
	}
}

func churn(t *testing.T, g *gateway, seed uint64) {
	const ids, workers, steps = 5, 6, 60
	var wg sync.WaitGroup
	var mu sync.Mutex
	var watchers []*peer
	for w := range uint64(workers) {
		wg.Go(func() {
			rng := newRand(seed<<8 | w)
			var mine []*peer
			for range steps {
				switch n := rng.IntN(10); {
				case n < 5:
					p, err := g.add(session.Info{Role: session.RoleDevice, Name: fmt.Sprintf("d%d", rng.IntN(ids))})
					if err == nil {
						mine = append(mine, p)
					} else if !errors.Is(err, session.ErrDuplicateDevice) {
						t.Error(err)
					}
				case n < 8 && len(mine) > 0:
					i := rng.IntN(len(mine))
					switch p := mine[i]; rng.IntN(3) {
					case 0:
						p.hangUp()
					case 1:
						p.sess.Close(protocol.CloseKicked, "")
					default:
						p.sess.Fail(protocol.CloseProtocolError, "")
					}
					mine = append(mine[:i], mine[i+1:]...)
				case n < 9:
					p, err := g.add(session.Info{Role: session.RoleFrontend, Name: "alice"})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					watchers = append(watchers, p)
					mu.Unlock()
				default:
					time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	time.Sleep(5 * time.Second)
	watchers = append(watchers, g.frontend("last"))
	synctest.Wait()

	truth := map[string]uint32{}
	for _, d := range g.listing() {
		truth[d.DeviceID] = d.Stream
		if s := g.m.ByDevice(d.DeviceID); s == nil || s.ID().String() != d.Session {
			t.Errorf("%s: the router has session %s, the manager %v", d.DeviceID, d.Session, s)
		}
	}
	if n := g.m.Devices(); n != len(truth) {
		t.Errorf("the manager has %d devices, the router %v", n, truth)
	}
	for i, p := range watchers {
		if view := viewOf(t, p); fmt.Sprint(view) != fmt.Sprint(truth) {
			t.Errorf("front end %d sees %v, the truth is %v", i, view, truth)
		}
	}
}

// viewOf returns a front end's view after its welcome and all notices.
func viewOf(t *testing.T, p *peer) map[string]uint32 {
	t.Helper()
	view := map[string]uint32{}
	for _, d := range p.welcome.Devices {
		view[d.DeviceID] = d.Stream
	}
	for _, m := range p.take() {
		n := noticeOf(t, m)
		stream, online := view[n.DeviceID]
		switch m.Type {
		case protocol.TypeDeviceOnline:
			if online {
				t.Fatalf("%s came twice", n.DeviceID)
			}
			view[n.DeviceID] = n.Stream
		case protocol.TypeDeviceOffline:
			if !online || stream != n.Stream {
				t.Fatalf("%s went with stream %d, it was %d (there: %v)", n.DeviceID, n.Stream, stream, online)
			}
			delete(view, n.DeviceID)
		default:
			t.Fatalf("unexpected %v", m)
		}
	}
	return view
}
