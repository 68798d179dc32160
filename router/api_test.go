package router

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// apiOutcome is the outcome of an API command.
type apiOutcome struct {
	text json.RawMessage
	err  error
	took time.Duration
}

// command starts an API command in the background.
func (g *gateway) command(ctx context.Context, device string, msg protocol.Message) <-chan apiOutcome {
	done := make(chan apiOutcome, 1)
	begin := time.Now()
	go func() {
		text, err := g.r.Command(ctx, device, msg)
		done <- apiOutcome{text, err, time.Since(begin)}
	}()
	return done
}

func TestAPICommandGetsTheAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, _ := g.device("d1"), g.frontend("alice")
		g.quiet()
		done := g.command(t.Context(), "d1", protocol.Message{Type: "c", Payload: json.RawMessage(`{"v": 1}`), TS: 7})
		got := d.one()
		if got.Src != SourceAPI || got.Dst != "d1" || got.Type != "c" || string(got.Payload) != `{"v": 1}` || got.ID == "" || got.TS != 7 {
			t.Fatalf("the device got %v", got)
		}
		if st, _ := g.status("d1"); st.Pending != 1 {
			t.Errorf("pending %d", st.Pending)
		}
		d.send(`{"type":"done","src":"spoofed","re":"` + got.ID + `","payload":{"ok": true}}`)
		g.only("")
		o := <-done
		if want := `{"src":"d1","type":"done","re":"` + got.ID + `","payload":{"ok": true}}`; o.err != nil || string(o.text) != want {
			t.Fatalf("got %s, %v, want %s", o.text, o.err, want)
		}
		d.send(`{"type":"done","re":"` + got.ID + `"}`)
		d.oneError(protocol.ErrNotFound, "")
	})
}

func TestAPICommandsWithOneIDAreKeptApart(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		a.send(`{"type":"c","id":"x","dst":"d1"}`)
		if got := d.one(); got.ID != "x" {
			t.Fatalf("id %q", got.ID)
		}
		first := g.command(t.Context(), "d1", protocol.Message{Type: "c", ID: "x"})
		one := d.one()
		second := g.command(t.Context(), "d1", protocol.Message{Type: "c", ID: "x"})
		two := d.one()
		d.send(`{"type":"two","re":"`+two.ID+`"}`, `{"type":"one","re":"`+one.ID+`"}`)
		if o := <-first; string(o.text) != `{"src":"d1","type":"one","re":"x"}` {
			t.Errorf("first: %s, %v", o.text, o.err)
		}
		if o := <-second; string(o.text) != `{"src":"d1","type":"two","re":"x"}` {
			t.Errorf("second: %s, %v", o.text, o.err)
		}
		a.none()
		d.send(`{"type":"done","re":"x"}`)
		g.only(`{"src":"d1","type":"done","re":"x"}`, a)
	})
}

func TestAPICommandFails(t *testing.T) {
	canceled := func() context.Context {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx
	}
	for _, test := range []struct {
		name string
		ctx  func() context.Context
		msg  protocol.Message
		// act ends the command; nil when it fails by itself.
		act  func(d *peer)
		code protocol.ErrorCode // "" for the context's error
		took time.Duration
		sent bool // whether the device sees the command
	}{
		{name: "default timeout", msg: protocol.Message{Type: "c"}, code: protocol.ErrTimeout, took: 10 * time.Second, sent: true},
		{name: "own timeout", msg: protocol.Message{Type: "c", TimeoutMS: 50}, code: protocol.ErrTimeout, took: 50 * time.Millisecond, sent: true},
		{name: "device goes", msg: protocol.Message{Type: "c"}, act: (*peer).hangUp, code: protocol.ErrDeviceDisconnected, sent: true},
		{name: "deadline of the caller", msg: protocol.Message{Type: "c"}, took: time.Second, sent: true, ctx: func() context.Context {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			context.AfterFunc(ctx, cancel)
			return ctx
		}},
		{name: "caller gone before", msg: protocol.Message{Type: "c"}, ctx: canceled},
		{name: "no type", code: protocol.ErrBadMessage},
		{name: "negative timeout", msg: protocol.Message{Type: "c", TimeoutMS: -1}, code: protocol.ErrBadMessage},
		{name: "timeout too long", msg: protocol.Message{Type: "c", TimeoutMS: protocol.MaxTimeoutMS + 1}, code: protocol.ErrBadMessage},
		{name: "id too long", msg: protocol.Message{Type: "c", ID: strings.Repeat("x", 65)}, code: protocol.ErrBadMessage},
		{name: "payload that is no JSON", msg: protocol.Message{Type: "c", Payload: json.RawMessage(`1},"src":"x"`)}, code: protocol.ErrBadMessage},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, g *gateway) {
				d := g.device("d1")
				g.quiet()
				ctx := t.Context()
				if test.ctx != nil {
					ctx = test.ctx()
				}
				done := g.command(ctx, "d1", test.msg)
				synctest.Wait()
				got := d.take()
				if (len(got) == 1) != test.sent {
					t.Fatalf("the device got %v", got)
				}
				if test.act != nil {
					test.act(d)
				}
				o := <-done
				if o.text != nil || o.took < test.took || o.took > test.took+15*time.Millisecond {
					t.Errorf("got %s after %v, want an error after %v", o.text, o.took, test.took)
				}
				if test.code != "" {
					if code := codeOf(t, o.err); code != test.code || g.counted(code) != 1 {
						t.Errorf("%v, counted %d times", o.err, g.counted(code))
					}
				} else if !errors.Is(o.err, ctx.Err()) || ctx.Err() == nil {
					t.Errorf("error %v", o.err)
				}
				if d.pendingCommands() != 0 {
					t.Error("still pending")
				}
				if test.sent && test.act == nil {
					d.send(`{"type":"done","re":"` + got[0].ID + `"}`)
					d.oneError(protocol.ErrNotFound, "")
				}
			})
		})
	}
}

