package router

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

func TestAnswerGoesOnlyToTheAsker(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, _ := g.device("d1"), g.device("d2")
		a, _, _ := g.frontend("alice"), g.frontend("alice"), g.frontend("bob")
		g.quiet()

		a.send(`{"type":"test.start","id":"c1","dst":"d1","payload":{"v":1}}`)
		g.only(`{"src":"@user/alice","type":"test.start","id":"c1","dst":"d1","payload":{"v":1}}`, d)
		if d.pendingCommands() != 1 || a.waitingFor() != 1 {
			t.Fatalf("pending %d, %d, want 1 each", d.pendingCommands(), a.waitingFor())
		}
		// The router ignores a dst in an answer.
		d.send(`{"type":"test.started","re":"c1","dst":"@frontends","src":"@user/bob","payload":{"ok": true}}`)
		g.only(`{"src":"d1","type":"test.started","re":"c1","dst":"@frontends","payload":{"ok": true}}`, a)
		if d.pendingCommands() != 0 || a.waitingFor() != 0 {
			t.Fatalf("pending %d, %d after the answer", d.pendingCommands(), a.waitingFor())
		}
		// The id is free again.
		a.send(`{"type":"test.start","id":"c1","dst":"d1"}`)
		g.only(`{"src":"@user/alice","type":"test.start","id":"c1","dst":"d1"}`, d)
		d.send(`{"type":"x","re":"c1"}`)
		g.only(`{"src":"d1","type":"x","re":"c1"}`, a)

		if st := g.r.Stats(); st.Commands.Load() != 2 || st.Answers.Load() != 2 || st.TextIn.Load() != 4 {
			t.Errorf("commands %d, answers %d, texts %d", st.Commands.Load(), st.Answers.Load(), st.TextIn.Load())
		}
	})
}

func TestMessageWithoutIDWaitsForNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"nudge","dst":"d1"}`)
		g.only(`{"src":"@user/alice","type":"nudge","dst":"d1"}`, d)
		if d.pendingCommands() != 0 || a.waitingFor() != 0 {
			t.Fatal("something is pending")
		}
		time.Sleep(time.Hour)
		a.none()
	})
}

// TestSameIDFromSeveralAskers: the device gets distinct ids, and each asker
// gets its own id back.
func TestSameIDFromSeveralAskers(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		askers := []*peer{g.frontend("alice"), g.frontend("alice"), g.frontend("bob"), g.frontend("")}
		g.quiet()
		wire := map[string]int{}
		for i, a := range askers {
			a.send(`{"type":"c","id":"1","dst":"d1","payload":` + strconv.Itoa(i) + `}`)
			got := d.one()
			if _, taken := wire[got.ID]; taken {
				t.Fatalf("id %q twice", got.ID)
			}
			if string(got.Payload) != strconv.Itoa(i) {
				t.Fatalf("payload %s", got.Payload)
			}
			wire[got.ID] = i
		}
		if wire["1"] != 0 {
			t.Error("the first asker's id was changed without need")
		}
		for id, i := range wire {
			d.send(`{"type":"done","re":"` + id + `","payload":"` + id + `"}`)
			g.only(`{"src":"d1","type":"done","re":"1","payload":"`+id+`"}`, askers[i])
		}
	})
}

// TestNoIDIsMistakenForAReplacedOne: an asker may use the same id that the
// gateway has made for another command.
func TestNoIDIsMistakenForAReplacedOne(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		a, b, c := g.frontend("a"), g.frontend("b"), g.frontend("c")
		g.quiet()
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		d.one()
		b.send(`{"type":"c","id":"1","dst":"d1"}`)
		forB := d.one().ID
		c.send(`{"type":"c","id":"` + forB + `","dst":"d1"}`)
		forC := d.one().ID
		if forC == forB || forC == "1" {
			t.Fatalf("the device knows %q and %q", forB, forC)
		}
		// The asker whose id was replaced may not use the new id either.
		b.send(`{"type":"c","id":"` + forB + `","dst":"d1"}`)
		alsoB := d.one().ID
		for wire, want := range map[string]struct {
			asker *peer
			re    string
		}{"1": {a, "1"}, forB: {b, "1"}, forC: {c, forB}, alsoB: {b, forB}} {
			d.send(`{"type":"done","re":"` + wire + `"}`)
			g.only(`{"src":"d1","type":"done","re":"`+want.re+`"}`, want.asker)
		}
	})
}

func TestAPendingIDMustNotBeUsedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, other := g.device("d1"), g.device("d2")
		a, b := g.frontend("alice"), g.frontend("bob")
		g.quiet()
		again := func(p *peer) {
			t.Helper()
			p.send(`{"type":"c","id":"1","dst":"d1"}`)
			p.oneError(protocol.ErrBadMessage, "1")
			d.none()
		}
		a.send(`{"type":"c","id":"1","dst":"d1"}`)
		forA := d.one().ID
		again(a)
		// The same holds for b, whose id was replaced, also after the first
		// command was answered.
		b.send(`{"type":"c","id":"1","dst":"d1"}`)
		forB := d.one().ID
		again(b)
		again(a)
		d.send(`{"type":"done","re":"` + forA + `"}`)
		a.one()
		again(b)
		// For another device the id is free.
		b.send(`{"type":"c","id":"1","dst":"d2"}`)
		g.only(`{"src":"@user/bob","type":"c","id":"1","dst":"d2"}`, other)
		// The refused commands have not affected the first.
		d.send(`{"type":"done","re":"` + forB + `"}`)
		g.only(`{"src":"d1","type":"done","re":"1"}`, b)
		b.send(`{"type":"c","id":"1","dst":"d1"}`)
		if got := d.one(); got.ID != "1" {
			t.Fatalf("id %q", got.ID)
		}
		if a.waitingFor() != 0 || b.waitingFor() != 2 || d.pendingCommands() != 1 || other.pendingCommands() != 1 {
			t.Errorf("pending: %d %d %d %d", a.waitingFor(), b.waitingFor(), d.pendingCommands(), other.pendingCommands())
		}
	})
}

func TestPendingCommandsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, d2 := g.device("d1"), g.device("d2")
		a, b := g.frontend("alice"), g.frontend("bob")
		g.quiet()
		for i := range 3 {
			a.send(`{"type":"c","id":"` + strconv.Itoa(i) + `","dst":"d1"}`)
			d.one()
		}
		a.send(`{"type":"c","id":"3","dst":"d2"}`)
		a.oneError(protocol.ErrOverloaded, "3")
		d2.none()
		// Messages without id still pass, and so do commands of other front
		// ends.
		a.send(`{"type":"c","dst":"d1"}`)
		d.one()
		b.send(`{"type":"c","id":"3","dst":"d1"}`)
		d.one()
		// Each end of a command makes room for another command: an answer,
		d.send(`{"type":"done","re":"0"}`)
		a.one()
		a.send(`{"type":"c","id":"4","dst":"d1","timeout_ms":100}`)
		d.one()
		// a deadline,
		time.Sleep(200 * time.Millisecond)
		a.oneError(protocol.ErrTimeout, "4")
		a.send(`{"type":"c","id":"5","dst":"d1"}`)
		d.one()
		// the device's end.
		d.hangUp()
		g.quiet()
		if a.waitingFor() != 0 || b.waitingFor() != 0 {
			t.Fatalf("pending %d, %d", a.waitingFor(), b.waitingFor())
		}
		a.send(`{"type":"c","id":"6","dst":"d2"}`)
		d2.one()
	}, func(o *Options, _ *session.Options) { o.MaxPending = 3 })
}

// TestCommandsEndWithTheirAsker: front ends that send commands, disconnect and
// reconnect do not fill a table.
func TestCommandsEndWithTheirAsker(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		for range 2 * maxDevicePending / len(longCommands) {
			a, err := g.add(session.Info{Role: session.RoleFrontend})
			if err != nil {
				t.Fatal(err)
			}
			a.send(longCommands...)
			a.none()
			a.hangUp()
		}
		synctest.Wait()
		if n := d.pendingCommands(); n != 0 {
			t.Fatalf("%d commands wait for the answer to nobody", n)
		}
		d.take()
		// A late answer reaches no front end.
		d.send(`{"type":"done","re":"1"}`)
		d.oneError(protocol.ErrNotFound, "")
	})
}

// TestPendingCommandsOfOneDeviceAreBounded: the table of a device has a bound,
// with places reserved for urgent commands.
func TestPendingCommandsOfOneDeviceAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		const room = maxDevicePending - maxDevicePending/urgentDivisor
		for range room / len(longCommands) {
			a := g.frontend("")
			a.send(longCommands...)
			a.take()
		}
		if n := len(d.take()); n != room {
			t.Fatalf("%d commands reached the device", n)
		}
		last := g.frontend("last")
		last.take()
		last.send(`{"type":"c","id":"x","dst":"d1"}`)
		last.oneError(protocol.ErrOverloaded, "x")
		d.none()
		last.send(`{"type":"stop","id":"y","dst":"d1","urgent":true}`)
		d.one()
		last.none()
		time.Sleep(11 * time.Minute)
		g.quiet()
		last.send(`{"type":"c","id":"x","dst":"d1"}`)
		d.one()
	})
}

// TestPendingCommandsOfOneCredentialAreBounded: the bound holds for all
// sessions of a credential together.
func TestPendingCommandsOfOneCredentialAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		for range ownerFactor {
			a := g.connect(session.Info{Role: session.RoleFrontend, Credential: "greedy"})
			a.send(longCommands...)
			a.take()
		}
		d.take()
		one := g.connect(session.Info{Role: session.RoleFrontend, Credential: "greedy"})
		other := g.connect(session.Info{Role: session.RoleFrontend, Credential: "other"})
		for _, p := range []*peer{one, other} {
			p.take()
			p.send(`{"type":"c","id":"x","dst":"d1"}`)
		}
		one.oneError(protocol.ErrOverloaded, "x")
		other.none()
		d.one()
		// A part of the places is reserved for urgent commands.
		one.send(`{"type":"c","id":"u","dst":"d1","urgent":true}`)
		one.none()
		d.one()
		// Ended commands make room.
		g.peers[1].hangUp()
		one.send(`{"type":"c","id":"x","dst":"d1"}`)
		one.none()
		d.one()
		if n := len(g.r.registry.owners); n != 2 {
			t.Errorf("%d owners", n)
		}
		for _, p := range g.peers[1:] {
			p.hangUp()
		}
		if n := len(g.r.registry.owners); n != 0 {
			t.Errorf("%d owners are left", n)
		}
	})
}

// longCommands fills a front end's bound with commands for the device d1.
var longCommands = func() []string {
	texts := make([]string, 256)
	for i := range texts {
		texts[i] = `{"type":"c","id":"` + strconv.Itoa(i) + `","dst":"d1","timeout_ms":600000}`
	}
	return texts
}()
