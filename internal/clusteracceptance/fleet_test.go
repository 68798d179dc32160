package clusteracceptance

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/redistest"
)

// fleet is a set of nodes that start and stop, on one Redis. Each node has its
// own link to Redis.
type fleet struct {
	t     *testing.T
	redis *redistest.Server
	links []*redistest.Proxy
	names []string

	// mu guards nodes; an entry is nil while its node does not run.
	mu    sync.Mutex
	nodes []*node
}

func newFleet(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, redis: redistest.Start(t), names: names, nodes: make([]*node, len(names))}
	for range names {
		f.links = append(f.links, redistest.StartProxy(t, f.redis.Addr()))
	}
	for i := range names {
		f.startNode(i)
	}
	f.awaitWhole()
	return f
}

func (f *fleet) startNode(i int) {
	f.t.Helper()
	n := startNode(f.t, f.names[i], f.redis.URLVia(f.links[i].Addr()))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes[i] = n
}

// take removes a node from the fleet, so that no further peer connects to it.
func (f *fleet) take(i int) *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[i]
	f.nodes[i] = nil
	return n
}

// pick returns a random running node.
func (f *fleet) pick() *node {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range rand.Perm(len(f.nodes)) {
		if f.nodes[i] != nil {
			return f.nodes[i]
		}
	}
	return nil
}

// all returns the running nodes.
func (f *fleet) all() (all []*node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n != nil {
			all = append(all, n)
		}
	}
	return all
}

// awaitWhole waits until all running nodes know each other.
func (f *fleet) awaitWhole() {
	f.t.Helper()
	awaitJoined(f.t, f.all()...)
}

// replace ends a node with a signal and starts another with the same name.
func (f *fleet) replace(i int, s syscall.Signal, pause time.Duration) {
	f.t.Helper()
	n := f.take(i)
	if s == syscall.SIGKILL {
		n.Kill()
	} else {
		n.Terminate()
	}
	time.Sleep(pause)
	f.startNode(i)
}

// roamer is a device that moves from node to node.
type roamer struct {
	*device
	fleet *fleet
	// rest is the average time on one node; 0: until the connection ends.
	rest time.Duration
	done chan struct{}

	// current is the newest connection, nil while there is none. Guarded by
	// device.mu.
	current *peer
	// all are all connections so far; endStream ends the telemetry of the
	// newest. Both are owned by the roamer's goroutine until done.
	all       []*peer
	endStream func()
}

func newRoamer(f *fleet, id string, rest time.Duration, stop <-chan struct{}) *roamer {
	r := &roamer{device: newDevice(f.t, id), fleet: f, rest: rest, done: make(chan struct{}), endStream: func() {}}
	go r.run(stop)
	return r
}

// run moves the device until stop is closed. Then run keeps the device
// connected, and returns when a connection has lasted for a while.
func (r *roamer) run(stop <-chan struct{}) {
	defer close(r.done)
	var now *peer
	// doubtful: a connection that failed for the device may have succeeded for
	// the gateway, and have replaced this one.
	doubtful := false
	for {
		var ended <-chan struct{}
		if now == nil {
			fresh, err := r.hop()
			if err != nil {
				time.Sleep(time.Duration(20+rand.IntN(200)) * time.Millisecond)
				continue
			}
			now, doubtful = fresh, false
		}
		ended = now.done
		var move <-chan time.Time
		if r.rest > 0 {
			move = time.After(time.Duration(rand.Int64N(int64(2 * r.rest))))
		}
		select {
		case <-stop:
			select {
			case <-ended:
				r.check(now, doubtful)
				now = nil
				continue
			case <-time.After(ttl):
				return
			}
		case <-ended:
			r.check(now, doubtful)
			now = nil
			r.set(nil)
			time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		case <-move:
			if fresh, err := r.hop(); err == nil {
				now, doubtful = fresh, false
			} else {
				doubtful = true
			}
		}
	}
}

// hop connects to a random node.
func (r *roamer) hop() (*peer, error) {
	n := r.fleet.pick()
	if n == nil {
		return nil, syscall.ECONNREFUSED
	}
	p, err := r.tryConnect(n)
	if err != nil {
		return nil, err
	}
	r.all = append(r.all, p)
	r.set(p)
	r.endStream()
	quit := make(chan struct{})
	var streaming sync.WaitGroup
	streaming.Go(func() { r.stream(p, 1000, 10*time.Millisecond, quit) })
	r.endStream = sync.OnceFunc(func() {
		close(quit)
		streaming.Wait()
	})
	return p, nil
}

func (r *roamer) set(p *peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = p
}

// check checks why the newest connection has ended.
func (r *roamer) check(p *peer, doubtful bool) {
	if code := p.awaitClose(); code == 4000 && !doubtful {
		r.t.Errorf("%s: its newest connection, on node %s, was closed with 4000", r.id, p.welcome.Node)
	}
}

// asker is a front end that sends commands to devices, over one connection
// after another, and records the outcomes.
type asker struct {
	fleet *fleet
	name  string
	done  chan struct{}

	// mu guards the rest.
	mu       sync.Mutex
	asked    []*question
	byID     map[string]*question
	problems []string
}

// question is a command and its outcomes.
type question struct {
	id, device string
	over       *peer
	outcomes   []string // the answer's type, or the error's code
}
