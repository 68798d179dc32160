package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

func TestAnswersOfADevice(t *testing.T) {
	g := newGateway(t, false)
	other := make(chan protocol.Message, 10)
	ran := make(chan string, 100)
	cfg := g.config()
	logger := newTestLogger(&syncBuffer{})
	cfg.Logger = &logger
	d := dialDevice(t, cfg, DeviceConfig{
		OnMessage: func(m protocol.Message) { other <- m },
		OnCommand: func(_ context.Context, m protocol.Message) (any, error) {
			defer func() { ran <- m.Type }()
			switch m.Type {
			case "give.nothing":
				return nil, nil
			case "give.value":
				return map[string]any{"html": "<b>"}, nil
			case "give.message":
				return protocol.Message{Type: "my.own", Payload: []byte(`7`)}, nil
			case "give.error":
				return nil, errors.New("the door is open")
			case "give.panic":
				panic("oh")
			case "give.giant":
				return strings.Repeat("x", 2<<20), nil
			case "give.garbage":
				return func() {}, nil
			}
			return nil, fmt.Errorf("what is %s?", m.Type)
		},
	})
	s := g.next()
	for _, tc := range []struct{ typ, wantType, wantPayload string }{
		{"give.nothing", "give.nothing.result", `{"ok":true}`},
		{"give.value", "give.value.result", `{"html":"<b>"}`},
		{"give.message", "my.own", `7`},
		{"give.error", "give.error.result", `{"ok":false,"error":"the door is open"}`},
		{"give.panic", "give.panic.result", `{"ok":false,"error":"the device failed while it carried out the command"}`},
		{"give.giant", "give.giant.result", `{"ok":false,"error":"the result cannot be sent: client: message too large"}`},
		{"give.garbage", "give.garbage.result", `{"ok":false,"error":"the result cannot be sent: field \"payload\": cannot be encoded: json: unsupported type: func()"}`},
		{strings.Repeat("l", protocol.MaxTypeLen), strings.Repeat("l", protocol.MaxTypeLen), `{"ok":false,"error":"what is ` + strings.Repeat("l", protocol.MaxTypeLen) + `?"}`},
	} {
		for _, urgent := range []bool{false, true} {
			s.send(protocol.Message{Type: tc.typ, ID: "id-7", Src: "eve", Urgent: urgent})
			m := s.text()
			if m.Type != tc.wantType || m.Re != "id-7" || string(m.Payload) != tc.wantPayload || m.Urgent != urgent || m.ID != "" {
				t.Errorf("%s: answer %+v with %s", tc.typ, m, m.Payload)
			}
			<-ran
		}
	}
	if n := d.Stats().Panics; n != 2 {
		t.Errorf("%d panics counted, want 2", n)
	}

	// A command without an id is carried out and not answered; a message that
	// is not a command is not carried out.
	s.send(protocol.Message{Type: "give.value"})
	if got := <-ran; got != "give.value" {
		t.Errorf("ran %s", got)
	}
	for _, text := range []string{
		`{"type":"gateway.error","payload":{"code":"bad_message","message":"no"}}`,
		`{"type":"some.answer","re":"x"}`,
	} {
		s.send(message(t, text))
		if m := <-other; m.Type != message(t, text).Type {
			t.Errorf("OnMessage got %+v", m)
		}
	}
	s.send(protocol.Message{Type: "give.nothing", ID: "last"})
	if m := s.text(); m.Re != "last" {
		t.Errorf("%+v, want only the last command answered", m)
	}
	s.readOn()
}

func TestADeviceWithoutCommands(t *testing.T) {
	g := newGateway(t, false)
	dialDevice(t, g.config(), DeviceConfig{})
	s := g.next()
	s.send(protocol.Message{Type: "do.it", ID: "1"})
	if m := s.text(); m.Re != "1" || !strings.Contains(string(m.Payload), "takes no commands") {
		t.Errorf("%+v", m)
	}
	s.readOn()
}

