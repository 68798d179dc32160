package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
)

func TestEndpoint(t *testing.T) {
	for _, tc := range []struct{ base, tail, want string }{
		{"ws://h:1", "device/a", "ws://h:1/ws/device/a?k=v"},
		{"wss://h/", "frontend", "wss://h/ws/frontend?k=v"},
		{"http://h:1", "frontend/u", "http://h:1/ws/frontend/u?k=v"},
		{"https://h/lab/gate/", "device/a", "https://h/lab/gate/ws/device/a?k=v"},
		{"ws://h/ws/device/other?x=y", "device/a", "ws://h/ws/device/other?k=v&x=y"},
		{"h:8080", "device/a", "error: scheme"},
		{"127.0.0.1:8080", "device/a", "error: ws://HOST:PORT"},
		{"ftp://h", "device/a", "error: scheme"},
		{"ws://", "device/a", "error: host"},
		{"", "device/a", "error: scheme"},
		{"ws://h/ws/frontend", "device/a", "error: not the endpoint"},
	} {
		got, err := endpoint(tc.base, tc.tail, map[string][]string{"k": {"v"}})
		if part, ok := strings.CutPrefix(tc.want, "error: "); ok {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %q, %v; want an error with %q", tc.base, got, err, part)
			}
		} else if err != nil || got != tc.want {
			t.Errorf("%q: %q, %v; want %q", tc.base, got, err, tc.want)
		}
	}
}

func TestHandshakeCarriesWhatWasConfigured(t *testing.T) {
	g := newGateway(t, false)
	cfg := g.config()
	cfg.Token = "secret"
	cfg.Header = http.Header{"X-Bench": {"3"}}
	var connected protocol.Welcome
	dev := dialDevice(t, cfg, DeviceConfig{ID: "a-1", Type: "tensile", Customer: "c & d", Meta: map[string]string{"room": "2.1"},
		OnConnect: func(_ *Device, w protocol.Welcome) { connected = w }})
	s := g.next()
	s.readOn()
	r := s.request
	if r.URL.Path != "/ws/device/a-1" || r.URL.RawQuery != "customer=c+%26+d&meta.room=2.1&type=tensile" {
		t.Errorf("connects to %s", r.URL)
	}
	if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("X-Bench") != "3" {
		t.Errorf("headers %v", r.Header)
	}
	if w := dev.Welcome(); w.Node != "n1" {
		t.Errorf("welcome %+v", w)
	}
	dev.Close()
	if connected.Node != "n1" {
		t.Errorf("OnConnect got %+v", connected)
	}

	for telemetry, fe := range map[string]FrontendConfig{
		"none": {User: "eve"},
		"all":  {User: "eve", OnTelemetry: func(protocol.TelemetryHeader, []byte) {}},
	} {
		dialFrontend(t, g.config(), fe)
		s := g.next()
		s.readOn()
		if u := s.request.URL; u.Path != "/ws/frontend/eve" || u.RawQuery != "telemetry="+telemetry {
			t.Errorf("connects to %s", u)
		}
	}
}

func TestDialOverTLS(t *testing.T) {
	g := newGateway(t, false)
	srv := httptest.NewTLSServer(g)
	defer srv.Close()
	cfg := Config{URL: srv.URL, TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig}
	dev := dialDevice(t, cfg, DeviceConfig{})
	s := g.next()
	stream, err := NewStream[int16](dev, 1, time.Millisecond, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := stream.Append(int16(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if h, body := s.frame(); h.Seq != uint64(i) || protocol.I16At(body, 0) != int16(i) {
			t.Fatalf("frame %d: %+v", i, h)
		}
	}
	s.readOn()
	dev.Close() // before the server, which would wait for the handler
}

func TestDialSaysWhyItWasRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		handler http.HandlerFunc
		want    RefusedError
	}{
		"json": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(401)
			w.Write([]byte(`{"error":{"code":"not_allowed","message":"a valid token is needed"}}`))
		}, RefusedError{401, protocol.ErrNotAllowed, "a valid token is needed", 7 * time.Second}},
		"text": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "upstream is down\nsecond line", 502)
		}, RefusedError{502, "", "upstream is down", 0}},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", 302)
		}, RefusedError{302, "", "it is elsewhere: https://elsewhere.example/", 0}},
		"not a gateway": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("hello"))
		}, RefusedError{200, "", "hello", 0}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, false)
			g.refuse = tc.handler
			_, err := DialDevice(context.Background(), g.config(), DeviceConfig{ID: "d"})
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || *refused != tc.want {
				t.Fatalf("%#v, want %#v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.want.Message) {
				t.Errorf("%q does not say %q", err, tc.want.Message)
			}
		})
	}
}

