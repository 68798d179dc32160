package server

import (
	"bytes"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/zerolog"
)

// startAdmin serves metrics, health and profiles on a listener of their own,
// through the standard library: it must answer when the event loop does not.
func (s *Server) startAdmin() error {
	ln, err := net.Listen("tcp", s.opts.AdminListen)
	if err != nil {
		return err
	}
	s.adminAddr = ln.Addr().String()
	s.admin = &http.Server{
		Handler:           s.adminHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          stdLogger(s.log),
	}
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		_ = s.admin.Serve(ln)
	}()
	return nil
}

func (s *Server) stopAdmin() {
	_ = s.admin.Close()
	s.serving.Wait()
}

func (s *Server) adminHandler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(s), newAccessCollector(s))
	if s.opts.Bus != nil {
		registry.MustRegister(newBusCollector(s.opts.Node, s.opts.Bus))
	}

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	// Alive: the process answers.
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "version": s.opts.Version})
	})
	mux.HandleFunc("GET /readyz", s.writeReady)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return s.guardAdmin(mux)
}

// stdLogger sends what a standard server logs to the gateway's log as detail:
// it is about single connections that failed.
func stdLogger(l zerolog.Logger) *log.Logger { return log.New(debugWriter{l}, "", 0) }

// debugWriter logs each line at debug level.
type debugWriter struct{ log zerolog.Logger }

// Write logs one line.
func (w debugWriter) Write(line []byte) (int, error) {
	w.log.Debug().Msg(string(bytes.TrimSpace(line)))
	return len(line), nil
}
