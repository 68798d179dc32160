// Package server puts sessions on the network: nbio's event loop and the
// blocking modes, TLS, the handshake, the HTTP API and the admin listener.
package server

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/session"
)

// descriptorReserve are the descriptors kept for anything but sessions and the
// connections that are turned away: listeners, pollers, files, and the second
// descriptor that a connection has for a moment when it is handed to a poller.
const descriptorReserve = 64

// Server is one gateway.
//
// Goroutines: one for each listener; nbio's pollers; the Manager's; one that
// watches the files of credentials and one for the certificate's; one for
// each request of the HTTP API on a poller; one for each blocking connection,
// and one for each connection of blocking TLS; one for the admin listener and
// one for each of its connections. All end with Shutdown.
type Server struct {
	// Static after Start.
	opts        Options
	log         zerolog.Logger
	manager     *session.Manager
	router      *router.Router
	engine      *nbhttp.Engine
	turns       turns
	closing     pacer // of pollerClosed
	upgrader    *websocket.Upgrader
	handler     http.Handler
	admin       *http.Server
	tlsServer   *http.Server
	stdTLS      *stdtls.Config
	llibTLS     *tls.Config
	certificate *tlsCertificate
	access      *access.Authenticator
	addr        string
	adminAddr   string
	waiting     chan struct{} // a place for each request that may wait

	gates []*gate

	guard *guard
	// maxTurning bounds turningAway.
	maxTurning int64
	stats      stats
	started    atomic.Bool
	running    atomic.Bool
	draining   atomic.Bool
	// requests counts those that are being handled, handshakes among them;
	// blockingOnline the blocking connections of the mixed mode; turningAway
	// the refused connections that are reading their answer.
	requests       atomic.Int64
	blockingOnline atomic.Int64
	turningAway    atomic.Int64
	// accepting waits for the listeners' goroutines, readers for those of
	// blocking connections, serving for the admin listener's.
	accepting sync.WaitGroup
	readers   sync.WaitGroup
	serving   sync.WaitGroup
	watcher   watcher

	// mu guards the rest; a leaf.
	mu         sync.Mutex
	blocking   map[net.Conn]struct{}
	lastWarned time.Time

	// Set by tests before Start.
	tuneSessions  func(*session.Options)
	wrapCallbacks func(session.Callbacks) session.Callbacks
	sawTransport  func(session.Transport)
	sawHandshake  func(*http.Request)
}

// maxWaiting bounds the requests of the HTTP API that wait for an answer.
const maxWaiting = 256

// New checks the options and prepares a server; nothing listens yet.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	limit, err := raiseDescriptorLimit()
	if err != nil {
		return nil, fmt.Errorf("file descriptor limit: %w", err)
	}
	turningAway := min(max(limit/32, 64), maxTurningAway)
	if most := limit - descriptorReserve - turningAway; opts.MaxConnections == 0 || opts.MaxConnections > most {
		if opts.MaxConnections > most {
			opts.Logger.Warn().Int("wanted", opts.MaxConnections).Int("possible", most).Msg("--max-connections is more than the file descriptors allow; raise the limit with ulimit -n or LimitNOFILE")
		}
		opts.MaxConnections = max(most, 1)
	}
	s := &Server{opts: opts, log: opts.Logger, waiting: make(chan struct{}, maxWaiting), maxTurning: int64(turningAway), blocking: make(map[net.Conn]struct{})}
	if s.guard, err = newGuard(&opts); err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	if s.access, err = newAccess(&opts.AccessOptions); err != nil {
		return nil, err
	}
	if err := opts.checkExposure(s.access); err != nil {
		return nil, err
	}
	if err := s.loadTLS(); err != nil {
		return nil, err
	}
	return s, nil
}

