// Package eventloop puts sessions on the network. It alone knows nbio: listeners
// and pollers, the blocking modes, TLS, how a request is read and becomes a
// WebSocket, and how the time of a poller is shared.
//
// # Transports
//
// Each kind of connection is one file. On a poller a kind implements pollerConn,
// through which nbio's events reach the connection: httpConn reads the first
// request, pollerTransport is a session, probe tells the loop iterations apart.
// A blocking kind has a goroutine: serverConn is a connection of net/http's
// server, blockingTransport a session. Kinds are made where a connection comes
// (Loop.add) and where a request becomes a session (attachPoller,
// attachBlocking): a new transport is a file with its type, made at one of the
// two.
//
// # HTTP
//
// Every request is read by net/http's parser. On a poller httpConn collects the
// head of a connection's first request: a handshake becomes a session there, all
// else leaves the poller (handOver) for the one http.Server, which serves the
// blocking connections from their beginning.
package eventloop

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/panics"
	"github.com/labgate/labgate/session"
)

// Loop serves the public listener.
//
// Goroutines: one for each listener; nbio's pollers; one of net/http's server,
// and one or two for each of its connections; one for each blocking session; one
// for each refused connection; one that watches the certificate. All end with
// Stop.
type Loop struct {
	// Static after Start.
	opts        Options
	log         zerolog.Logger
	admission   Admission
	handler     Handler
	panics      *panics.Recoverer
	listeners   []*limitedListener
	engine      *nbhttp.Engine
	iterations  iterations
	clearing    yielder // of pollerClosed
	upgrader    *websocket.Upgrader
	wheel       *session.Wheel
	server      *http.Server
	stdTLS      *stdtls.Config
	llibTLS     *tls.Config
	certificate *certificate

	counters Counters
	draining atomic.Bool
	// requests counts those that are being handled, handshakes among them;
	// blocking the connections that have goroutines of their own; refusing the
	// refused connections that are reading their answer.
	requests atomic.Int64
	blocking atomic.Int64
	refusing atomic.Int64
	// given are the connections for the server; stopping says that none is given
	// time any more.
	given    chan *serverConn
	stopping atomic.Bool
	// accepting waits for the goroutines of the listeners and the server, readers
	// for those of the server's connections, blocking sessions and refused
	// connections, watching for the certificate's.
	accepting sync.WaitGroup
	readers   sync.WaitGroup
	watching  sync.WaitGroup
	quit      chan struct{} // ends the server and watching

	// mu guards the rest; a leaf. serverConns are those that the server has, and
	// the blocking sessions that were made of them.
	mu          sync.Mutex
	serverConns map[*serverConn]struct{}
	lastWarned  time.Time
}

// Counters count what happens below requests and sessions. They may be read on
// any goroutine.
type Counters struct {
	// AcceptErrors are connections that could not be accepted.
	AcceptErrors atomic.Uint64
	// CertificateReloads and CertificateReloadFailures count changed TLS
	// certificates that took effect, and those that cannot be used.
	CertificateReloads, CertificateReloadFailures atomic.Uint64
}

// New reads the TLS certificate; nothing listens yet.
func New(opts Options) (*Loop, error) {
	l := &Loop{
		opts: opts, log: opts.Logger, admission: opts.Admission, handler: opts.Handler, panics: opts.Panics,
		given: make(chan *serverConn, givenConnections), serverConns: make(map[*serverConn]struct{}), quit: make(chan struct{}),
	}
	if err := l.loadTLS(); err != nil {
		return nil, err
	}
	return l, nil
}

// Listen opens the listeners, or none. Nobody is served before Start.
func (l *Loop) Listen() (err error) {
	l.listeners, err = l.listenAll()
	return err
}

// Start serves the listeners, with deadlines on wheel. On an error nothing is
// left running, and the listeners are closed.
func (l *Loop) Start(wheel *session.Wheel) error {
	l.wheel = wheel
	if err := l.startPollers(); err != nil {
		l.CloseListeners()
		return err
	}
	l.server = l.newHTTPServer()
	l.accepting.Go(func() { _ = l.server.Serve(givenListener{l}) })
	for _, ln := range l.listeners {
		l.accepting.Go(func() { l.accept(ln) })
	}
	if l.certificate != nil {
		l.watching.Go(func() { l.certificate.watch(l.quit) })
	}
	return nil
}

// startPollers starts nbio; on an error nothing of it is left.
func (l *Loop) startPollers() (err error) {
	if l.iterations, err = newIterations(l.opts.Pollers); err != nil {
		return err
	}
	l.clearing.iterations = l.iterations
	l.engine = l.newEngine()
	l.upgrader = newUpgrader(l.engine)
	if err = l.engine.Start(); err != nil {
		l.iterations.close()
		return err
	}
	if err = l.iterations.start(l.engine.Engine); err != nil {
		_ = l.engine.Engine.Shutdown(context.Background())
		l.iterations.close()
	}
	return err
}

// Addr returns the address after Listen, with the port that was picked.
func (l *Loop) Addr() string { return l.listeners[0].Addr().String() }

// Counters returns what was counted.
func (l *Loop) Counters() *Counters { return &l.counters }

// CloseListeners stops accepting. Who is connected stays.
func (l *Loop) CloseListeners() {
	l.draining.Store(true)
	closeAll(l.listeners)
}

// AwaitRequests waits until every request that is being handled was answered,
// or until ctx ends. No new one may be let in meanwhile.
func (l *Loop) AwaitRequests(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for l.requests.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
		}
	}
	return nil
}

// Stop closes every connection and ends all goroutines; the listeners are closed
// already and the sessions ended. It returns ctx's error when the pollers have
// not stopped before ctx ended.
func (l *Loop) Stop(ctx context.Context) error {
	l.stopping.Store(true)
	close(l.quit)
	_ = l.server.Close()
	l.accepting.Wait()
	l.engine.Cancel()
	err := l.engine.Engine.Shutdown(ctx)
	l.iterations.close()
	l.closeServerConns()
	l.readers.Wait()
	l.watching.Wait()
	return err
}

// warnAccept logs that connections cannot be accepted, at most every ten
// seconds.
func (l *Loop) warnAccept(err error) {
	l.mu.Lock()
	quiet := time.Since(l.lastWarned) < 10*time.Second
	if !quiet {
		l.lastWarned = time.Now()
	}
	l.mu.Unlock()
	if !quiet {
		l.log.Warn().Err(err).Msg("cannot accept connections; raise the limit of open files (ulimit -n, LimitNOFILE)")
	}
}

var errDescriptorTable = errors.New("descriptor beyond the table of the event loop")

// probeError says that the connections of the loop itself could not be made.
func probeError(err error) error { return fmt.Errorf("probe of the event loop: %w", err) }
