package eventloop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

const (
	// lingerTime is how long a peer may take to notice its last answer.
	lingerTime = 2 * time.Second
	// writePiece is what a peer must take within WriteTimeout.
	writePiece = 64 << 10
)

// serverConn is a connection in the hands of net/http's server, from its first
// byte, or from its first request when it comes from a poller. It departs from
// what the server would do with the socket in four things: empty lines before
// requests are passed over, the server's answers to what is no request are
// replaced by ours, the last answer is given time to arrive, and the end of a peer
// is noticed behind requests that are pipelined (peerend.go).
//
// net/http reads on one goroutine at a time and writes on the connection's own;
// Close may be called on any.
type serverConn struct {
	// Conn is what is read and written: the socket, or TLS above it.
	net.Conn

	// Static.
	loop   *Loop
	socket net.Conn
	remote net.Addr
	std    *tls.Conn // nil without blocking TLS
	llib   *tlsConn  // nil without nonblocking TLS
	// fromPoller says that a session goes back to a poller; blocking that the
	// connection is counted among those with a goroutine of their own.
	fromPoller, blocking bool

	// Owned by the reading goroutine. early comes before what is read from Conn.
	early   []byte
	heads   headScanner
	secured bool
	cutOff  atomic.Bool // the peer has ended its side, was too slow, or the connection is gone
	// overrun says that bytes behind early were dropped (peerend.go): nothing may be
	// read as a request any more.
	overrun bool

	// Owned by the connection's goroutine. refusal is the answer to the first
	// request, when that is decided; refused says that there was none.
	refusal *httpresponse.Buffer
	refused bool

	// answering says that a request is handled, and serving that the request is not
	// for a WebSocket; linger that Close is to give the last answer time.
	answering, serving, linger atomic.Bool

	// deadline has its own lock.
	deadline readDeadline
}

// RemoteAddr returns the peer's address, also when the peer is gone.
func (c *serverConn) RemoteAddr() net.Addr { return c.remote }

