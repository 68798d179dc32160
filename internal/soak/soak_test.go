package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
)

// shortTime is how long the soak lasts without SOAK_TIME.
const shortTime = 15 * time.Second

// endings end sessions from outside in different ways.
var endings = []func(g *gateway, i int){kick, turnOver, loseToken, outliveJWT, renewJWT}

// steady reports whether a device or user accounts for samples and commands,
// and so must not be disturbed.
func steady(name string) bool { return strings.HasPrefix(name, "steady-") }

// TestSoak runs all kinds of load and failure at once. Afterwards each sample
// of the steady devices was received or reported lost exactly once, each
// command has one outcome, and the gateway keeps no resources of the others.
func TestSoak(t *testing.T) {
	length := shortTime
	if text := os.Getenv("SOAK_TIME"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("SOAK_TIME: %v; use for example 10m", err)
		}
	}
	g := startGateway(t)
	chaos(t, g, 2*time.Second)()
	before := g.atRest(t)

	steadies := startParty(t, g)
	wait := chaos(t, g, length)
	drains(t, time.Now().Add(length))
	wait()
	steadies.balance(t)
	steadies.leave()
	after := g.atRest(t)
	t.Logf("before: %v; after: %v", before, after)
	before.compare(t, after)
	if n := g.Metric("labgate_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	t.Logf("%d sessions lost their token, %d outlived their JWT, %d renewed it", g.endings[0].Load(), g.endings[1].Load(), g.endings[2].Load())
	for i, what := range []string{"lost its token", "outlived its JWT", "renewed its JWT"} {
		if g.endings[i].Load() == 0 {
			t.Errorf("no session %s", what)
		}
	}

	// Once more, with an end in the middle.
	steadies = startParty(t, g)
	stop := chaos(t, g, time.Hour)
	time.Sleep(2 * time.Second)
	steadies.drained(t, g)
	stop()
}

// chaos runs the actors for a time. The returned function waits for their end,
// or ends them when the gateway has ended.
func chaos(t *testing.T, g *gateway, length time.Duration) (wait func()) {
	t.Helper()
	until := time.Now().Add(length)
	var all sync.WaitGroup
	var rounds atomic.Int64
	act := func(actor func(g *gateway, i int), n int, rest time.Duration) {
		for range n {
			all.Go(func() {
				for i := rand.IntN(12); time.Now().Before(until) && g.Alive(); i++ {
					actor(g, i)
					rounds.Add(1)
					time.Sleep(rest)
				}
			})
		}
	}
	act(comeAndGo, 6, 5*time.Millisecond)
	act(dieReading, 6, 5*time.Millisecond)
	act(talkNonsense, 3, 10*time.Millisecond)
	for _, end := range endings {
		act(end, 1, 100*time.Millisecond)
	}
	return func() {
		all.Wait()
		t.Logf("%d visits", rounds.Load())
	}
}

// drains starts further gateways and ends them under load.
func drains(t *testing.T, until time.Time) {
	t.Helper()
	for time.Now().Before(until) {
		g := startGateway(t)
		stop := chaos(t, g, time.Hour)
		time.Sleep(time.Duration(500+rand.IntN(2000)) * time.Millisecond)
		g.terminate()
		stop()
	}
}

// party is the steady devices and the watchers.
type party struct {
	devices  []*device
	watchers []*watcher
	quiet    chan struct{} // closed to stop commands
	stop     chan struct{} // closed to stop telemetry
	working  sync.WaitGroup
}

func startParty(t *testing.T, g *gateway) *party {
	t.Helper()
	p := &party{quiet: make(chan struct{}), stop: make(chan struct{})}
	for i := range 4 {
		d, err := newDevice(g.Addr, fmt.Sprintf("steady-%d", i), g.credentials.device)
		if err != nil {
			t.Fatal(err)
		}
		p.devices = append(p.devices, d)
	}
	for i, pause := range []time.Duration{0, 0, 30 * time.Millisecond} {
		w, err := newWatcher(g.Addr, fmt.Sprintf("steady-watcher-%d", i), g.credentials.frontend, pause)
		if err != nil {
			t.Fatal(err)
		}
		p.watchers = append(p.watchers, w)
	}
	for _, d := range p.devices {
		p.working.Go(func() { d.stream(p.stop) })
	}
	for _, w := range p.watchers {
		p.working.Go(func() {
			for tick := time.NewTicker(20 * time.Millisecond); ; {
				select {
				case <-p.quiet:
					tick.Stop()
					return
				case <-tick.C:
					// Some of these devices stay, some connect and disconnect,
					// one never connects.
					w.command([]string{"steady-0", "steady-3", "visitor-1", "visitor-7", "nobody"}[rand.IntN(5)])
				}
			}
		})
	}
	return p
}

// balance stops the party and waits until every sample and command is
// accounted for.
func (p *party) balance(t *testing.T) {
	t.Helper()
	close(p.quiet)
	close(p.stop)
	p.working.Wait()
	var sent uint64
	for _, d := range p.devices {
		sent += d.sent.Load()
	}
	for _, w := range p.watchers {
		w.pause.Store(0)
		gatewaytest.Eventually(t, w.name+" has all samples and outcomes", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, d := range p.devices {
				if w.next[d.id] != d.sent.Load() {
					return false
				}
			}
			return true
		})
		gatewaytest.Eventually(t, w.name+" has an outcome of each command", func() bool { return w.open() == 0 })
		w.mu.Lock()
		t.Logf("%s: %d samples sent, %d received, %d told lost; %d commands", w.name, sent, w.samples, w.lost, w.asked)
		if w.samples+w.lost > sent || w.samples == 0 || w.asked == 0 {
			t.Errorf("%s: %d and %d of %d samples", w.name, w.samples, w.lost, sent)
		}
		w.mu.Unlock()
		for _, problem := range w.problems() {
			t.Error(problem)
		}
		select {
		case <-w.done:
			t.Errorf("%s was closed with %d", w.name, w.closed)
		default:
		}
	}
}

// leave closes every connection of the party.
func (p *party) leave() {
	for _, d := range p.devices {
		d.Leave()
		<-d.done
	}
	for _, w := range p.watchers {
		w.Leave()
		<-w.done
	}
}

// drained ends the gateway under the party: every session is closed with 1001,
// and every earlier command has an outcome.
func (p *party) drained(t *testing.T, g *gateway) {
	t.Helper()
	close(p.quiet)
	for _, w := range p.watchers {
		gatewaytest.Eventually(t, w.name+" has an outcome of each command", func() bool { return w.open() == 0 })
	}
	g.terminate()
	close(p.stop)
	p.working.Wait()
	for _, d := range p.devices {
		<-d.done
		if d.closed != 1001 {
			t.Errorf("%s was closed with %d", d.id, d.closed)
		}
	}
	for _, w := range p.watchers {
		<-w.done
		if n := w.open(); n > 0 || w.closed != 1001 {
			t.Errorf("%s was closed with %d, with %d commands open", w.name, w.closed, n)
		}
		for _, problem := range w.problems() {
			t.Error(problem)
		}
	}
}

// terminate drains the gateway with SIGTERM.
func (g *gateway) terminate() {
	g.leaving.Store(true)
	g.Terminate()
}