// Start opens both listeners and serves. On an error nothing is left running.
func (s *Server) Start() error {
	if s.started.Swap(true) {
		return errors.New("server: started already")
	}
	s.router = router.New(router.Options{
		Node: s.opts.Node, MaxMessage: s.opts.MaxMessage, MaxPending: s.opts.MaxPending, Renew: s.renew,
		Bus: s.opts.Bus, Answer: s.answerNode,
	})
	mo := session.Options{
		LivenessOptions: s.opts.LivenessOptions, QueueOptions: s.opts.QueueOptions,
		Logger: s.log,
	}
	mo.DeviceRate, mo.FrontendRate = s.opts.Rates()
	if s.opts.Bus != nil {
		mo.Node = uint32(s.opts.Bus.Self())
	}
	mo.Callbacks = s.callbacks()
	if s.opts.DebugEcho {
		// What one read may add to echoAhead, or one message.
		mo.EchoBytes = echoAhead + 2*s.opts.maxEcho
	}
	if s.tuneSessions != nil {
		s.tuneSessions(&mo)
	}
	manager, err := session.NewManager(mo)
	if err != nil {
		return err
	}
	s.manager = manager
	s.router.Bind(s.manager)
	if err := s.joinBus(); err != nil {
		_ = s.manager.Stop(context.Background())
		return err
	}
	if err := s.startNetwork(); err != nil {
		s.leaveBus()
		_ = s.manager.Stop(context.Background())
		return err
	}
	s.watchFiles()
	s.running.Store(true)
	return nil
}

// callbacks returns who is told of sessions, one behind the other: the last in
// this list is the first to be told.
func (s *Server) callbacks() session.Callbacks {
	var c session.Callbacks = s.router
	if s.opts.DebugEcho {
		c = echoCallbacks{c}
	}
	c = leaseCallbacks{c, s}
	if s.wrapCallbacks != nil {
		c = s.wrapCallbacks(c)
	}
	return guardCallbacks{c, s}
}

// startNetwork opens the listeners and has everybody in; on an error nothing of
// it is left.
func (s *Server) startNetwork() error {
	s.handler = s.publicHandler()
	gates, err := s.listenAll()
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if err := s.startAdmin(); err != nil {
		closeAll(gates)
		return fmt.Errorf("--admin-listen: %w", err)
	}
	if err := s.startEngine(); err != nil {
		closeAll(gates)
		s.stopAdmin()
		return fmt.Errorf("event loop: %w", err)
	}
	s.gates, s.addr = gates, gates[0].Addr().String()
	if s.stdTLS != nil {
		s.tlsServer = s.newTLSServer()
	}
	for _, g := range gates {
		s.accepting.Add(1)
		if s.tlsServer == nil {
			go s.accept(g)
			continue
		}
		go func() {
			defer s.accepting.Done()
			// One configuration for all listeners: its session tickets are good at
			// each of them.
			_ = s.tlsServer.Serve(stdtls.NewListener(g, s.stdTLS))
		}()
	}
	return nil
}

// startEngine starts the pollers; on an error nothing of them is left.
func (s *Server) startEngine() (err error) {
	if s.turns, err = newTurns(s.opts.Pollers); err != nil {
		return err
	}
	s.closing.turns = s.turns
	s.engine = s.newEngine()
	s.upgrader = newUpgrader(s.engine)
	if err = s.engine.Start(); err != nil {
		s.turns.close()
		return err
	}
	if err = s.turns.start(s.engine.Engine); err != nil {
		_ = s.engine.Engine.Shutdown(context.Background())
		s.turns.close()
	}
	return err
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

// newTLSServer serves through the standard library, whose connections become
// sessions with goroutines of their own.
func (s *Server) newTLSServer() *http.Server {
	return &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.opts.HandshakeTimeout,
		IdleTimeout:       s.opts.HandshakeTimeout,
		MaxHeaderBytes:    maxHTTPHeader,
		ErrorLog:          stdLogger(s.log),
		// HTTP/2 has no Upgrade; an empty map switches it off.
		TLSNextProto: map[string]func(*http.Server, *stdtls.Conn, http.Handler){},
		// A hijacked connection is counted until its readLoop has ended.
		ConnState: func(conn net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				s.connectionEnded(conn.RemoteAddr())
			}
		},
	}
}

// warnAccept logs that connections cannot be accepted, at most every ten
// seconds.
func (s *Server) warnAccept(err error) {
	s.mu.Lock()
	quiet := time.Since(s.lastWarned) < 10*time.Second
	if !quiet {
		s.lastWarned = time.Now()
	}
	s.mu.Unlock()
	if !quiet {
		s.log.Warn().Err(err).Msg("cannot accept connections; raise the limit of open files (ulimit -n, LimitNOFILE)")
	}
}
