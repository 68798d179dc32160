package eventloop

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lesismal/nbio"
)

// patience is how long a test waits for what must come. It only ends tests
// that have failed.
const patience = 30 * time.Second

// iterationBed is an engine whose connections share its time.
type iterationBed struct {
	t          *testing.T
	iterations iterations
	engine     *nbio.Engine

	mu     sync.Mutex
	served []string
	each   chan string
}

func newIterationBed(t *testing.T, pollers int) *iterationBed {
	t.Helper()
	its, err := newIterations(pollers)
	if err != nil {
		t.Fatal(err)
	}
	b := &iterationBed{t: t, iterations: its, engine: nbio.NewEngine(nbio.Config{NPoller: pollers}), each: make(chan string, 16)}
	b.engine.OnRead(func(c *nbio.Conn) { connOf(c).readable(c, its.of(c), make([]byte, 64)) })
	if err := b.engine.Start(); err != nil {
		t.Fatal(err)
	}
	if err := its.start(b.engine); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b
}

func (b *iterationBed) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.engine.Shutdown(ctx); err != nil {
		b.t.Errorf("shutdown: %v", err)
	}
	b.iterations.close()
}

// tcpPair returns both ends of a connection; the first is closed at the end of
// the test.
func tcpPair(t *testing.T) (peer, conn net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if peer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	if conn, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return peer, conn
}

// add puts a connection with something to be read on its poller.
func (b *iterationBed) add(name string, request bool, serve func()) {
	b.t.Helper()
	peer, conn := tcpPair(b.t)
	nbc, err := nbio.NBConn(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	c := bedConn{serve: func() {
		if serve != nil {
			serve()
		}
		b.mu.Lock()
		b.served = append(b.served, name)
		b.mu.Unlock()
		b.each <- name
	}}
	if request {
		nbc.SetSession(&bedRequest{c})
	} else {
		nbc.SetSession(&c)
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		b.t.Fatal(err)
	}
	nbc.Lock()
	nbc.Unlock() //nolint:staticcheck // for the race detector, as in addPoller
	if _, err := b.engine.AddConn(nbc); err != nil {
		b.t.Fatal(err)
	}
}

// bedConn is a connection of a bed: a session, or a request.
type (
	bedConn    struct{ serve func() }
	bedRequest struct{ bedConn }
)

func (c *bedConn) readable(nbc *nbio.Conn, _ *iteration, buf []byte) { readAvailable(nbc, buf) }

func (c *bedRequest) readable(nbc *nbio.Conn, it *iteration, buf []byte) { it.serveRequest(nbc, buf) }

func (c *bedConn) received([]byte)  { c.serve() }
func (c *bedConn) decrypted([]byte) {}
func (c *bedConn) written(int)      {}
func (c *bedConn) accepted() bool   { return true }
func (c *bedConn) ended(error)      {}

// TestRequestsLeaveTimeToSessions has a request use up the time for requests of
// a loop iteration: the next request waits, though a session comes behind it.
func TestRequestsLeaveTimeToSessions(t *testing.T) {
	b := newIterationBed(t, 1)
	begun, release := make(chan struct{}), make(chan struct{})
	b.add("long request", true, func() {
		close(begun)
		<-release
		time.Sleep(requestTime)
	})
	<-begun
	b.add("request", true, nil)
	b.add("session", false, nil)
	close(release)
	for range 3 {
		select {
		case <-b.each:
		case <-time.After(patience):
			t.Fatalf("only %q were served", b.served)
		}
	}
	if want := []string{"long request", "session", "request"}; !slices.Equal(b.served, want) {
		t.Errorf("served in the order %q, want %q", b.served, want)
	}
}

// TestYielderWaitsForEveryPoller has work beside three pollers wait while one of
// them is busy.
func TestYielderWaitsForEveryPoller(t *testing.T) {
	b := newIterationBed(t, 3)
	covered := map[int]bool{}
	for _, it := range b.iterations {
		covered[it.probe.nbc.Hash()%3] = true
	}
	if len(covered) != 3 {
		t.Fatalf("probes on pollers %v, want one on each", covered)
	}
	yield := yielder{iterations: b.iterations}
	yield.yieldAfter(time.Now())
	if yield.spent <= 0 || yield.spent >= workTime {
		t.Fatalf("a moment's work counted as %v", yield.spent)
	}

	begun, release := make(chan struct{}), make(chan struct{})
	b.add("busy", false, func() { close(begun); <-release })
	<-begun
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 500 { // maxYield ends each, while the poller is busy
			yield.yieldAfter(time.Now().Add(-workTime))
		}
	}()
	select {
	case <-done:
		t.Error("work went on beside a busy poller without a pause")
	case <-time.After(maxYield):
	}
	close(release)
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("work did not go on")
	}
}

// TestYielderWithoutPollers has work go on while the engine stops.
func TestYielderWithoutPollers(t *testing.T) {
	its, err := newIterations(1)
	if err != nil {
		t.Fatal(err)
	}
	its.close()
	yield := yielder{iterations: its}
	for range 100 {
		yield.yieldAfter(time.Now().Add(-time.Second))
	}
	if its[0].notify(nil) {
		t.Error("an iteration was promised by a poller that is gone")
	}
}
