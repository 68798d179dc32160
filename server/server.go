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

	"github.com/labgate/labgate/router"
	"github.com/labgate/labgate/session"
)

// descriptorReserve are the descriptors kept for anything but sessions:
// listeners, pollers, files, and the second descriptor that a connection has
// for a moment when it is handed to a poller.
const descriptorReserve = 128

// Server is one gateway.
//
// Goroutines: nbio's listeners and pollers; the Manager's; one for each waiting
// request of the HTTP API; one for the admin listener and one for each of its
// connections; with blocking TLS one for the listener and one for each
// connection. All end with Shutdown.
type Server struct {
	// Static after Start.
	opts           Options
	log            zerolog.Logger
	manager        *session.Manager
	router         *router.Router
	engine         *nbhttp.Engine
	upgrader       *websocket.Upgrader
	handler        http.Handler
	admin          *http.Server
	tlsServer      *http.Server
	stdTLS         *stdtls.Config
	llibTLS        *tls.Config
	deviceTokens   tokens
	frontendTokens tokens
	addr           string
	adminAddr      string
	waiting        chan struct{} // a place for each request that may wait

	stats    stats
	draining atomic.Bool
	started  atomic.Bool
	// readers waits for the reading goroutines of blocking TLS, serving for
	// the listeners' goroutines of the standard servers.
	readers sync.WaitGroup
	serving sync.WaitGroup

	// mu guards the rest; a leaf.
	mu         sync.Mutex
	gates      []*gate
	lastWarned time.Time

	// Set by tests before Start.
	tuneSessions func(*session.Options)
	sawTransport func(session.Transport)
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
	if most := limit - descriptorReserve; opts.MaxConnections == 0 || opts.MaxConnections > most {
		if opts.MaxConnections > most {
			opts.Logger.Warn().Int("wanted", opts.MaxConnections).Int("possible", most).Msg("--max-connections is more than the file descriptors allow; raise the limit with ulimit -n or LimitNOFILE")
		}
		opts.MaxConnections = max(most, 1)
	}
	s := &Server{opts: opts, log: opts.Logger, waiting: make(chan struct{}, maxWaiting)}
	if s.deviceTokens, err = loadTokens(opts.DeviceTokenFile); err != nil {
		return nil, fmt.Errorf("--device-token-file: %w", err)
	}
	if s.frontendTokens, err = loadTokens(opts.FrontendTokenFile); err != nil {
		return nil, fmt.Errorf("--frontend-token-file: %w", err)
	}
	if err := s.loadTLS(); err != nil {
		return nil, err
	}
	return s, nil
}

// Start opens both listeners and serves. On an error nothing is left running.
func (s *Server) Start() (err error) {
	if s.started.Swap(true) {
		return errors.New("server: started already")
	}
	s.router = router.New(router.Options{Node: s.opts.Node, MaxMessage: s.opts.MaxMessage, MaxPending: s.opts.MaxPending})
	mo := session.Options{
		HeartbeatInterval: s.opts.HeartbeatInterval, HeartbeatTimeout: s.opts.HeartbeatTimeout, IdleTimeout: s.opts.IdleTimeout,
		FlushInterval: s.opts.FlushInterval, Flushers: s.opts.Flushers,
		ControlBytes: s.opts.ControlBytes, TelemetryBytes: s.opts.TelemetryBytes, InflightBytes: s.opts.InflightBytes,
		Overflow: s.opts.Overflow, RefuseDuplicate: s.opts.RefuseDuplicate,
		MessagesPerSecond: s.opts.MessagesPerSecond, MessageBurst: s.opts.MessageBurst,
		Logger: s.log,
	}
	s.router.Callbacks(&mo)
	if s.tuneSessions != nil {
		s.tuneSessions(&mo)
	}
	if s.manager, err = session.NewManager(mo); err != nil {
		return err
	}
	s.router.Bind(s.manager)
	s.handler = s.publicHandler()

	if err := s.startAdmin(); err != nil {
		_ = s.manager.Stop(context.Background())
		return fmt.Errorf("--admin-listen: %w", err)
	}
	s.engine = s.newEngine()
	s.upgrader = newUpgrader(s.engine)
	s.engine.OnOpen(func(net.Conn) { s.stats.connections.Add(1) })
	s.engine.OnClose(func(net.Conn, error) { s.stats.connections.Add(-1) })
	if err = s.engine.Start(); err == nil && s.stdTLS != nil {
		if err = s.startTLS(); err != nil {
			s.engine.Stop()
		}
	}
	if err != nil {
		_ = s.admin.Close()
		s.serving.Wait()
		_ = s.manager.Stop(context.Background())
		return fmt.Errorf("--listen: %w", err)
	}
	s.mu.Lock()
	s.addr = s.gates[0].Addr().String()
	s.mu.Unlock()
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

// Shutdown drains the gateway: it stops accepting, tells every session
// gateway.closing and then 1001 behind what is queued, waits for them to leave
// until ctx ends, and ends everything. It returns ctx's error when somebody
// had to be cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.draining.Swap(true) {
		return nil
	}
	s.mu.Lock()
	gates := s.gates
	s.mu.Unlock()
	for _, g := range gates {
		g.stopAccepting()
	}
	s.router.AnnounceClosing(s.opts.RetryAfter)
	err := s.manager.Stop(ctx)

	// What is left are requests and half-open handshakes.
	cut, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if s.tlsServer != nil {
		_ = s.tlsServer.Close()
	}
	for _, g := range gates {
		_ = g.Close()
	}
	if e := s.engine.Shutdown(cut); e != nil && err == nil {
		err = e
	}
	s.readers.Wait()
	_ = s.admin.Close()
	s.serving.Wait()
	return err
}

// startTLS serves through the standard library, whose connections become
// sessions with goroutines of their own.
func (s *Server) startTLS() error {
	s.tlsServer = &http.Server{
		Handler:           s.handler,
		TLSConfig:         s.stdTLS,
		ReadHeaderTimeout: s.opts.HandshakeTimeout,
		IdleTimeout:       s.opts.HandshakeTimeout,
		MaxHeaderBytes:    maxHTTPHeader,
		ErrorLog:          stdLogger(s.log),
		// HTTP/2 has no Upgrade; an empty map switches it off.
		TLSNextProto: map[string]func(*http.Server, *stdtls.Conn, http.Handler){},
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.stats.connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.stats.connections.Add(-1)
			}
		},
	}
	for range s.opts.Listeners {
		addr := s.opts.Listen
		if len(s.gates) > 0 {
			addr = s.gates[0].Addr().String()
		}
		ln, err := s.listen("tcp", addr)
		if err != nil {
			_ = s.tlsServer.Close()
			s.closeGates()
			s.serving.Wait()
			return err
		}
		s.serving.Add(1)
		go func() {
			defer s.serving.Done()
			_ = s.tlsServer.ServeTLS(ln, "", "")
		}()
	}
	return nil
}

func (s *Server) closeGates() {
	for _, g := range s.gates {
		_ = g.Close()
	}
}

// track counts a connection that the standard server has given away.
func (s *Server) track(net.Conn) { s.stats.connections.Add(1) }

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
