package membus_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/router/federation"
)

// accountant is a Member that counts the samples of one device that arrive,
// and those that its Inbound reports as lost.
type accountant struct {
	federation.Member
	interest chan bool

	// mu guards the rest.
	mu         sync.Mutex
	in         federation.Inbound
	came, told uint64
	to         uint64
}

func (a *accountant) NodeJoined(federation.NodeID, string)                   {}
func (a *accountant) NodeLeft(federation.NodeID, federation.Departure)       {}
func (a *accountant) BusChanged(bool)                                        {}
func (a *accountant) InterestChanged(_ federation.NodeID, _ string, on bool) { a.interest <- on }
func (a *accountant) DeviceHeld(n federation.NodeID, h federation.Holding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(a.in.Begin(n, &h.At))
}

func (a *accountant) ReceiveTelemetry(n federation.NodeID, b *federation.Batch) {
	a.mu.Lock()
	defer a.mu.Unlock()
	lost, fresh := a.in.Take(n, &b.Range, false)
	a.count(lost)
	a.came += b.Range.To - fresh
	a.to = b.Range.To
}

func (a *accountant) count(lost []federation.Samples) {
	for _, l := range lost {
		a.told += l.Count
	}
}

// TestLossesBalance disconnects two nodes at random while a device leaves gaps
// and restarts its numbering. Received and reported lost samples together are
// the sent ones.
func TestLossesBalance(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		hub := membus.NewHub()
		from, to := hub.Bus("from"), hub.Bus("to")
		sender, receiver := &accountant{interest: make(chan bool, 1)}, &accountant{}
		for bus, m := range map[*membus.HubBus]*accountant{from: sender, to: receiver} {
			if err := bus.Join(m); err != nil {
				t.Fatal(err)
			}
			defer bus.Leave()
		}
		to.UpdateInterest("press-1", true)
		<-sender.interest

		var out federation.Outbound
		from.Hold(federation.Holding{Device: "press-1", Epoch: 1, At: out.Position()})
		gaps, restarts, outage := r.Float64(), r.Float64()/10, 1+r.IntN(60)
		var next, sent uint64
		left, up := outage, true
		for range 300 {
			if left--; left < 0 {
				up, left = !up, r.IntN(outage)
				hub.SetReachable(up)
			}
			switch p := r.Float64(); {
			case p < restarts:
				next = r.Uint64N(next + 1)
			case p < restarts+gaps:
				next += 1 + r.Uint64N(100)
			}
			n := 1 + r.Uint64N(200)
			rg := out.Place(next, next+n)
			next, sent = next+n, sent+n
			from.SendTelemetry(&federation.Batch{Device: "press-1", Range: rg, Wire: make([]byte, 8)})
			out.Commit(rg)
		}
		hub.SetReachable(true)
		end := out.Position()
		from.SendTelemetry(&federation.Batch{Device: "press-1", Range: end})
		balanced := func() bool {
			receiver.mu.Lock()
			defer receiver.mu.Unlock()
			return receiver.to == end.To && receiver.came+receiver.told == sent
		}
		for deadline := time.Now().Add(10 * time.Second); !balanced(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("seed %d: %d came, %d told as lost, %d sent", seed, receiver.came, receiver.told, sent)
			}
		}
		from.Leave()
		to.Leave()
	}
}