// An urgent command runs beside the running command and before waiting
// commands; ordinary commands keep their order.
func TestOrderOfCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		var order []string
		proceed := make(chan struct{})
		stopped := make(chan struct{})
		d := dialDevice(t, g.config(), DeviceConfig{
			OnCommand: func(_ context.Context, m protocol.Message) (any, error) {
				if m.Urgent {
					order = append(order, m.Type) // alone: the others wait for the channel
					close(stopped)
					return nil, nil
				}
				<-proceed
				order = append(order, m.Type)
				return nil, nil
			},
		})
		s := g.next()
		for _, typ := range []string{"a", "b", "c"} {
			s.send(protocol.Message{Type: typ, ID: typ})
		}
		s.send(protocol.Message{Type: "halt", Urgent: true})
		<-stopped
		close(proceed)
		for _, want := range []string{"a", "b", "c"} {
			if m := s.text(); m.Re != want {
				t.Errorf("answers %s, want %s", m.Re, want)
			}
		}
		if want := []string{"halt", "a", "b", "c"}; !slices.Equal(order, want) {
			t.Errorf("carried out %v, want %v", order, want)
		}
		s.readOn()
		d.Close()
	})
}

func TestTooManyCommandsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		d := dialDevice(t, g.config(), DeviceConfig{
			MaxQueuedCommands: 3,
			OnCommand: func(ctx context.Context, m protocol.Message) (any, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		s := g.next()
		// One runs, three wait, the fifth is too much; four urgent ones run.
		for i, urgent := range []bool{false, false, false, false, false, true, true, true, true, true} {
			s.send(protocol.Message{Type: "wait.long", ID: fmt.Sprint(i), Urgent: urgent, TimeoutMS: 600_000})
			synctest.Wait()
		}
		for _, want := range []string{"4", "9"} {
			if m := s.text(); m.Re != want || !strings.Contains(string(m.Payload), "busy") {
				t.Errorf("%+v, want command %s refused", m, want)
			}
		}
		if n := d.Stats().CommandsRefused; n != 2 {
			t.Errorf("%d refusals counted, want 2", n)
		}
		s.readOn()
		began := time.Now()
		d.Close() // ends the contexts of those that run
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

// A command whose sender has received an error must not be carried out
// afterwards.
func TestACommandThatWaitedTooLongIsNotCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		ran := make(chan string, 10)
		ended := make(chan error, 10)
		d := dialDevice(t, g.config(), DeviceConfig{
			OnCommand: func(ctx context.Context, m protocol.Message) (any, error) {
				ran <- m.Type
				<-ctx.Done()
				time.Sleep(time.Second) // long enough for the next one to expire
				ended <- ctx.Err()
				return nil, nil
			},
		})
		s := g.next()
		s.send(protocol.Message{Type: "runs", TimeoutMS: 2000})
		s.send(protocol.Message{Type: "expires", TimeoutMS: 2500})
		s.send(protocol.Message{Type: "runs.too", TimeoutMS: 10_000})
		s.send(protocol.Message{Type: "is.lost", TimeoutMS: 60_000})
		if got := <-ran; got != "runs" {
			t.Errorf("first ran %s", got)
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("its context ended with %v", err)
		}
		if got := <-ran; got != "runs.too" {
			t.Errorf("then ran %s", got)
		}
		// The connection ends: the context of the running command ends, and the
		// waiting command is dropped.
		s.vanish()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("its context ended with %v", err)
		}
		g.next().readOn()
		time.Sleep(time.Minute)
		if len(ran) != 0 {
			t.Errorf("then ran %s, whose connection was lost", <-ran)
		}
		if n := d.Stats().CommandsExpired; n != 2 {
			t.Errorf("%d expired, want 2", n)
		}
		d.Close()
	})
}

// The answer to a command of a lost connection does not go to the next one.
func TestAnswersStayOnTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		connects := make(chan struct{}, 10)
		proceed := make(chan struct{})
		d := dialDevice(t, g.config(), DeviceConfig{
			OnConnect: func(d *Device, w protocol.Welcome) {
				if err := d.Send(protocol.Message{Type: "my.state"}); err != nil {
					t.Errorf("Send in OnConnect: %v", err)
				}
				connects <- struct{}{}
			},
			OnCommand: func(context.Context, protocol.Message) (any, error) {
				<-proceed
				return nil, nil
			},
		})
		<-connects
		s := g.next()
		s.send(protocol.Message{Type: "do.it", ID: "1"})
		synctest.Wait()
		s.vanish()
		<-connects
		s = g.next()
		close(proceed)
		synctest.Wait()
		if err := d.Send(protocol.Message{Type: "the.end"}); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"my.state", "the.end"} {
			if m := s.text(); m.Type != want {
				t.Errorf("%+v, want %s", m, want)
			}
		}
		s.readOn()
		d.Close()
	})
}
