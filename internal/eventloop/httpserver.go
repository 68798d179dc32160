package eventloop

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// givenConnections bounds the connections that wait for net/http's server to
// take them. The server takes each at once: only a scheduler that is late lets
// them wait.
const givenConnections = 1024

// connKey is the key of a request's serverConn in its context.
type connKey struct{}

// newHTTPServer returns the one server of everything that is no session. It
// reads all requests but the handshakes that a poller accepts.
func (l *Loop) newHTTPServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // HTTP/2 has no Upgrade
	return &http.Server{
		Handler:           http.HandlerFunc(l.serveRequest),
		ReadHeaderTimeout: l.opts.HandshakeTimeout,
		IdleTimeout:       l.opts.HandshakeTimeout,
		// The server adds 4 KiB.
		MaxHeaderBytes: maxHTTPHeader - 4<<10,
		ErrorLog:       l.opts.ErrorLog,
		Protocols:      &protocols,
		// Every request is answered by serveRequest.
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		ConnState: func(conn net.Conn, state http.ConnState) {
			switch c := conn.(*serverConn); state {
			case http.StateIdle:
				c.serving.Store(false)
				c.answering.Store(false)
			case http.StateClosed:
				l.connectionEnded(c)
			}
		},
	}
}

// givenListener hands the server the connections that the loop has for it.
type givenListener struct{ loop *Loop }

// Accept implements net.Listener.
func (ln givenListener) Accept() (net.Conn, error) {
	select {
	case <-ln.loop.quit:
		return nil, net.ErrClosed
	case c := <-ln.loop.given:
		return c, nil
	}
}

// Close implements net.Listener; Stop ends Accept.
func (ln givenListener) Close() error { return nil }

// Addr implements net.Listener.
func (ln givenListener) Addr() net.Addr { return ln.loop.listeners[0].Addr() }

// newServerConn returns a connection for the server. connectionEnded or
// connectionLeft ends it for the loop.
func (l *Loop) newServerConn(socket net.Conn, remote net.Addr) *serverConn {
	c := &serverConn{Conn: socket, loop: l, socket: socket, remote: remote}
	l.readers.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serverConns[c] = struct{}{}
	return c
}

// give gives a connection to the server.
func (l *Loop) give(c *serverConn) {
	select {
	case l.given <- c:
	case <-l.quit:
		_ = c.Close()
		l.connectionEnded(c)
	}
}

// connectionEnded books the end of a connection that the server had.
func (l *Loop) connectionEnded(c *serverConn) {
	l.admission.ConnectionEnded(c.remote)
	l.connectionLeft(c)
}

// connectionLeft forgets a connection that goes on, on a poller, or has ended.
func (l *Loop) connectionLeft(c *serverConn) {
	if c.blocking {
		l.blocking.Add(-1)
	}
	l.mu.Lock()
	delete(l.serverConns, c)
	l.mu.Unlock()
	l.readers.Done()
}

// closeServerConns closes all connections that the server has or is about to
// have; the server takes no others.
func (l *Loop) closeServerConns() {
	for {
		select {
		case c := <-l.given:
			_ = c.Close()
			l.connectionEnded(c)
			continue
		default:
		}
		break
	}
	l.mu.Lock()
	all := make([]*serverConn, 0, len(l.serverConns))
	for c := range l.serverConns {
		all = append(all, c)
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// serveRequest serves every request that the server has read, on the goroutine
// of the connection.
func (l *Loop) serveRequest(w http.ResponseWriter, r *http.Request) {
	l.requests.Add(1)
	defer l.requests.Add(-1)
	c := r.Context().Value(connKey{}).(*serverConn)
	c.answering.Store(true)
	if c.std != nil {
		state := c.std.ConnectionState()
		r.TLS = &state
	}
	if refusal := c.refusal; refusal != nil {
		c.refusal = nil
		c.respond(w, r, refusal, true)
		return
	}
	if strings.HasPrefix(r.URL.Path, WebSocketPath) {
		c.serveHandshake(w, r)
	} else {
		c.serveHTTP(w, r)
	}
}

// serveHTTP serves a request that is not for a WebSocket. The response is
// buffered, so that a panic can still be answered. When the handler has not read
// the body nobody else does: the connection ends behind the answer.
func (c *serverConn) serveHTTP(w http.ResponseWriter, r *http.Request) {
	l := c.loop
	c.serving.Store(true)
	body := &requestBody{ReadCloser: r.Body, control: http.NewResponseController(w), timeout: l.opts.HandshakeTimeout, whole: r.ContentLength == 0}
	request := r.WithContext(r.Context())
	request.Body = body
	var response httpresponse.Buffer
	if !l.panics.Run(nil, func() { l.handler.ServeHTTP(&response, request) }) {
		response = httpresponse.Buffer{}
		httpresponse.WriteError(&response, http.StatusInternalServerError, protocol.ErrUnavailable, "internal error; the gateway's log says more")
	}
	if body.begun && !body.whole && c.overrun {
		response = *excessRefusal() // the rest of the body was dropped
	}
	// A request with both a length and chunks must end its connection (RFC 9112
	// section 6.1). net/http does not say which requests had both.
	chunked := len(r.TransferEncoding) > 0
	c.respond(w, r, &response, chunked || !body.whole)
}

// respond sends a whole response. last says that the connection ends behind it.
func (c *serverConn) respond(w http.ResponseWriter, r *http.Request, response *httpresponse.Buffer, last bool) {
	control := http.NewResponseController(w)
	if last {
		// The server would read what is left of a body.
		_ = control.SetReadDeadline(time.Unix(1, 0))
	}
	if last || r.Close {
		c.linger.Store(true)
	}
	response.CopyTo(w, r.Method != http.MethodHead, last)
	// The request counts until its answer is sent.
	_ = control.Flush()
}

// serveHandshake makes a session of a request for a WebSocket, or sends the
// refusal.
func (c *serverConn) serveHandshake(w http.ResponseWriter, r *http.Request) {
	l := c.loop
	if c.overrun {
		// A session would miss what was dropped.
		c.respond(w, r, excessRefusal(), true)
		return
	}
	var refusal httpresponse.Buffer
	var up *Upgrade
	if !l.panics.Run(nil, func() { up = l.handler.Handshake(&refusal, r) }) {
		panic(http.ErrAbortHandler) // ends the connection
	}
	if up == nil {
		c.respond(w, r, &refusal, true)
		return
	}
	c.upgrade(w, r, up)
}

// requestBody reads a body within the time that a request has.
type requestBody struct {
	io.ReadCloser
	control *http.ResponseController
	timeout time.Duration
	// begun says that the body is being read, whole that all of it was.
	begun, whole bool
}

// Read implements io.Reader. The deadline must be gone before the request waits
// for anything: the server takes its passing for the end of the connection.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.whole {
		return 0, io.EOF
	}
	if !b.begun {
		b.begun = true
		_ = b.control.SetReadDeadline(time.Now().Add(b.timeout))
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.whole = true
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
