package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

func TestAnswersFindTheirCommandsByID(t *testing.T) {
	g := newGateway(t, false)
	f := dialFrontend(t, g.config(), FrontendConfig{})
	s := g.next()
	const n = 100
	go func() { // answers in reverse, so that order does not help
		var all []protocol.Message
		seen := map[string]bool{}
		for range n {
			m := s.text()
			if seen[m.ID] || m.ID == "" {
				t.Errorf("id %q is used twice or empty", m.ID)
			}
			seen[m.ID] = true
			all = append(all, m)
		}
		for _, m := range slices.Backward(all) {
			// Only the device itself can answer its commands.
			s.send(protocol.Message{Type: "echo.result", Re: m.ID, Src: "@user/mallory", Payload: []byte(`"forged"`)})
			s.send(protocol.Message{Type: "echo.result", Re: m.ID, Src: m.Dst, Payload: m.Payload})
		}
		s.readOn()
	}()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			answer, err := f.Command(context.Background(), "dev", "echo", i)
			if err != nil || string(answer.Payload) != fmt.Sprint(i) || answer.Src != "dev" {
				t.Errorf("command %d: %+v, %v", i, answer, err)
			}
		})
	}
	wg.Wait()
}

func TestWhatACommandLooksLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		f := dialFrontend(t, g.config(), FrontendConfig{})
		s := g.next()
		soon, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for _, tc := range []struct {
			ctx     context.Context
			opts    []CommandOption
			urgent  bool
			timeout int
		}{
			{t.Context(), nil, false, 10_000},
			{soon, nil, false, 3000},
			{t.Context(), []CommandOption{Urgent(), Timeout(1500 * time.Millisecond)}, true, 1500},
			{t.Context(), []CommandOption{Timeout(time.Nanosecond)}, false, 1},
		} {
			go f.Command(tc.ctx, "dev-1", "test.start", json.RawMessage(`{"speed_mm_min": 5}`), tc.opts...)
			m := s.text()
			if m.Dst != "dev-1" || m.Type != "test.start" || string(m.Payload) != `{"speed_mm_min": 5}` || m.Urgent != tc.urgent || m.TimeoutMS != tc.timeout {
				t.Errorf("sent %+v, want urgent %v and timeout %d ms", m, tc.urgent, tc.timeout)
			}
			s.send(protocol.Message{Type: "test.start.result", Re: m.ID})
			synctest.Wait()
		}
		s.readOn()
		f.Close()
	})
}

func TestCommandErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		late := make(chan protocol.Message, 1)
		f := dialFrontend(t, g.config(), FrontendConfig{OnMessage: func(m protocol.Message) { late <- m }})
		s := g.next()
		command := func(ctx context.Context, opts ...CommandOption) <-chan error {
			done := make(chan error, 1)
			go func() {
				_, err := f.Command(ctx, "dev", "do.it", nil, opts...)
				done <- err
			}()
			return done
		}

		// The gateway's refusal.
		done := command(t.Context())
		m := s.text()
		s.send(protocol.Message{Type: protocol.TypeError, Re: m.ID, Payload: json.RawMessage(`{"code":"device_offline","message":"device dev is not connected"}`)})
		err := <-done
		if refused, ok := errors.AsType[*GatewayError](err); !ok || refused.Code != protocol.ErrDeviceOffline || !strings.Contains(err.Error(), "not connected") {
			t.Errorf("%v, want device_offline", err)
		}

		// The caller gives up; OnMessage gets the answer that comes too late.
		ctx, cancel := context.WithCancel(t.Context())
		done = command(ctx)
		m = s.text()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want canceled", err)
		}
		s.send(protocol.Message{Type: "do.it.result", Re: m.ID})
		if got := <-late; got.Re != m.ID {
			t.Errorf("OnMessage got %+v, want the late answer", got)
		}

		// Neither the device nor the gateway answers.
		began := time.Now()
		done = command(t.Context(), Timeout(5*time.Second))
		s.text()
		if err := <-done; !errors.Is(err, ErrNoAnswer) || time.Since(began) != 7*time.Second {
			t.Errorf("%v after %v, want no answer after 7s", err, time.Since(began))
		}

		// The connection is lost while two are pending: both fail at once, and
		// neither is sent again.
		first, second := command(t.Context()), command(t.Context())
		s.text()
		s.text()
		began = time.Now()
		s.vanish()
		for _, done := range []<-chan error{first, second} {
			if err := <-done; !errors.Is(err, ErrConnectionLost) {
				t.Errorf("%v, want connection lost", err)
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("the loss is told after %v", time.Since(began))
		}
		if _, err := f.Command(t.Context(), "dev", "do.it", nil); !errors.Is(err, ErrNotConnected) {
			t.Errorf("without a connection: %v", err)
		}
		if err := f.Send(protocol.Message{Type: "hello", Dst: "dev"}); !errors.Is(err, ErrNotConnected) {
			t.Errorf("Send without a connection: %v", err)
		}
		s = g.next()
		synctest.Wait()
		done = command(t.Context())
		if m := s.text(); m.Type != "do.it" {
			t.Errorf("first on the new connection: %+v", m)
		}

		// Close while one is pending.
		s.readOn()
		f.Close()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := f.Command(context.Background(), "dev", "do.it", nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Command after Close: %v", err)
		}
		if n := len(f.pending); n != 0 {
			t.Errorf("%d commands are still pending", n)
		}
	})
}

