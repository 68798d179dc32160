package clusteracceptance

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// shortTime is how long random events go on without CLUSTER_TIME.
const shortTime = 45 * time.Second

// Random events: devices move between nodes; nodes are killed or leave; Redis
// is killed, restarted empty, or hangs; links are cut or stall. Afterwards
// each device has exactly one holder, no other device is listed, no command
// was carried out twice, and each command has an answer or an error.
func TestRandomEvents(t *testing.T) {
	t.Parallel()
	length := shortTime
	if text := os.Getenv("CLUSTER_TIME"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CLUSTER_TIME: %v; use for example 10m", err)
		}
	}
	f := newFleet(t, "a", "b", "c")
	stopMoving, stopAsking := make(chan struct{}), make(chan struct{})
	var roamers []*roamer
	var ids []string
	devices := map[string]*device{}
	for i := range 12 {
		r := newRoamer(f, fmt.Sprintf("oven-%d", i), 2*time.Second, stopMoving)
		roamers, ids, devices[r.id] = append(roamers, r), append(ids, r.id), r.device
	}
	var askers []*asker
	for i := range 3 {
		askers = append(askers, newAsker(f, fmt.Sprintf("ann-%d", i), 20*time.Millisecond, ids, stopAsking))
	}
	watchers := newWatchers(f, 3, stopAsking)
	callers := newCallers(f, devices, stopAsking)

	tally := map[string]int{}
	for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); {
		tally[f.randomEvent()]++
		time.Sleep(time.Duration(200+rand.IntN(1500)) * time.Millisecond)
	}
	t.Logf("events: %v", tally)
	close(stopMoving)
	f.awaitWhole()
	for _, r := range roamers {
		<-r.done
	}
	f.checkHolders(roamers)
	watchers.checkAgainst(ids)
	for _, r := range roamers {
		r.endStream()
	}
	watchers.checkSamples(devices)
	close(stopAsking)
	outcomes := map[string]int{}
	for _, a := range askers {
		for outcome, n := range a.balance(devices) {
			outcomes[outcome] += n
		}
	}
	for outcome, n := range callers.wait() {
		outcomes["http "+outcome] += n
	}
	watchers.leave()
	t.Logf("commands: %v", outcomes)
	if outcomes[answered] < 100 {
		t.Errorf("only %d commands were answered", outcomes[answered])
	}
	for _, r := range roamers {
		for _, p := range r.all {
			p.reset()
		}
	}
}

// randomEvent causes a random event and undoes it.
func (f *fleet) randomEvent() string {
	f.t.Helper()
	i := rand.IntN(len(f.nodes))
	some := func(most time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(most))) }
	switch event := rand.IntN(10); event {
	case 0, 1:
		f.replace(i, syscall.SIGKILL, some(ttl))
		return "node killed"
	case 2, 3:
		f.replace(i, syscall.SIGTERM, some(time.Second))
		return "node left"
	case 4, 5:
		f.redis.Kill()
		time.Sleep(some(2 * time.Second))
		f.redis.Restart()
		return "Redis killed"
	case 6:
		f.redis.Stop()
		time.Sleep(some(2 * timeout))
		f.redis.Continue()
		return "Redis hung"
	case 7:
		f.links[i].Hold()
		time.Sleep(some(ttl + time.Second))
		f.links[i].Release()
		return "link stalled"
	default:
		f.links[i].Cut()
		time.Sleep(some(ttl + 2*time.Second))
		f.links[i].Mend()
		return "link cut"
	}
}

// checkHolders waits until every node lists exactly these devices, each on the
// node of its newest connection, and until all older connections have ended.
func (f *fleet) checkHolders(roamers []*roamer) {
	f.t.Helper()
	want := map[string]string{}
	for _, r := range roamers {
		r.mu.Lock()
		want[r.id] = r.current.welcome.Session
		r.mu.Unlock()
	}
	for _, n := range f.all() {
		var got answer
		gatewaytest.Eventually(f.t, "node "+n.name+" knows where each device is", func() bool {
			got = n.call("GET", "/v1/devices", "")
			if len(got.Devices) != len(want) || len(got.SilentNodes) > 0 {
				return false
			}
			for _, d := range got.Devices {
				if want[d.DeviceID] != d.Session {
					return false
				}
			}
			return true
		})
		sessions := 0
		for _, s := range n.call("GET", "/v1/sessions", "").Sessions {
			if s.Role == "device" {
				sessions++
			}
		}
		if sessions != len(want) {
			f.t.Errorf("node %s lists %d sessions of devices, there are %d", n.name, sessions, len(want))
		}
	}
	for _, r := range roamers {
		for _, p := range r.all {
			if p != r.current {
				gatewaytest.Eventually(f.t, "an older connection of "+r.id+" has ended", p.ended)
			} else if p.ended() {
				f.t.Errorf("%s: its newest connection has ended", r.id)
			}
		}
	}
}

// watchers are front ends that keep a list of the connected devices, from the
// welcome and the notices.
type watchers struct {
	fleet *fleet
	all   []*watcher
	wait  sync.WaitGroup
}

// watcher is one of them.
type watcher struct {
	t *testing.T

	// mu guards the rest.
	mu    sync.Mutex
	peers []*peer           // its connections, the newest last
	here  map[string]string // device id → node
}