func TestDialFailsOnWhatIsNoGateway(t *testing.T) {
	answer := func(typ websocket.MessageType, text string, subprotocols ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: subprotocols})
			if err != nil {
				return
			}
			defer ws.CloseNow()
			ws.Write(r.Context(), typ, []byte(text))
			ws.Read(r.Context())
		}
	}
	for want, handler := range map[string]http.HandlerFunc{
		"does not speak labgate.v1":       answer(websocket.MessageText, "hi"),
		"is not text":                     answer(websocket.MessageBinary, "hi", protocol.Subprotocol),
		"message at byte 0":               answer(websocket.MessageText, "hi", protocol.Subprotocol),
		`is "a.b", not "gateway.welcome"`: answer(websocket.MessageText, `{"type":"a.b"}`, protocol.Subprotocol),
		"the gateway's welcome: json":     answer(websocket.MessageText, `{"type":"gateway.welcome","payload":{"node":1}}`, protocol.Subprotocol),
		"duplicate_device":                closeAtOnce(protocol.CloseDuplicateDevice),
	} {
		g := newGateway(t, false)
		g.refuse = handler
		if _, err := DialDevice(context.Background(), g.config(), DeviceConfig{ID: "d"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

func closeAtOnce(code protocol.CloseCode) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err != nil {
			return
		}
		ws.Close(websocket.StatusCode(code), code.Name())
	}
}

func TestDialChecksWhatItIsGiven(t *testing.T) {
	ctx := context.Background()
	for want, err := range map[string]error{
		"DeviceConfig.ID":          second(DialDevice(ctx, Config{URL: "ws://h"}, DeviceConfig{ID: "no spaces"})),
		"FrontendConfig.User":      second(DialFrontend(ctx, Config{URL: "ws://h"}, FrontendConfig{User: "-x"})),
		"FrontendConfig.Telemetry": second(DialFrontend(ctx, Config{URL: "ws://h"}, FrontendConfig{Telemetry: "some"})),
		"scheme":                   second(DialFrontend(ctx, Config{URL: "h"}, FrontendConfig{})),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about %s", err, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestDialHonoursItsContextAndTheHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		g.silent = true
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := DialDevice(ctx, g.config(), DeviceConfig{ID: "d"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v, want the context's deadline after 3s", err, time.Since(began))
		}
		began = time.Now()
		_, err := DialDevice(t.Context(), g.config(), DeviceConfig{ID: "d"})
		if err == nil || !strings.Contains(err.Error(), "no welcome from the gateway within 10s") || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v, want the handshake timeout after 10s", err, time.Since(began))
		}
	})
}

func TestConnectionOutlivesTheContextOfItsDial(t *testing.T) {
	g := newGateway(t, false)
	ctx, cancel := context.WithCancel(context.Background())
	d, err := DialDevice(ctx, g.config(), DeviceConfig{ID: "d"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s := g.next()
	cancel()
	if err := d.Send(protocol.Message{Type: "still.here"}); err != nil {
		t.Fatal(err)
	}
	if m := s.text(); m.Type != "still.here" || m.TS == 0 {
		t.Errorf("%+v, want still.here with a time stamp", m)
	}
	s.readOn()
}
