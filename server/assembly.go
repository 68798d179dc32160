package server

import (
	"bytes"
	"log"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/httpapi"
	"github.com/labgate/labgate/internal/metrics"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/session"
)

// Here the server's options become those of its parts, one function for each.

func (o *Options) admission() admission.Options {
	return admission.Options{
		LimitOptions: o.LimitOptions, CredentialOptions: o.CredentialOptions,
		Listen: o.Listen, TLS: o.TLSCert != "", RetryAfter: o.RetryAfter, Echo: o.DebugEcho, Logger: o.Logger, Events: o.Events,
	}
}

func (s *Server) loopOptions(capacity eventloop.Capacity) eventloop.Options {
	o := &s.opts
	return eventloop.Options{
		LoopOptions: o.LoopOptions, TLSOptions: o.TLSOptions,
		Listen: o.Listen, Authorities: s.admission.Authorities(), CertificateInterval: o.certificateInterval,
		MaxQueued: o.InflightBytes + o.ControlBytes + o.TelemetryBytes + max(o.MaxMessage, o.maxEcho), MaxUnsent: o.InflightBytes / 2,
		MaxRefusing: capacity.Refusing, HandshakeTimeout: o.HandshakeTimeout, WriteTimeout: o.WriteTimeout,
		Admission: connections{s}, Handler: connections{s}, Panics: s.panics, Logger: o.Logger, Events: o.Events, ErrorLog: debugLog(o.Logger),
	}
}

func (s *Server) routerOptions() router.Options {
	o := &s.opts
	ro := router.Options{
		Node: o.Node, MaxMessage: o.MaxMessage, MaxPending: o.MaxPending, DeviceMetrics: o.DeviceMetrics, Bus: o.Bus, Events: o.Events,
		Renew:  s.admission.Renew,
		Answer: func(what, arg string) ([]byte, bool) { return s.api.AnswerNode(what, arg) },
	}
	if s.described != nil {
		ro.Described = s.described.Find
	}
	return ro
}

func (s *Server) sessionOptions() session.Options {
	o := &s.opts
	so := session.Options{
		LivenessOptions: o.LivenessOptions, QueueOptions: o.QueueOptions,
		Node: uint32(s.bus.Self()), Callbacks: s.callbacks(), Logger: o.Logger,
	}
	so.DeviceRate, so.FrontendRate = o.Rates()
	if o.DebugEcho {
		so.EchoBytes = o.echoBytes()
	}
	if s.tuneSessions != nil {
		s.tuneSessions(&so)
	}
	return so
}

func (s *Server) apiOptions() httpapi.Options {
	return httpapi.Options{
		Node: s.opts.Node, MaxMessage: s.opts.MaxMessage,
		Sessions: s.manager, Router: s.router, Bus: s.bus, Admission: s.admission, Logger: s.opts.Logger,
	}
}

func (s *Server) adminOptions() httpapi.AdminOptions {
	return httpapi.AdminOptions{
		Listen: s.opts.AdminListen, Version: s.opts.Version, Bus: s.bus, Admission: s.admission, ErrorLog: debugLog(s.opts.Logger),
		Metrics: metrics.Handler(metrics.Sources{
			Node: s.opts.Node, Version: s.opts.Version, Roles: s.admission.Roles(),
			Sessions: s.manager, Router: s.router.Stats(), Admission: s.admission.Counters(), Loop: s.loop.Counters(), Panics: s.panics, Bus: s.bus,
			CertificateExpiry: s.loop.CertificateExpiry, Devices: s.router.DeviceMetrics,
		}),
	}
}

// debugLog sends what net/http's servers log to the gateway's log as detail: it
// is about single connections that failed.
func debugLog(l zerolog.Logger) *log.Logger { return log.New(debugWriter{l}, "", 0) }

// debugWriter logs each line at debug level.
type debugWriter struct{ log zerolog.Logger }

// Write logs one line.
func (w debugWriter) Write(line []byte) (int, error) {
	w.log.Debug().Msg(string(bytes.TrimSpace(line)))
	return len(line), nil
}