func newWatchers(f *fleet, n int, stop <-chan struct{}) *watchers {
	ws := &watchers{fleet: f}
	for range n {
		w := &watcher{t: f.t}
		ws.all = append(ws.all, w)
		ws.wait.Go(func() {
			for {
				if n := f.pick(); n != nil {
					if p, err := tryConnect(f.t, n.Addr, "/ws/frontend", w.text); err == nil {
						select {
						case <-p.done:
						case <-stop:
							p.reset()
							return
						}
					}
				}
				select {
				case <-time.After(100 * time.Millisecond):
				case <-stop:
					return
				}
			}
		})
	}
	return ws
}

// text updates the list, and reports a notice that contradicts it.
func (w *watcher) text(p *peer, m protocol.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch m.Type {
	case protocol.TypeWelcome:
		w.peers, w.here = append(w.peers, p), map[string]string{}
		for _, d := range gatewaytest.Decode[protocol.Welcome](w.t, m.Payload).Devices {
			w.here[d.DeviceID] = d.Node
		}
	case protocol.TypeDeviceOnline:
		d := gatewaytest.Decode[protocol.DeviceNotice](w.t, m.Payload)
		if node, there := w.here[d.DeviceID]; there {
			w.t.Errorf("%s is announced on %s, and has been on %s", d.DeviceID, d.Node, node)
		}
		w.here[d.DeviceID] = d.Node
	case protocol.TypeDeviceOffline:
		d := gatewaytest.Decode[protocol.DeviceNotice](w.t, m.Payload)
		if node, there := w.here[d.DeviceID]; !there || node != d.Node {
			w.t.Errorf("%s is announced as gone from %s (%s), and was on %q", d.DeviceID, d.Node, d.Reason, node)
		}
		delete(w.here, d.DeviceID)
	}
}

// checkAgainst checks that each list has these devices, on the nodes that the
// nodes themselves report.
func (ws *watchers) checkAgainst(ids []string) {
	t := ws.fleet.t
	t.Helper()
	want := ws.fleet.pick().holders()
	for _, w := range ws.all {
		gatewaytest.Eventually(t, "a front end knows where each device is", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.here) != len(ids) {
				return false
			}
			return !slices.ContainsFunc(ids, func(id string) bool { return w.here[id] != want[id] })
		})
	}
}

// checkSamples waits until the last sample of each device was received by each
// front end or reported to it as lost. Then it checks that over all
// connections of a front end each sample was received or reported lost once.
// Only the last samples of a device's connection may be missing, because the
// gateway may never have received them.
func (ws *watchers) checkSamples(devices map[string]*device) {
	t := ws.fleet.t
	t.Helper()
	var received, lost uint64
	for _, w := range ws.all {
		w.mu.Lock()
		peers := w.peers
		w.mu.Unlock()
		for id, d := range devices {
			for i, p := range peers {
				if i == len(peers)-1 {
					gatewaytest.Eventually(t, "a front end has the last sample of "+id, func() bool {
						k := p.book(id)
						return slices.ContainsFunc(k.runs, func(r run) bool { return r.to == d.sent() })
					})
				}
				k := p.book(id)
				received, lost = received+k.received, lost+k.lost
				slices.SortFunc(k.runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
				for i := range max(len(k.runs), 1) - 1 {
					if a, b := k.runs[i], k.runs[i+1]; b.from < a.to || b.from > a.to && !d.begins[b.from] {
						t.Errorf("%s on node %s: %v and %v; its connections begin with %v", id, p.welcome.Node, a, b, slices.Sorted(maps.Keys(d.begins)))
					}
				}
			}
		}
	}
	t.Logf("%d samples received, %d reported lost", received, lost)
}

func (ws *watchers) leave() { ws.wait.Wait() }

// callers send commands through the HTTP API.
type callers struct {
	wg sync.WaitGroup

	// mu guards the rest.
	mu    sync.Mutex
	tally map[string]int
}

func newCallers(f *fleet, devices map[string]*device, stop <-chan struct{}) *callers {
	c := &callers{tally: map[string]int{}}
	ids := make([]string, 0, len(devices))
	for id := range devices {
		ids = append(ids, id)
	}
	c.wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(30 * time.Millisecond):
			}
			n := f.pick()
			if n == nil {
				continue
			}
			id, key := ids[rand.IntN(len(ids))], fmt.Sprintf("http-%d", i)
			r := n.call("POST", "/v1/devices/"+id+"/commands", fmt.Sprintf(`{"type":"do.it","timeout_ms":3000,"payload":{"key":%q}}`, key))
			times := devices[id].carriedOut(key)
			if times > 1 || r.status == 200 && times != 1 || r.status == 404 && times != 0 {
				f.t.Errorf("command %s through %s was carried out %d times: %d %s", key, n.name, times, r.status, r.text)
			}
			what := r.Error.Code
			switch r.status {
			case 0:
				what = "none: the connection ended"
			case 200:
				what = answered
			}
			if what == "" {
				f.t.Errorf("command %s through %s: %d %s", key, n.name, r.status, r.text)
			}
			c.mu.Lock()
			c.tally[what]++
			c.mu.Unlock()
		}
	})
	return c
}

// wait returns how many commands had which outcome.
func (c *callers) wait() map[string]int {
	c.wg.Wait()
	return c.tally
}