func TestCommandsThatAreNotSent(t *testing.T) {
	g := newGateway(t, false)
	g.welcome.MaxMessage = 1000
	cfg := g.config()
	cfg.SendBuffer.Text = 4000
	f := dialFrontend(t, cfg, FrontendConfig{})
	s := g.next()
	ctx := context.Background()
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for want, err := range map[string]error{
		"is not a name":           second(f.Command(ctx, "no such", "do.it", nil)),
		`field "type"`:            second(f.Command(ctx, "dev", "Do It", nil)),
		`field "payload"`:         second(f.Command(ctx, "dev", "do.it", make(chan int))),
		"at byte":                 second(f.Command(ctx, "dev", "do.it", json.RawMessage(`{"a":}`))),
		"out of range":            second(f.Command(ctx, "dev", "do.it", nil, Timeout(time.Hour))),
		ErrTooLarge.Error():       second(f.Command(ctx, "dev", "do.it", strings.Repeat("x", 1000))),
		context.Canceled.Error():  second(f.Command(cancelled, "dev", "do.it", nil)),
		`field "payload.devices"`: f.Subscribe(ctx, "no such"),
		"names nothing":           f.Subscribe(ctx),
		`"some" is unknown`:       f.SubscribeTo(ctx, "some"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
	if err := f.Send(protocol.Message{Type: "only.this"}); err != nil {
		t.Fatal(err)
	}
	if m := s.text(); m.Type != "only.this" {
		t.Errorf("%+v was sent", m)
	}
	s.readOn()
}

func TestSubscriptionsHoldOverAReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		f := dialFrontend(t, g.config(), FrontendConfig{})
		s := g.next()
		answered := make(chan error, 1)
		go func() { answered <- f.Subscribe(t.Context(), "b", "a") }()
		m := s.text()
		if m.Type != protocol.TypeSubscribe || string(m.Payload) != `{"devices":["b","a"]}` {
			t.Fatalf("sent %+v", m)
		}
		s.send(protocol.Message{Type: protocol.TypeSubscribed, Re: m.ID, Payload: json.RawMessage(`{"devices":["a","b","z"]}`)})
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		go func() { answered <- f.Unsubscribe(t.Context(), "a") }()
		m = s.text()
		s.send(protocol.Message{Type: protocol.TypeError, Re: m.ID, Payload: json.RawMessage(`{"code":"bad_message","message":"no"}`)})
		if _, ok := errors.AsType[*GatewayError](<-answered); !ok || m.Type != protocol.TypeUnsubscribe {
			t.Errorf("a refused unsubscribe: %+v", m)
		}
		s.vanish()
		s = g.next()
		// The subscription is what the gateway answered, not what the client
		// requested.
		if m := s.text(); m.Type != protocol.TypeSubscribe || string(m.Payload) != `{"devices":["a","b","z"]}` || m.ID != "" {
			t.Errorf("first on the new connection: %+v", m)
		}
		s.readOn()
		f.Close()
	})
}

