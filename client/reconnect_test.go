package client

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labgate/labgate/protocol"
)

func TestBackoffIsFullJitter(t *testing.T) {
	b := Backoff{}.withDefaults()
	for n, ceiling := range []time.Duration{500, 1000, 2000, 4000, 8000, 16000, 20000, 20000} {
		ceiling *= time.Millisecond
		if got := b.pause(n, 0); got != 0 {
			t.Errorf("after %d failures: at least %v, want 0", n, got)
		}
		if got := b.pause(n, 0.5); got != ceiling/2 {
			t.Errorf("after %d failures: middle %v, want %v", n, got, ceiling/2)
		}
	}
	for n := range 10_000 { // no overflow, however long the gateway is away
		if got := b.pause(n, 0.999); got < 0 || got >= 20*time.Second {
			t.Fatalf("after %d failures: %v", n, got)
		}
	}
	if b := (Backoff{Min: time.Minute}).withDefaults(); b.Max != time.Minute {
		t.Errorf("Max %v below Min %v", b.Max, b.Min)
	}
}

// pauses returns the times between the dials that a gateway saw.
func (g *fakeGateway) pauses() []time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	var p []time.Duration
	for i := 1; i < len(g.dials); i++ {
		p = append(p, g.dials[i].Sub(g.dials[i-1]))
	}
	return p
}

func TestReconnectPauses(t *testing.T) {
	const second = time.Second
	unavailable := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	for name, tc := range map[string]struct {
		random float64
		lasts  time.Duration // of the first connection
		refuse http.HandlerFunc
		send   string // by the gateway, before it vanishes
		want   []time.Duration
	}{
		"doubling": {0.5, 0, unavailable, "", []time.Duration{
			second / 4, second / 2, second, 2 * second, 4 * second, 8 * second, 10 * second, 10 * second}},
		"gateway.closing": {0.5, 0, nil, `{"type":"gateway.closing","payload":{"retry_after_ms":3000}}`, []time.Duration{
			3*second + second/4}},
		"gateway.closing asks for a day": {0.5, 0, nil, `{"type":"gateway.closing","payload":{"retry_after_ms":86400000}}`, []time.Duration{
			maxAsked + second/4}},
		"Retry-After": {0.5, 0, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(503)
		}, "", []time.Duration{second / 4, 5*second + second/2, 5*second + second}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, true)
				cfg := g.config()
				cfg.random = func() float64 { return tc.random }
				d := dialDevice(t, cfg, DeviceConfig{})
				s := g.next()
				g.set(func() { g.refuse = tc.refuse; g.dials = []time.Time{time.Now()} })
				if tc.send != "" {
					s.send(message(t, tc.send))
				}
				s.vanish()
				for len(g.pauses()) < len(tc.want) {
					time.Sleep(second / 20)
				}
				if got := g.pauses()[:len(tc.want)]; !slices.Equal(got, tc.want) {
					t.Errorf("pauses %v, want %v", got, tc.want)
				}
				g.set(func() { g.refuse = nil })
				again := g.next()
				synctest.Wait() // until the client has read the welcome
				if err := d.Send(protocol.Message{Type: "back.again"}); err != nil {
					t.Errorf("Send on the new connection: %v", err)
				}
				if m := again.text(); m.Type != "back.again" {
					t.Errorf("%+v", m)
				}
				again.readOn()
				d.Close()
			})
		})
	}
}

// A gateway that accepts and drops connections must not be flooded with
// attempts; after a connection that lasted, the client reconnects at once.
func TestBackoffStartsAgainOnlyAfterALastingConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		cfg := g.config()
		cfg.random = func() float64 { return 0.5 }
		d := dialDevice(t, cfg, DeviceConfig{})
		for range 4 {
			g.next().vanish()
		}
		lasting := g.next()
		lasting.readOn()
		time.Sleep(20 * time.Second)
		lasting.vanish()
		g.next().readOn()
		want := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 20*time.Second + 250*time.Millisecond}
		if got := g.pauses(); !slices.Equal(got, want) {
			t.Errorf("pauses %v, want %v", got, want)
		}
		synctest.Wait()
		if n := d.Stats().Connects; n != 6 {
			t.Errorf("%d connects, want 6", n)
		}
		d.Close()
	})
}

func TestCloseCodesDecideAboutReconnecting(t *testing.T) {
	for _, code := range []protocol.CloseCode{
		protocol.CloseNormal, protocol.CloseGoingAway, protocol.CloseProtocolError, protocol.CloseUnsupported,
		protocol.CloseInvalidData, protocol.CloseTooLarge, protocol.CloseInternal, protocol.CloseReplaced,
		protocol.CloseUnauthorized, protocol.CloseHeartbeatTimeout, protocol.CloseIdle, protocol.CloseSlowConsumer,
		protocol.CloseBadMessage, protocol.CloseRateLimited, protocol.CloseDuplicateDevice, protocol.CloseKicked,
	} {
		t.Run(code.Name(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, true)
				told := make(chan error, 1)
				cfg := g.config()
				cfg.OnDisconnect = func(err error) { told <- err }
				d := dialDevice(t, cfg, DeviceConfig{})
				g.next().close(code)
				reason := <-told
				closed, ok := errors.AsType[*DisconnectError](reason)
				if !ok || closed.Code != code || closed.Reason != code.Name() {
					t.Errorf("OnDisconnect got %v, want close code %d", reason, code)
				}
				if code.Reconnect() {
					g.next().readOn()
					if d.Err() != nil {
						t.Errorf("connected again and yet ended: %v", d.Err())
					}
					d.Close()
					return
				}
				<-d.Done()
				if !errors.Is(d.Err(), reason) {
					t.Errorf("ended with %v, want %v", d.Err(), reason)
				}
				if err := d.Send(protocol.Message{Type: "too.late"}); !errors.Is(err, reason) {
					t.Errorf("Send says %v, want %v", err, reason)
				}
				time.Sleep(time.Hour)
				if n := len(g.pauses()); n != 0 {
					t.Errorf("connects %d more times", n)
				}
			})
		})
	}
}

