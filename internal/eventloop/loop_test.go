package eventloop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// above is what a Loop under test serves.
type above struct {
	http.HandlerFunc
	connections atomic.Int64
}

func (a *above) ConnectionAccepted(net.Addr) *httpresponse.Buffer {
	a.connections.Add(1)
	return nil
}
func (a *above) ConnectionEnded(net.Addr)          { a.connections.Add(-1) }
func (a *above) RequestRefused(protocol.ErrorCode) {}
func (a *above) Handshake(w http.ResponseWriter, _ *http.Request) *Upgrade {
	httpresponse.WriteError(w, http.StatusNotFound, protocol.ErrNotFound, "no WebSocket here")
	return nil
}

// serve starts a Loop for a handler, and stops it at the end of the test.
func serve(t *testing.T, blocking int, handler http.HandlerFunc) (*Loop, *above) {
	t.Helper()
	a := &above{HandlerFunc: handler}
	l, err := New(Options{
		LoopOptions: LoopOptions{IOMode: IOMixed, MixedThreshold: blocking, Listeners: 1, Pollers: 1, ReadBuffer: 4096},
		Listen:      "127.0.0.1:0", MaxQueued: 1 << 20, MaxUnsent: 1 << 16,
		HandshakeTimeout: patience, WriteTimeout: patience, Admission: a, Handler: a, Panics: panics.NewRecoverer(zerolog.Nop()),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Listen(); err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(session.Options{Callbacks: session.NopCallbacks{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(m.Wheel()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.CloseListeners()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := l.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := m.Stop(ctx); err != nil {
			t.Error(err)
		}
		for end := time.Now().Add(patience); a.connections.Load() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections are left", a.connections.Load())
			}
		}
	})
	return l, a
}

// TestPanicInARequest: the request is answered with 500 and nothing of what the
// handler had written, and the connection serves the next one.
func TestPanicInARequest(t *testing.T) {
	for name, blocking := range map[string]int{"poller": 0, "blocking": 1} {
		t.Run(name, func(t *testing.T) {
			l, _ := serve(t, blocking, func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "half an ans")
				if r.URL.Path == "/panic" {
					panic("injected")
				}
			})
			client := http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: patience}
			defer client.CloseIdleConnections()
			for path, want := range map[string]int{"/panic": 500, "/": 200} {
				res, err := client.Get("http://" + l.Addr() + path)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != want || strings.Contains(string(body), "half") != (want == 200) || strings.Contains(string(body), `"unavailable"`) != (want == 500) {
					t.Errorf("%s: %d %s %v", path, res.StatusCode, body, err)
				}
			}
			if n := l.panics.Count(); n != 1 {
				t.Errorf("%d panics counted", n)
			}
		})
	}
}
