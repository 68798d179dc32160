package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// answering is a device that answers every command and keeps the ids.
func (p *peer) answering(got *sync.Map) {
	for {
		f, err := p.next()
		if err != nil {
			return
		}
		switch f.op {
		case wsframe.OpClose:
			code, _ := wsframe.ParseClose(f.data)
			p.sendClose(code)
		case wsframe.OpText:
			var e protocol.Envelope
			if e.Parse(f.data) == nil && e.ID != nil {
				got.Store(string(e.ID), true)
				answer := fmt.Appendf(nil, `{"type":"an.answer","re":%q}`, e.ID)
				_, _ = p.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpText, testKey, answer))
			}
		}
	}
}

// TestShutdownUnderLoad ends a busy gateway: whatever command a device was
// given, its asker is told the outcome; every session is told gateway.closing
// and then closed with 1001; nothing is left running, and the ports are free.
func TestShutdownUnderLoad(t *testing.T) {
	const devices, frontends = 4, 6
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			g := start(t, m, nil)
			begin := make(chan struct{})
			var delivered, ended sync.Map
			var all sync.WaitGroup
			var closing, goingAway, asked atomic.Int64
			for i := range devices {
				dev := g.upgrade(fmt.Sprintf("/ws/device/d%d", i))
				all.Go(func() { dev.answering(&delivered) })
			}
			for i := range frontends {
				user := fmt.Sprintf("u%d", i)
				fe := g.upgrade("/ws/frontend/" + user)
				stop := make(chan struct{})
				all.Go(func() {
					<-begin
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
						id := fmt.Sprintf("%s.%d", user, n)
						text := fmt.Appendf(nil, `{"type":"a.command","id":%q,"dst":"d%d"}`, id, n%devices)
						if _, err := fe.conn.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpText, testKey, text)); err != nil {
							return
						}
						asked.Add(1)
						if n%50 == 0 {
							time.Sleep(time.Millisecond)
						}
					}
				})
				all.Go(func() {
					defer close(stop)
					told := false
					for {
						f, err := fe.next()
						if err != nil {
							t.Errorf("%s: %v without a close frame", user, err)
							return
						}
						if f.op == wsframe.OpClose {
							code, reason := wsframe.ParseClose(f.data)
							if code == 1001 && reason == "going_away" {
								goingAway.Add(1)
							} else {
								t.Errorf("%s: closed with %d %q", user, code, reason)
							}
							fe.sendClose(code)
							break
						}
						var e protocol.Envelope
						if err := e.Parse(f.data); err != nil {
							t.Errorf("%s: %v", user, err)
						}
						switch string(e.Type) {
						case protocol.TypeClosing:
							var c protocol.Closing
							if err := json.Unmarshal(e.Payload, &c); err != nil || c.RetryAfterMS != 2000 || told {
								t.Errorf("%s: %s %v", user, f.data, err)
							}
							told = true
							closing.Add(1)
						case "an.answer", protocol.TypeError:
							if _, twice := ended.LoadOrStore(string(e.Re), true); twice {
								t.Errorf("%s: a second outcome: %s", user, f.data)
							}
						}
					}
					_, _ = io.Copy(io.Discard, fe.conn)
				})
			}
			close(begin)
			g.eventually("there is load", func() bool { return asked.Load() > 2000 })
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := g.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			all.Wait()
			if closing.Load() != frontends || goingAway.Load() != frontends {
				t.Errorf("of %d front ends, %d were told and %d closed with 1001", frontends, closing.Load(), goingAway.Load())
			}
			lost := 0
			delivered.Range(func(id, _ any) bool {
				if _, ok := ended.Load(id); !ok {
					lost++
				}
				return true
			})
			if lost > 0 {
				t.Errorf("%d commands that a device was given have no outcome", lost)
			}
			if err := g.Shutdown(ctx); err != nil {
				t.Errorf("a second Shutdown: %v", err)
			}
			for _, addr := range []string{g.Addr(), g.AdminAddr()} {
				ln, err := net.Listen("tcp", addr)
				if err != nil {
					t.Errorf("the port is not free: %v", err)
					continue
				}
				ln.Close()
			}
			goleak.VerifyNone(t, before)
		})
	}
}

