// Package server assembles the gateway and shuts it down. What the parts do is
// in the packages below: the event loop, admission, the HTTP API and the metrics
// in internal/, sessions and routing in session and router.
package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/describe"
	"github.com/labgate/labgate/internal/eventlog"
	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/internal/httpapi"
	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/router/federation"
	"github.com/labgate/labgate/session"
)

// Server is one gateway.
//
// It has no goroutine of its own. Those of its parts run from Start to Shutdown.
type Server struct {
	// Static after Start.
	opts      Options
	bus       federation.Bus
	panics    *panics.Recoverer
	admission *admission.Admission
	loop      *eventloop.Loop
	// described has the files of descriptions; nil without --descriptions.
	described *describe.Dir
	router    *router.Router
	manager   *session.Manager
	api       *httpapi.API
	admin     *httpapi.Admin
	// Where the listeners are, after Start.
	addr, adminAddr string

	started, running, stopping atomic.Bool

	// Set by tests before Start.
	tuneSessions  func(*session.Options)
	wrapCallbacks func(session.Callbacks) session.Callbacks
	sawTransport  func(session.Transport)
	sawHandshake  func(*http.Request)
}

// New checks the options and prepares a server; nothing listens yet.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	capacity, err := eventloop.RaiseCapacity()
	if err != nil {
		return nil, fmt.Errorf("file descriptor limit: %w", err)
	}
	opts.boundConnections(capacity)
	opts.Events = events.Join(eventlog.New(opts.Logger), opts.Events)
	s := &Server{opts: opts, bus: opts.Bus, panics: panics.NewRecoverer(opts.Logger)}
	if s.bus == nil {
		s.bus = federation.Alone{}
	}
	if s.admission, err = admission.New(opts.admission()); err != nil {
		return nil, err
	}
	if err := opts.checkExposure(s.admission.ExposedRoles()); err != nil {
		return nil, err
	}
	if s.loop, err = eventloop.New(s.loopOptions(capacity)); err != nil {
		return nil, err
	}
	if opts.Descriptions != "" {
		if s.described, err = describe.OpenDir(opts.Descriptions); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// SetEngineLogger sends the log of the event loop, which is one for the whole
// process, to a logger. Call it before the first Server is made.
func SetEngineLogger(log zerolog.Logger) { eventloop.SetLogger(log) }

// Start opens both listeners and serves. On an error nothing is left running.
func (s *Server) Start() (err error) {
	if s.started.Swap(true) {
		return errors.New("server: started already")
	}
	s.router = router.New(s.routerOptions())
	if s.manager, err = session.NewManager(s.sessionOptions()); err != nil {
		return err
	}
	s.router.Bind(s.manager)
	s.admission.Bind(s.manager, s.router)
	s.api = httpapi.New(s.apiOptions())
	if err := s.router.Join(); err != nil {
		_ = s.manager.Stop(context.Background())
		return err
	}
	if err := s.startListeners(); err != nil {
		s.router.Leave()
		_ = s.manager.Stop(context.Background())
		return err
	}
	s.admission.Watch()
	s.watchDescriptions()
	s.running.Store(true)
	return nil
}

// startListeners opens both listeners and serves them; on an error nothing of
// them is left.
func (s *Server) startListeners() (err error) {
	if err := s.loop.Listen(); err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if s.admin, err = httpapi.StartAdmin(s.adminOptions()); err != nil {
		s.loop.CloseListeners()
		return fmt.Errorf("--admin-listen: %w", err)
	}
	s.addr, s.adminAddr = s.loop.Addr(), s.admin.Addr()
	if err := s.loop.Start(s.manager.Wheel()); err != nil {
		s.admin.Close()
		return fmt.Errorf("event loop: %w", err)
	}
	return nil
}

// Addr returns the public address, with the port that was picked.
func (s *Server) Addr() string { return s.addr }

// AdminAddr returns the admin listener's address.
func (s *Server) AdminAddr() string { return s.adminAddr }

// Manager returns the sessions.
func (s *Server) Manager() *session.Manager { return s.manager }

// Pollers returns the number of event loops.
func (s *Server) Pollers() int { return s.opts.Pollers }

// Router returns the router.
func (s *Server) Router() *router.Router { return s.router }