func TestFrontendReceives(t *testing.T) {
	g := newGateway(t, false)
	g.welcome.Devices = []protocol.DeviceInfo{{DeviceID: "one", Stream: 1}}
	type telemetry struct {
		h    protocol.TelemetryHeader
		body string
	}
	messages := make(chan protocol.Message, 10)
	frames := make(chan telemetry, 10)
	losses := make(chan protocol.Lost, 10)
	f := dialFrontend(t, g.config(), FrontendConfig{
		OnMessage:   func(m protocol.Message) { messages <- m },
		OnTelemetry: func(h protocol.TelemetryHeader, body []byte) { frames <- telemetry{h, string(body)} },
		OnLost:      func(l protocol.Lost) { losses <- l },
	})
	s := g.next()
	names := func() string {
		var all []string
		for _, d := range f.Devices() {
			all = append(all, d.DeviceID)
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	if got := names(); got != "one" {
		t.Errorf("devices %q after the welcome", got)
	}
	s.send(message(t, `{"type":"gateway.device_online","payload":{"device_id":"two","stream":2,"node":"n1"}}`))
	if m := <-messages; m.Type != protocol.TypeDeviceOnline || names() != "one two" {
		t.Errorf("%+v, devices %q", m, names())
	}
	s.send(message(t, `{"type":"gateway.device_offline","payload":{"device_id":"one","stream":1,"node":"n1"}}`))
	if <-messages; names() != "two" {
		t.Errorf("devices %q after one went", names())
	}
	for stream, want := range map[uint32]string{1: "one", 2: "two", 3: ""} {
		if id, ok := f.DeviceOf(stream); id != want || ok != (want != "") {
			t.Errorf("stream %d is of %q, want %q", stream, id, want)
		}
	}
	s.send(message(t, `{"type":"gateway.lost","payload":{"stream":2,"from":10,"to":20,"cause":"slow"}}`))
	if l := <-losses; l != (protocol.Lost{Stream: 2, From: 10, To: 20, Cause: "slow"}) {
		t.Errorf("lost %+v", l)
	}
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI16, Stream: 2, Seq: 5, Channels: 1, Count: 2}
	s.raw(websocket.MessageBinary, protocol.AppendI16(h.Append(nil), 7, 8))
	if got := <-frames; got.h != h || protocol.I16At([]byte(got.body), 1) != 8 {
		t.Errorf("telemetry %+v", got)
	}

	// Messages that cannot be read are counted and ignored.
	s.raw(websocket.MessageBinary, []byte("short"))
	s.raw(websocket.MessageText, []byte("{"))
	s.send(protocol.Message{Type: "still.here"})
	if m := <-messages; m.Type != "still.here" {
		t.Errorf("%+v", m)
	}
	if n := f.Stats().BadMessages; n != 2 {
		t.Errorf("%d bad messages, want 2", n)
	}
	s.readOn()
}

func TestAPanicInACallbackIsNotTheEnd(t *testing.T) {
	g := newGateway(t, false)
	cfg := g.config()
	log := &syncBuffer{}
	logger := newTestLogger(log)
	cfg.Logger = &logger
	cfg.OnDisconnect = func(error) { panic("in OnDisconnect") }
	heard := make(chan string, 10)
	f := dialFrontend(t, cfg, FrontendConfig{
		OnConnect: func(*Frontend, protocol.Welcome) { panic("in OnConnect") },
		OnMessage: func(m protocol.Message) {
			if m.Type == "bad.one" {
				panic(errors.New("in OnMessage"))
			}
			heard <- m.Type
		},
		OnTelemetry: func(protocol.TelemetryHeader, []byte) { panic("in OnTelemetry") },
		OnLost:      func(protocol.Lost) { panic("in OnLost") },
	})
	s := g.next()
	h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatI16, Channels: 1, Count: 1}
	s.raw(websocket.MessageBinary, protocol.AppendI16(h.Append(nil), 7))
	s.send(message(t, `{"type":"gateway.lost","payload":{}}`))
	s.send(protocol.Message{Type: "bad.one"})
	s.send(protocol.Message{Type: "good.one"})
	if got := <-heard; got != "good.one" {
		t.Errorf("heard %s", got)
	}
	s.readOn()
	f.Close()
	if n := f.Stats().Panics; n != 5 {
		t.Errorf("%d panics counted, want 5", n)
	}
	for _, want := range []string{"in OnConnect", "in OnMessage", "in OnTelemetry", "in OnLost", "in OnDisconnect", "frontend_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
}
