package router

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/membus"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// eventBook is a listener that checks that each command has one begin and one
// end.
type eventBook struct {
	events.Nop
	t testing.TB

	mu    sync.Mutex
	open  map[uint64]events.Command
	ended []events.CommandEnded
}

func newEventBook(t testing.TB) *eventBook {
	return &eventBook{t: t, open: map[uint64]events.Command{}}
}

// listen is an option of a gateway under test.
func (b *eventBook) listen(o *Options, _ *session.Options) { o.Events = b }

func (b *eventBook) CommandBegan(c events.Command) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, again := b.open[c.Number]; again || slices.ContainsFunc(b.ended, func(e events.CommandEnded) bool { return e.Number == c.Number }) {
		b.t.Errorf("command %d began twice: %+v", c.Number, c)
	}
	b.open[c.Number] = c
}

func (b *eventBook) CommandEnded(e events.CommandEnded) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if began, ok := b.open[e.Number]; !ok || began != e.Command {
		b.t.Errorf("the end of a command does not belong to its begin: %+v, began %+v", e, began)
	}
	delete(b.open, e.Number)
	b.ended = append(b.ended, e)
}

// take returns the commands that have ended, and forgets them; none may be left.
func (b *eventBook) take() []events.CommandEnded {
	b.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.open) != 0 {
		b.t.Errorf("%d commands have no end: %+v", len(b.open), b.open)
	}
	all := b.ended
	b.ended = nil
	return all
}

// one returns the only command that has ended since the last call, and checks
// its outcome.
func (b *eventBook) one(outcome string) events.CommandEnded {
	b.t.Helper()
	all := b.take()
	if len(all) != 1 || all[0].Outcome != outcome {
		b.t.Fatalf("ended: %+v; want one with outcome %q", all, outcome)
	}
	return all[0]
}

// TestCommandEvents: the events of a command name its asker, type, device,
// outcome and duration.
func TestCommandEvents(t *testing.T) {
	book := newEventBook(t)
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.connect(session.Info{
			Role: session.RoleFrontend, Name: "alice", Telemetry: protocol.TelemetryNone, Remote: "192.0.2.2:2", Credential: "token:hall#1",
			Rights: rights{command: "d*", observe: "*"},
		})
		g.quiet()
		ask := func(text string) { a.send(text) }

		ask(`{"type":"test.start","id":"1","dst":"d1"}`)
		time.Sleep(3 * time.Millisecond)
		d.send(`{"type":"done","re":"1"}`)
		want := events.Command{
			Number: 1, ID: "1", Type: "test.start", Device: "d1",
			Asker: events.Asker{Source: "@user/alice", Session: a.sess.ID(), Remote: "192.0.2.2:2", Credential: "token:hall#1"},
		}
		got := book.one(events.OutcomeAnswered)
		if want.Began = got.Began; got.Command != want || got.Duration != 3*time.Millisecond || time.Since(got.Began) != got.Duration {
			t.Errorf("told %+v, want %+v after 3 ms", got, want)
		}

		// Other messages cause no events of commands.
		ask(`{"type":"note","dst":"d1"}`)
		d.send(`{"type":"state","id":"x"}`, `{"type":"note","id":"y","dst":"@user/alice"}`)
		if all := book.take(); len(all) != 0 {
			t.Errorf("told %+v", all)
		}

		// Each way to end.
		ask(`{"type":"c","id":"2","dst":"d1","urgent":true,"timeout_ms":20}`)
		time.Sleep(time.Second)
		if e := book.one(string(protocol.ErrTimeout)); !e.Urgent || e.Duration < 20*time.Millisecond {
			t.Errorf("told %+v", e)
		}
		ask(`{"type":"c","id":"3","dst":"d9"}`)
		if e := book.one(string(protocol.ErrDeviceOffline)); e.Device != "d9" || e.Type != "c" {
			t.Errorf("told %+v", e)
		}
		ask(`{"type":"c","id":"4","dst":"press"}`)
		book.one(string(protocol.ErrNotAllowed))
		a.send(`{"type":"c","id":"5","dst":"d1"}`, `{"type":"c","id":"5","dst":"d1"}`)
		d.send(`{"type":"done","re":"5"}`)
		if all := book.take(); len(all) != 2 || all[0].Outcome != string(protocol.ErrBadMessage) || all[1].Outcome != events.OutcomeAnswered {
			t.Errorf("told %+v", all)
		}
		ctx, cancel := context.WithCancel(events.WithAsker(t.Context(), events.Asker{Remote: "192.0.2.3:3", Credential: "token:api#2"}))
		done := g.command(ctx, "d1", protocol.Message{ID: "6", Type: "c"})
		synctest.Wait()
		cancel()
		<-done
		if e := book.one(events.OutcomeAskerGone); e.Asker != (events.Asker{Source: SourceAPI, Remote: "192.0.2.3:3", Credential: "token:api#2"}) {
			t.Errorf("told %+v", e.Asker)
		}
		ask(`{"type":"c","id":"7","dst":"d1"}`)
		a.hangUp()
		book.one(events.OutcomeAskerGone)
		other := g.frontend("bob")
		other.send(`{"type":"c","id":"8","dst":"d1"}`)
		d.hangUp()
		book.one(string(protocol.ErrDeviceDisconnected))
	}, book.listen)
}

// TestCommandEventsOnBothNodes: both nodes report a remote command, and the
// device's node names the asker's node.
func TestCommandEventsOnBothNodes(t *testing.T) {
	hub := membus.NewHub()
	books := []*eventBook{newEventBook(t), newEventBook(t)}
	node := func(t *testing.T, name string, book *eventBook) *gateway {
		g := newGateway(t, book.listen, func(o *Options, so *session.Options) {
			o.Node, o.Bus = name, hub.Bus(name)
			so.Node = uint32(o.Bus.Self())
		})
		if err := g.r.Join(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.r.Leave)
		return g
	}
	synctest.Test(t, func(t *testing.T) {
		north, south := node(t, "north", books[0]), node(t, "south", books[1])
		a, d := north.frontend("alice"), south.device("d1")
		synctest.Wait()
		d.take()

		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		synctest.Wait()
		d.send(`{"type":"done","re":"` + d.one().ID + `"}`)
		if e := books[0].one(events.OutcomeAnswered); e.Source != "@user/alice" || e.Node != "" || e.Session != a.sess.ID() || e.ID != "1" {
			t.Errorf("north tells %+v", e)
		}
		if e := books[1].one(events.OutcomeAnswered); e.Asker != (events.Asker{Source: "@user/alice", Node: "north"}) || e.Type != "c" || e.Device != "d1" {
			t.Errorf("south tells %+v", e)
		}

		a.send(`{"type":"c","id":"2","dst":"d1"}`)
		synctest.Wait()
		d.hangUp()
		books[0].one(string(protocol.ErrDeviceDisconnected))
		books[1].one(string(protocol.ErrDeviceDisconnected))
	})
}
