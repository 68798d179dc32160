package httpapi

import (
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/router/federation"
)

// AdminOptions configures an Admin. All are required.
type AdminOptions struct {
	// Listen is the address, host:port (--admin-listen).
	Listen string
	// Version is what /healthz says.
	Version string
	// Metrics serves /metrics.
	Metrics   http.Handler
	Bus       federation.Bus
	Admission *admission.Admission
	ErrorLog  *log.Logger
}

// Admin serves metrics, health and profiles on a listener of its own, through
// the standard library: it must answer when the event loop does not.
//
// Goroutines: one for the listener, one for each connection, from StartAdmin to
// Close.
type Admin struct {
	// Static.
	opts   AdminOptions
	server *http.Server
	addr   string

	serving sync.WaitGroup
}

// StartAdmin opens the admin listener.
func StartAdmin(opts AdminOptions) (*Admin, error) {
	ln, err := net.Listen("tcp", opts.Listen)
	if err != nil {
		return nil, err
	}
	a := &Admin{opts: opts, addr: ln.Addr().String()}
	a.server = &http.Server{
		Handler:           a.restrict(a.handler()),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          opts.ErrorLog,
	}
	a.serving.Go(func() { _ = a.server.Serve(ln) })
	return a, nil
}

// Addr returns the address, with the port that was picked.
func (a *Admin) Addr() string { return a.addr }

// Close closes the listener and its connections.
func (a *Admin) Close() {
	_ = a.server.Close()
	a.serving.Wait()
}

func (a *Admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.opts.Metrics)
	// Alive: the process answers.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		httpresponse.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": a.opts.Version})
	})
	mux.HandleFunc("GET /readyz", a.writeReady)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// writeReady answers /readyz: new connections are welcome here.
func (a *Admin) writeReady(w http.ResponseWriter, _ *http.Request) {
	switch {
	case a.opts.Admission.Draining():
		httpresponse.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
	case !a.opts.Bus.Up():
		httpresponse.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{
			"status": "isolated", "reason": "the other nodes cannot be reached through Redis; what is connected here goes on",
		})
	default:
		httpresponse.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
	}
}