func TestAPICommandToAnAbsentDevice(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		_, err := g.r.Command(t.Context(), "d1", protocol.Message{Type: "c"})
		if codeOf(t, err) != protocol.ErrDeviceOffline {
			t.Fatal(err)
		}
		g.device("d1").none()
	})
}

// TestAPICommandToADeviceThatCannotTakeIt: the queue is full of what the API has
// sent, and then of what somebody else sends, which ends the device's session.
func TestAPICommandToADeviceThatCannotTakeIt(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		g.quiet()
		d.stall(true)
		big := protocol.Message{Type: "c", Payload: json.RawMessage(`"` + strings.Repeat("0", 3000) + `"`)}
		first := g.command(t.Context(), "d1", big)
		synctest.Wait()
		_, err := g.r.Command(t.Context(), "d1", big)
		if codeOf(t, err) != protocol.ErrOverloaded {
			t.Fatal(err)
		}
		if !d.sess.Open() {
			t.Fatal("the API has ended the device's session")
		}
		g.frontend("alice").send(`{"type":"c","dst":"d1","payload":"` + strings.Repeat("0", 3000) + `"}`)
		if o := <-first; codeOf(t, o.err) != protocol.ErrDeviceDisconnected || o.took > 50*time.Millisecond {
			t.Fatalf("%v after %v", o.err, o.took)
		}
	}, func(_ *Options, so *session.Options) { so.ControlBytes = 4096 })
}

func TestAPIBroadcastAndSendUser(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		d := g.device("d1")
		a1, a2, b := g.frontend("alice"), g.frontend("alice"), g.frontend("")
		g.quiet()
		msg := protocol.Message{Type: "note", Src: "spoofed", Payload: json.RawMessage(`[1, 2]`)}
		if n, err := g.broadcast(msg); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		g.only(`{"src":"@api","type":"note","payload":[1, 2]}`, a1, a2, b)
		if n, err := g.sendUser("alice", msg); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		g.only(`{"src":"@api","type":"note","payload":[1, 2]}`, a1, a2)
		if n, err := g.sendUser("d1", msg); n != 0 || codeOf(t, err) != protocol.ErrNotFound {
			t.Fatal(n, err)
		}
		a1.hangUp()
		a2.hangUp()
		b.hangUp()
		if n, err := g.sendUser("alice", msg); n != 0 || codeOf(t, err) != protocol.ErrNotFound {
			t.Fatal(n, err)
		}
		if n, err := g.broadcast(msg); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if _, err := g.broadcast(protocol.Message{Type: "Not a type"}); codeOf(t, err) != protocol.ErrBadMessage || !strings.Contains(err.Error(), `field "type"`) {
			t.Fatal(err)
		}
		if _, err := g.sendUser("alice", protocol.Message{}); codeOf(t, err) != protocol.ErrBadMessage || !strings.Contains(err.Error(), `field "type"`) {
			t.Fatal(err)
		}
		d.none()
	})
}

func TestDevicesAreListedById(t *testing.T) {
	inBubble(t, func(t *testing.T, g *gateway) {
		if all := g.listing(); all == nil || len(all) != 0 {
			t.Fatalf("%v: an empty list is one too", all)
		}
		g.device("d2")
		d := g.connect(session.Info{Role: session.RoleDevice, Name: "d1", Type: "tester", Customer: "acme", Meta: map[string]string{"k": "v"}, Remote: "192.0.2.9:9"})
		g.frontend("alice")
		all := g.listing()
		if len(all) != 2 || all[0].DeviceID != "d1" || all[1].DeviceID != "d2" {
			t.Fatalf("%+v", all)
		}
		one, ok := g.status("d1")
		if !ok || one.Session != d.sess.ID().String() || one.Type != "tester" || one.Customer != "acme" || one.Meta["k"] != "v" ||
			one.Remote != "192.0.2.9:9" || one.Stream != 2 || one.Node != "node-1" || one.Health.Score != 100 || !one.ConnectedAt.Equal(time.Now()) {
			t.Fatalf("%+v", one)
		}
		d.hangUp()
		if _, ok := g.status("d1"); ok || len(g.listing()) != 1 {
			t.Fatal("still listed")
		}
		if _, ok := g.status("alice"); ok {
			t.Fatal("a user is no device")
		}
	})
}

func TestClosingIsAnnouncedToEverybody(t *testing.T) {
	inBubble(t, func(_ *testing.T, g *gateway) {
		d, a := g.device("d1"), g.frontend("alice")
		g.quiet()
		g.r.AnnounceClosing(1500 * time.Millisecond)
		g.only(`{"type":"gateway.closing","payload":{"retry_after_ms":1500}}`, d, a)
	})
}