func TestRefusalsDecideAboutReconnecting(t *testing.T) {
	for status, again := range map[int]bool{400: false, 401: false, 403: false, 404: false, 426: false, 302: false,
		408: true, 409: true, 429: true, 500: true, 502: true, 503: true} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t, true)
			d := dialDevice(t, g.config(), DeviceConfig{})
			g.set(func() { g.refuse = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) } })
			g.next().vanish()
			time.Sleep(10 * time.Minute)
			_, refused := errors.AsType[*RefusedError](d.Err())
			if refused == again {
				t.Errorf("status %d: ended with %v", status, d.Err())
			}
			if n := len(g.pauses()); again && n < 10 || !again && n != 1 {
				t.Errorf("status %d: %d more attempts", status, n)
			}
			d.Close()
		})
	}
}

func TestCloseWhileReconnecting(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"in the pause": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"in the dial":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGateway(t, true)
				cfg := g.config()
				cfg.random = func() float64 { return 0.5 }
				d := dialDevice(t, cfg, DeviceConfig{})
				g.set(func() { g.refuse = refuse })
				g.next().vanish()
				time.Sleep(5 * time.Second)
				began := time.Now()
				var both sync.WaitGroup
				both.Go(func() { d.Close() }) // at the same time from two goroutines
				d.Close()
				both.Wait()
				if took := time.Since(began); took != 0 {
					t.Errorf("Close took %v", took)
				}
				if !errors.Is(d.Err(), ErrClosed) {
					t.Errorf("ended with %v, want ErrClosed", d.Err())
				}
			})
		})
	}
}

func TestCloseSendsWhatIsQueuedAndSaysGoodbye(t *testing.T) {
	g := newGateway(t, false)
	d := dialDevice(t, g.config(), DeviceConfig{})
	s := g.next()
	for range 1000 {
		if err := d.Send(protocol.Message{Type: "last.words"}); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		d.Close()
	}()
	for range 1000 {
		s.text()
	}
	_, _, err := s.ws.Read(context.Background())
	if bye, ok := errors.AsType[*DisconnectError](closeError(err)); !ok || bye.Code != protocol.CloseNormal {
		t.Errorf("after the messages: %v, want close code 1000", err)
	}
	<-closed
	if err := d.Send(protocol.Message{Type: "too.late"}); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
}

func TestCloseDoesNotWaitForADeafGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		d := dialDevice(t, g.config(), DeviceConfig{})
		g.next() // and never read
		if err := d.Send(protocol.Message{Type: "is.anybody"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		d.Close()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestASilentGatewayIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		g.welcome.HeartbeatMS = 10_000
		told := make(chan error, 10)
		cfg := g.config()
		cfg.WriteTimeout = time.Hour // not what ends it here
		cfg.OnDisconnect = func(err error) { told <- err }
		d := dialDevice(t, cfg, DeviceConfig{})
		answering := g.next()
		answering.readOn() // answers pings, and sends nothing else
		time.Sleep(10 * time.Minute)
		if len(told) > 0 {
			t.Fatalf("gives up a gateway that answers: %v", <-told)
		}
		answering.vanish()
		<-told
		g.set(func() { g.mute = true })
		g.next().readOn() // reads everything and sends nothing
		began := time.Now()
		if err := <-told; !errors.Is(err, errSilent) {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("noticed after %v, want three heartbeats of 10s", took)
		}
		g.next() // takes nothing
		began = time.Now()
		if err := <-told; !errors.Is(err, errSilent) {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(began); took < 10*time.Second || took > 31*time.Second {
			t.Errorf("noticed after %v, want one to three heartbeats of 10s", took)
		}
		g.next().readOn()
		d.Close()
	})
}

func TestAStalledNetworkIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t, true)
		told := make(chan error, 10)
		cfg := g.config()
		cfg.WriteTimeout = 5 * time.Second
		cfg.OnDisconnect = func(err error) { told <- err }
		d := dialDevice(t, cfg, DeviceConfig{})
		g.next() // and never read
		began := time.Now()
		if err := d.Send(protocol.Message{Type: "into.nothing"}); err != nil {
			t.Fatal(err)
		}
		<-told
		if took := time.Since(began); took < 5*time.Second || took > 7*time.Second {
			t.Errorf("noticed after %v, want the write timeout of 5s", took)
		}
		g.next().readOn()
		d.Close()
	})
}