// Read implements net.Conn.
func (c *serverConn) Read(b []byte) (int, error) {
	if !c.secured && c.std != nil {
		if err := c.secure(); err != nil {
			c.cutOff.Store(true)
			return 0, err
		}
	}
	if len(b) == 1 && (c.answering.Load() || c.overrun && len(c.early) == 0) {
		if err := c.watch(b); err != nil {
			return 0, err
		}
	}
	for {
		n, err := c.read(b)
		head, rest := c.heads.take(b[:n])
		if len(rest) > 0 {
			c.early = slices.Concat(rest, c.early)
		}
		n = copy(b, head)
		// While a request is handled net/http itself lets a read end, by a deadline.
		// Between requests it is the head that did not come in time: net/http would
		// judge the line that was begun as if it were whole.
		if err != nil && !(c.answering.Load() && errors.Is(err, os.ErrDeadlineExceeded)) {
			c.cutOff.Store(true)
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

func (c *serverConn) read(b []byte) (int, error) {
	if len(c.early) == 0 {
		if c.overrun {
			return 0, c.refuseExcess()
		}
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil
	}
	return n, nil
}

// secure makes the handshake of TLS, in the time of a handshake; the first
// request has that time again. The error is one that net/http does not answer.
func (c *serverConn) secure() error {
	c.secured = true
	timeout := c.loop.opts.HandshakeTimeout
	_ = c.socket.SetDeadline(time.Now().Add(timeout))
	if err := c.std.HandshakeContext(context.Background()); err != nil {
		c.loop.opts.ErrorLog.Printf("TLS handshake with %v: %v", c.remote, err)
		var header tls.RecordHeaderError
		if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader[:]) {
			var response httpresponse.Buffer
			httpresponse.WriteError(&response, http.StatusBadRequest, protocol.ErrBadMessage, "this address speaks TLS; use https or wss")
			_, _ = c.socket.Write(response.Encode(true, true))
		}
		return io.EOF
	}
	_ = c.socket.SetWriteDeadline(time.Time{})
	_ = c.socket.SetReadDeadline(time.Now().Add(timeout))
	return nil
}

// looksLikeHTTP reports whether what should be a TLS record begins like a
// request.
func looksLikeHTTP(b []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET"} {
		if string(b) == method {
			return true
		}
	}
	return false
}

// Write sends b. The peer may take WriteTimeout for each piece of it. What
// net/http's server writes while no request is handled is its refusal of what it
// could not read.
func (c *serverConn) Write(b []byte) (int, error) {
	if !c.answering.Load() {
		return len(b), c.refuse(b)
	}
	return c.write(b)
}

func (c *serverConn) write(b []byte) (sent int, err error) {
	for err == nil && sent < len(b) {
		if err = c.socket.SetWriteDeadline(time.Now().Add(c.loop.opts.WriteTimeout)); err == nil {
			var n int
			n, err = c.Conn.Write(b[sent:min(len(b), sent+writePiece)])
			sent += n
		}
	}
	return sent, err
}

// refuse sends our answer in place of the server's. What was cut off gets none.
func (c *serverConn) refuse(theirs []byte) error {
	if c.refused || c.cutOff.Load() {
		return nil
	}
	c.refused = true
	line, _, _ := bytes.Cut(theirs, []byte("\r\n"))
	status, code, message := refusalOf(string(line))
	c.loop.admission.RequestRefused(code)
	var response httpresponse.Buffer
	httpresponse.WriteError(&response, status, code, message)
	c.linger.Store(true)
	_, err := c.write(response.Encode(true, true))
	return err
}

// refusalOf translates the status line of a refusal of net/http's server.
func refusalOf(line string) (status int, code protocol.ErrorCode, message string) {
	const version = "HTTP/1.1 "
	if len(line) >= len(version)+3 {
		status, _ = strconv.Atoi(line[len(version) : len(version)+3])
	}
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return status, protocol.ErrTooLarge, "the request line and the header fields together are longer than 16 KiB; send fewer or shorter ones"
	case http.StatusExpectationFailed:
		return status, protocol.ErrBadMessage, "header Expect: only 100-continue is known; leave the field out"
	case http.StatusNotImplemented:
		return status, protocol.ErrBadMessage, "header Transfer-Encoding: only chunked is known; use that, or Content-Length"
	case http.StatusHTTPVersionNotSupported:
		return status, protocol.ErrBadMessage, "the version of HTTP is not known; use HTTP/1.1"
	}
	message = "the request is not HTTP/1.1; see RFC 9112"
	if _, why, ok := bytes.Cut([]byte(line), []byte(": ")); ok {
		message = "the request is not HTTP/1.1: " + string(why) + "; see RFC 9112"
	}
	return http.StatusBadRequest, protocol.ErrBadMessage, message
}

// Close closes the connection. Behind a last answer the peer first gets some
// time to notice that: closing while the peer sends would reset the connection,
// and the answer could be lost (RFC 9112 section 9.6).
func (c *serverConn) Close() error {
	if c.linger.Swap(false) && !c.loop.stopping.Load() {
		c.awaitEnd()
	}
	if c.loop.stopping.Load() {
		// TLS would try for seconds to say good-bye to a peer that has stalled.
		_ = c.socket.Close()
	}
	return c.Conn.Close()
}

// CloseWrite is called by the server where it is going to wait for the peer to
// notice the last answer.
func (c *serverConn) CloseWrite() error {
	if c.linger.Swap(false) {
		c.awaitEnd()
	}
	return nil
}

// awaitEnd ends the sending side and reads until the peer has ended its own.
func (c *serverConn) awaitEnd() {
	type closeWriter interface{ CloseWrite() error }
	_ = c.socket.SetDeadline(time.Now().Add(lingerTime))
	if above, ok := c.Conn.(closeWriter); ok && c.Conn != c.socket {
		_ = above.CloseWrite()
	}
	if socket, ok := c.socket.(closeWriter); ok {
		_ = socket.CloseWrite()
	}
	_ = c.socket.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, c.socket)
}
