package eventloop

import (
	"sync"
	"time"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// requestTime is how much of a loop iteration a poller gives to connections that
// are not sessions yet. When thousands reconnect at once, their handshakes would
// otherwise be served in one row while sessions that are there wait.
const requestTime = 4 * time.Millisecond

// iteration is the current loop iteration of one poller: from its beginning
// until every connection that was ready then has been served.
type iteration struct {
	// probe is the poller's own connection: a byte written to its other end,
	// ours, is read when everything that was ready before has been served.
	probe *probe
	ours  int
	// epoll is the poller's epoll descriptor, which nbio owns.
	epoll int

	// Owned by the poller: the time spent on requests in this iteration, and
	// when the poller last rested because a session is held back.
	requests time.Duration
	rested   time.Time

	// mu guards the rest; a leaf. While something waits, a byte is under way.
	mu      sync.Mutex
	waiting []task
	closed  bool // no iteration comes any more
}

// task is something that waits for the next iteration.
type task struct {
	run func() // on the poller; may be nil
	// cancel is called in place of run when no iteration comes any more; may be
	// nil.
	cancel func()
}

// iterations are those of all pollers, by number.
type iterations []*iteration

// of returns the iteration of a connection's poller.
func (its iterations) of(nbc *nbio.Conn) *iteration { return its[nbc.Hash()%len(its)] }

// serveRequest reads a connection that is not a session yet, or leaves the
// connection for the next iteration when requests have had their time.
func (it *iteration) serveRequest(nbc *nbio.Conn, buf []byte) {
	if it.requests >= requestTime {
		return
	}
	begun := time.Now()
	readAvailable(nbc, buf)
	if it.requests += time.Since(begun); it.requests >= requestTime && !it.notify(nil) {
		it.requests = 0 // the engine is stopping
	}
}

// notify has the next iteration told to a channel with room, or nil. It returns
// false when there will be none.
func (it *iteration) notify(ch chan<- struct{}) bool {
	if ch == nil {
		return it.wait(task{})
	}
	return it.wait(task{run: func() { ch <- struct{}{} }})
}

// do runs a function on the poller, or cancel anywhere when the poller has ended.
func (it *iteration) do(run, cancel func()) {
	if !it.wait(task{run, cancel}) {
		cancel()
	}
}

func (it *iteration) wait(t task) bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.closed {
		return false
	}
	if len(it.waiting) == 0 {
		if _, err := unix.Write(it.ours, []byte{0}); err != nil {
			return false
		}
	}
	it.waiting = append(it.waiting, t)
	return true
}

// next begins the next iteration, on the poller.
func (it *iteration) next() {
	it.requests = 0
	for _, t := range it.takeWaiting(false) {
		if t.run != nil {
			t.run()
		}
	}
}

func (it *iteration) takeWaiting(last bool) []task {
	it.mu.Lock()
	defer it.mu.Unlock()
	waiting := it.waiting
	it.waiting, it.closed = nil, it.closed || last
	return waiting
}

// close cancels what waits; the poller has stopped, or never started.
func (it *iteration) close() {
	for _, t := range it.takeWaiting(true) {
		if t.cancel != nil {
			t.cancel()
		}
	}
	_ = unix.Close(it.ours)
	_ = it.probe.nbc.Close()
}
