package server

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"golang.org/x/sys/unix"
)

// requestTime is how much of a turn a poller gives to connections that are not
// sessions yet. When thousands reconnect at once their handshakes would
// otherwise come in one row, and sessions that are there would wait it out.
const requestTime = 4 * time.Millisecond

// turns divides the time of the pollers between sessions and everything else,
// by poller. A turn is the time in which everything comes up once that was
// ready at its beginning.
type turns []*turn

// turn is that of one poller.
type turn struct {
	// probe is our end of a connection on the poller, far the poller's: what is
	// written comes up behind everything that was ready before.
	probe int
	far   *nbio.Conn

	// The poller's own: spent on requests in this turn, and when it last rested
	// for a session that is held up.
	spent  time.Duration
	rested time.Time

	// mu guards waiting: who is told of the next turn; a leaf. While somebody
	// waits a byte is under way.
	mu      sync.Mutex
	waiting []chan<- struct{}
}

// read reads a connection that has something to be read, or leaves it for the
// next turn. It stays ready then, and comes up again.
func (ts turns) read(nbc *nbio.Conn, buf []byte) {
	t := ts[nbc.Hash()%len(ts)]
	switch c := nbc.Session().(type) {
	case *pollerConn:
		if !c.mayHold || !c.holdUp(t) {
			readTurn(nbc, buf)
		}
		return
	case *nbhttp.Parser:
	default:
		readTurn(nbc, buf)
		return
	}
	if t.spent >= requestTime {
		return
	}
	begun := time.Now()
	readTurn(nbc, buf)
	if t.spent += time.Since(begun); t.spent >= requestTime && !t.await(nil) {
		t.spent = 0 // the engine is stopping
	}
}

// await has the next turn told to a channel with room, or nil. It returns
// false when there will be none.
func (t *turn) await(ch chan<- struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		if _, err := unix.Write(t.probe, []byte{0}); err != nil {
			return false
		}
	}
	t.waiting = append(t.waiting, ch)
	return true
}

// next begins the next turn, on the poller.
func (t *turn) next() {
	t.spent = 0
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ch := range t.waiting {
		if ch != nil {
			ch <- struct{}{}
		}
	}
	t.waiting = t.waiting[:0]
}

// pacer holds work beside the pollers, of which there may be a lot at once,
// back to what they leave: it works for workTime, then lets each of them serve
// what is ready. It belongs to one goroutine.
type pacer struct {
	turns turns
	spent time.Duration
}

const (
	workTime = 500 * time.Microsecond
	// longestTurn ends the waiting for pollers that have no end of work.
	longestTurn = 10 * time.Millisecond
)

// worked counts work that began at a time and has ended, and waits if it was
// enough for once.
func (p *pacer) worked(begun time.Time) {
	if p.spent += time.Since(begun); p.spent < workTime {
		return
	}
	p.spent = 0
	told := make(chan struct{}, len(p.turns))
	late := time.NewTimer(longestTurn)
	defer late.Stop()
	for _, t := range p.turns {
		if !t.await(told) {
			return
		}
	}
	for range p.turns {
		select {
		case <-told:
		case <-late.C:
			return
		}
	}
}

// newTurns makes a probe for each poller of an engine that does not run yet.
func newTurns(n int) (turns, error) {
	ts := make(turns, n)
	var surplus []*nbio.Conn
	defer func() {
		for _, c := range surplus {
			_ = c.Close()
		}
	}()
	for left := n; left > 0; {
		probe, far, err := newProbe()
		if err != nil {
			ts.close()
			return nil, fmt.Errorf("probe of the event loop: %w", err)
		}
		// The poller follows from the descriptor's number: what lands on one
		// that has its probe is kept until all have one.
		i := far.Hash() % n
		if ts[i] != nil {
			_ = unix.Close(probe)
			surplus = append(surplus, far)
			continue
		}
		t := &turn{probe: probe, far: far}
		ts[i] = t
		left--
		far.SetSession(t)
		far.OnData(func(*nbio.Conn, []byte) { t.next() })
	}
	return ts, nil
}

// start puts the probes on their pollers. Stopping the engine takes the
// pollers' ends away.
func (ts turns) start(e *nbio.Engine) error {
	for _, t := range ts {
		if _, err := e.AddConn(t.far); err != nil {
			return fmt.Errorf("probe of the event loop: %w", err)
		}
	}
	return nil
}

// newProbe returns both ends of a probe.
func newProbe() (ours int, pollers *nbio.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, nil, err
	}
	file := os.NewFile(uintptr(fds[1]), "probe")
	conn, err := net.FileConn(file)
	_ = file.Close()
	if err == nil {
		pollers, err = nbio.NBConn(conn)
	}
	if err != nil {
		_ = unix.Close(fds[0])
		return -1, nil, err
	}
	return fds[0], pollers, nil
}

// close gives back what the engine does not; it has stopped, or never started.
func (ts turns) close() {
	for _, t := range ts {
		if t != nil {
			_ = unix.Close(t.probe)
			_ = t.far.Close()
		}
	}
}
