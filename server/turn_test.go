package server

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
)

// turnBed is an engine whose connections take turns.
type turnBed struct {
	t      *testing.T
	turns  turns
	engine *nbio.Engine

	mu     sync.Mutex
	served []string
	each   chan string
}

func newTurnBed(t *testing.T, pollers int) *turnBed {
	t.Helper()
	ts, err := newTurns(pollers)
	if err != nil {
		t.Fatal(err)
	}
	b := &turnBed{t: t, turns: ts, engine: nbio.NewEngine(nbio.Config{NPoller: pollers}), each: make(chan string, 16)}
	b.engine.OnRead(func(c *nbio.Conn) { ts.read(c, make([]byte, 64)) })
	if err := b.engine.Start(); err != nil {
		t.Fatal(err)
	}
	if err := ts.start(b.engine); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b
}

func (b *turnBed) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.engine.Shutdown(ctx); err != nil {
		b.t.Errorf("shutdown: %v", err)
	}
	b.turns.close()
}

// add puts a connection with something to be read on its poller.
func (b *turnBed) add(name string, session any, serve func()) {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { peer.Close() })
	conn, err := ln.Accept()
	if err != nil {
		b.t.Fatal(err)
	}
	nbc, err := nbio.NBConn(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	nbc.SetSession(session)
	nbc.OnData(func(*nbio.Conn, []byte) {
		if serve != nil {
			serve()
		}
		b.mu.Lock()
		b.served = append(b.served, name)
		b.mu.Unlock()
		b.each <- name
	})
	if _, err := peer.Write([]byte("x")); err != nil {
		b.t.Fatal(err)
	}
	nbc.Lock()
	nbc.Unlock() //nolint:staticcheck // for the race detector, as in addPoller
	if _, err := b.engine.AddConn(nbc); err != nil {
		b.t.Fatal(err)
	}
}

// TestRequestsLeaveSessionsTheirTurn has a request use up the time of a turn:
// the next request waits, though a session comes behind it.
func TestRequestsLeaveSessionsTheirTurn(t *testing.T) {
	b := newTurnBed(t, 1)
	begun, release := make(chan struct{}), make(chan struct{})
	b.add("long request", &nbhttp.Parser{}, func() {
		close(begun)
		<-release
		time.Sleep(requestTime)
	})
	<-begun
	b.add("request", &nbhttp.Parser{}, nil)
	b.add("session", "any", nil)
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

// TestPacerWaitsForEveryPoller has work beside three pollers wait while one of
// them is busy.
func TestPacerWaitsForEveryPoller(t *testing.T) {
	b := newTurnBed(t, 3)
	covered := map[int]bool{}
	for _, turn := range b.turns {
		covered[turn.far.Hash()%3] = true
	}
	if len(covered) != 3 {
		t.Fatalf("probes on pollers %v, want one on each", covered)
	}
	pace := pacer{turns: b.turns}
	pace.worked(time.Now())
	if pace.spent <= 0 || pace.spent >= workTime {
		t.Fatalf("a moment's work counted as %v", pace.spent)
	}

	begun, release := make(chan struct{}), make(chan struct{})
	b.add("busy", "any", func() { close(begun); <-release })
	<-begun
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 500 { // longestTurn ends each, while the poller is busy
			pace.worked(time.Now().Add(-workTime))
		}
	}()
	select {
	case <-done:
		t.Error("work went on beside a busy poller without a pause")
	case <-time.After(longestTurn):
	}
	close(release)
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("work did not go on")
	}
}

// TestPacerWithoutPollers has work go on while the engine stops.
func TestPacerWithoutPollers(t *testing.T) {
	ts, err := newTurns(1)
	if err != nil {
		t.Fatal(err)
	}
	ts.close()
	pace := pacer{turns: ts}
	for range 100 {
		pace.worked(time.Now().Add(-time.Second))
	}
	if ts[0].await(nil) {
		t.Error("a turn was promised of a poller that is gone")
	}
}