// TestShutdownDeadline has peers that ignore the close, one of which has
// stopped reading altogether: they are cut off at the context's end.
func TestShutdownDeadline(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.WriteTimeout = patience })
		dev := g.upgrade("/ws/device/d")
		ignores := g.upgrade("/ws/frontend/a")
		stalled := g.upgradeNarrow("/ws/frontend/b")
		for range 200 {
			dev.send(wsframe.OpBinary, telemetry(0, 2000))
		}
		ignores.text(`{"type":"a.command","id":"c","dst":"d"}`)
		dev.await("a.command")
		idle := g.dial()
		half := g.dial()
		write(t, half, request("/ws/device/half")[:50])
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := g.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if d := time.Since(began); d < 500*time.Millisecond {
			t.Errorf("the peers had only %v", d)
		}
		for _, conn := range []net.Conn{dev.conn, ignores.conn, stalled.conn, idle, half} {
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
				t.Error("a connection was not closed")
			}
		}
	})
}

// TestShutdownWithWaitingRequests answers requests that wait for a device with
// a named error; requests that come while sessions leave are refused.
func TestShutdownWithWaitingRequests(t *testing.T) {
	const requests = 10
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		results := make(chan string, requests)
		for range requests {
			go func() {
				status, answer, err := g.tryCall("POST", "/v1/devices/d/commands", `{"type":"test.start","timeout_ms":600000}`)
				code, _ := errorOf(answer)
				results <- fmt.Sprintf("%d %s %v", status, code, err)
			}()
		}
		for range requests {
			dev.await("test.start")
		}
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- g.Shutdown(ctx)
		}()
		for range requests {
			if r := <-results; r != "502 device_disconnected <nil>" {
				t.Errorf("outcome %s", r)
			}
		}
		dev.await(protocol.TypeClosing)
		dev.expectClose(protocol.CloseGoingAway)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestDraining keeps a session open after Shutdown has begun: who comes over a
// connection that is still there is sent away with 503.
func TestDraining(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		if status, body := g.askAdmin("/readyz"); status != 200 || !strings.Contains(body, "ready") {
			t.Errorf("/readyz: %d %s", status, body)
		}
		kept := []net.Conn{g.dial(), g.dial()}
		g.eventually("the connections are accepted", func() bool { return g.admission.Counters().Connections.Load() >= 3 })
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- g.Shutdown(ctx)
		}()
		dev.await(protocol.TypeClosing)
		if status, body := g.askAdmin("/readyz"); status != 503 || !strings.Contains(body, "draining") {
			t.Errorf("/readyz: %d %s", status, body)
		}
		if status, _ := g.askAdmin("/healthz"); status != 200 {
			t.Errorf("/healthz: %d", status)
		}
		if _, err := net.Dial("tcp", g.Addr()); err == nil {
			t.Error("the port still takes connections")
		}
		for i, r := range []string{request("/ws/device/late"), get("/v1/devices", "Connection: close")} {
			c := refusalCase{"draining", r, 503, protocol.ErrUnavailable, "shutting down", "Retry-After: 2"}
			c.checkOn(t, kept[i])
		}
		dev.expectClose(protocol.CloseGoingAway)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestStartFails occupies each port in turn: the error names the option, and
// nothing is left running.
func TestStartFails(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			for option, tune := range map[string]func(*Options){
				"--listen: ":       func(o *Options) { o.Listen = taken.Addr().String() },
				"--admin-listen: ": func(o *Options) { o.AdminListen = taken.Addr().String() },
			} {
				g := prepare(t, m, func(o *Options) { tune(o); o.Listeners = 2 })
				if err := g.Shutdown(t.Context()); err != nil {
					t.Errorf("Shutdown before Start: %v", err)
				}
				if err := g.Start(); err == nil || !strings.HasPrefix(err.Error(), option) {
					t.Errorf("%s%v", option, err)
				}
				if err := g.Start(); err == nil {
					t.Error("a second Start is no error")
				}
				if err := g.Shutdown(t.Context()); err != nil {
					t.Errorf("Shutdown after Start has failed: %v", err)
				}
			}
			goleak.VerifyNone(t, before)
		})
	}
}

// TestSeveralListeners shares one port among several sockets.
func TestSeveralListeners(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.Listeners = 4 })
		for i := range 40 {
			g.upgrade(fmt.Sprintf("/ws/device/d%d", i))
		}
		if n := g.manager.Devices(); n != 40 {
			t.Errorf("%d devices", n)
		}
	})
}

// askAdmin asks the admin listener.
func (g *gateway) askAdmin(path string) (int, string) {
	g.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	res, err := client.Get("http://" + g.AdminAddr() + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}
