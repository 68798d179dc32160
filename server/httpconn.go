package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	// maxHTTPHeader bounds a request line with all its header fields.
	maxHTTPHeader = 16 << 10
	// maxPipelined bounds the requests of one connection that wait for their
	// turn.
	maxPipelined = 64
	// maxUnsentAnswers bounds the answers that wait for a client to read; one
	// request more and the connection is closed.
	maxUnsentAnswers = 1 << 20
	// lingerTime is how long a peer may take to notice its last answer.
	lingerTime = 2 * time.Second
)

// httpConn is a connection that speaks HTTP, before it becomes a WebSocket. It
// stands between nbio's parser and its processor, to hold requests to limits
// that nbio does not have, and answers them in place of nbio, which cuts off
// long answers and sets deadlines that outlive the handshake.
//
// The parser calls it on the reading goroutine: the poller, or the blocking
// connection's own.
type httpConn struct {
	nbhttp.Processor

	// Static.
	server *Server
	conn   *nbhttp.Conn
	nbc    *nbio.Conn // nil for a blocking connection
	tls    *tls.Conn  // llib's, or nil
	// tlsMu serialises reading, writing and closing of tls, which is not safe
	// otherwise. Nothing blocks under it. The session's pollerConn goes on with
	// it.
	tlsMu sync.Mutex

	// Owned by the reading goroutine: bytes of the request under way.
	head, body int
	refused    bool

	// On a poller, timer ends the connection when a request does not come, or
	// an answer is not read, in time.
	timer    session.Timer
	upgraded atomic.Bool
	busy     atomic.Int32 // requests that are not answered
	unsent   atomic.Int64 // bytes of answers that the kernel has not taken
	closing  atomic.Bool  // no more requests; close when all is sent
	halfShut atomic.Bool  // all is sent, and the end of it
	progress atomic.Bool  // the kernel took bytes since the last look

	// mu guards cancel, which ends the request that is being handled.
	mu     sync.Mutex
	cancel context.CancelFunc
	gone   bool
}

func newHTTPConn(s *Server) *httpConn {
	h := &httpConn{Processor: nbhttp.NewServerProcessor(), server: s}
	h.timer.Owner = h
	return h
}

// httpConnOf returns the connection of an answer, or nil under the standard
// library's server.
func httpConnOf(w http.ResponseWriter) *httpConn {
	if res, ok := w.(*nbhttp.Response); ok {
		return res.Parser.Processor.(*httpConn)
	}
	return nil
}

var (
	errRequestTooLarge = errors.New("request too large")
	errDescriptorTable = errors.New("descriptor beyond the table of the event loop")
)

// onData takes what the poller has read.
func (h *httpConn) onData(nbc *nbio.Conn, data []byte) {
	if h.tls != nil {
		readTLS(nbc, h.tls, &h.tlsMu, data)
		return
	}
	parse(nbc, data)
}

// parse gives data to whoever reads the connection now.
func parse(nbc *nbio.Conn, data []byte) {
	switch reader := nbc.Session().(type) {
	case *pollerConn:
		_ = reader.Parse(data)
	case *nbhttp.Parser:
		reader.Processor.(*httpConn).parse(reader, data)
	}
}

// parse reads requests. Behind the last one it only waits for the peer to
// notice that: closing at once would reset the connection, and the answer could
// be lost.
func (h *httpConn) parse(p *nbhttp.Parser, data []byte) {
	if h.closing.Load() {
		return
	}
	if err := p.Parse(data); err != nil {
		h.refuseMalformed(err)
	}
}

// OnURL bounds the request line.
func (h *httpConn) OnURL(p *nbhttp.Parser, uri string) error {
	if h.head = len(uri); h.head > maxHTTPHeader {
		h.refuse(http.StatusRequestURITooLong, protocol.ErrTooLarge, "the request line is longer than 16 KiB; shorten the query")
		return errRequestTooLarge
	}
	return h.Processor.OnURL(p, uri)
}

// OnHeader bounds the header fields together.
func (h *httpConn) OnHeader(p *nbhttp.Parser, key, value string) {
	if h.head += len(key) + len(value) + len(": \r\n"); h.head > maxHTTPHeader {
		h.refuse(http.StatusRequestHeaderFieldsTooLarge, protocol.ErrTooLarge, "the header fields together are longer than 16 KiB; send fewer or shorter ones")
		return
	}
	h.Processor.OnHeader(p, key, value)
}

// OnContentLength refuses a body before it comes.
func (h *httpConn) OnContentLength(p *nbhttp.Parser, n int) {
	if n > h.server.opts.MaxMessage {
		h.refuseBody()
		return
	}
	h.Processor.OnContentLength(p, n)
}

// OnBody bounds a body whose length was not told.
func (h *httpConn) OnBody(p *nbhttp.Parser, data []byte) error {
	if h.body += len(data); h.body > h.server.opts.MaxMessage {
		h.refuseBody()
	}
	if h.refused {
		return errRequestTooLarge
	}
	return h.Processor.OnBody(p, data)
}

// OnComplete passes a whole request on.
func (h *httpConn) OnComplete(p *nbhttp.Parser) {
	h.head, h.body = 0, 0
	if h.refused {
		return
	}
	h.busy.Add(1)
	h.Processor.OnComplete(p)
}

// onRequest decides where a request is handled, on the reading goroutine: the
// HTTP API may wait and leaves the poller; a handshake stays, so that no byte
// of the new WebSocket is read before our reader is in its place.
func onRequest(w http.ResponseWriter, r *http.Request) {
	h := httpConnOf(w)
	if h.nbc == nil {
		return
	}
	if strings.HasPrefix(r.URL.Path, "/ws/") {
		parser := w.(*nbhttp.Response).Parser
		parser.Execute = nbhttp.SyncExecutor
		if h.busy.Load() > 1 || h.backlog() > 0 {
			// Behind a request whose answer is still to come: the connection
			// cannot serve both.
			parser.Execute = func(func()) bool { return false }
			_ = h.nbc.Close()
		}
		return
	}
	if h.busy.Load() > maxPipelined || h.unsent.Load() > maxUnsentAnswers {
		_ = h.nbc.Close()
	}
}

// backlog returns how much of the answers before this request was not sent. An
// answer that the peer has seen is not among it: who sends it may still be
// booking that, and is waited for.
func (h *httpConn) backlog() int64 {
	if h.tls != nil {
		h.tlsMu.Lock()
		defer h.tlsMu.Unlock()
	} else {
		h.nbc.Lock()
		defer h.nbc.Unlock()
	}
	return h.unsent.Load()
}

// begin returns the context of a request that is being handled; it ends with
// the connection where that can be noticed.
func (h *httpConn) begin(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancel = cancel
	if h.gone {
		cancel()
	}
	return ctx
}

// Close is called by the parser when the connection ends or is upgraded.
func (h *httpConn) Close(p *nbhttp.Parser, err error) {
	h.Processor.Close(p, err)
	h.server.manager.Wheel().Cancel(&h.timer)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	if h.cancel != nil {
		h.cancel()
	}
}

// answer sends a whole answer and ends the request.
func (h *httpConn) answer(b []byte, last bool) {
	h.mu.Lock()
	if h.cancel != nil {
		h.cancel()
		h.cancel = nil
	}
	h.mu.Unlock()
	if last {
		h.closing.Store(true)
	}
	// Before the peer can have the answer, and go on.
	h.busy.Add(-1)
	if h.nbc == nil {
		h.answerBlocking(b, last)
		return
	}
	if h.tls != nil {
		// Records go out one by one: between two of them nothing is unsent, but
		// that is not the end.
		h.unsent.Add(1)
		h.tlsMu.Lock()
		_, _ = h.tls.Write(b)
		// Still locked: the peer may have the answer already and go on, and
		// backlog must not find it unsent.
		h.unsent.Add(-1)
		h.tlsMu.Unlock()
	} else {
		h.unsent.Add(int64(len(b)))
		_, _ = h.nbc.Write(b)
	}
	if last && h.unsent.Load() <= 0 {
		h.shutHalf()
		return
	}
	h.server.manager.Wheel().Schedule(&h.timer, time.Now().Add(h.server.opts.HandshakeTimeout))
}

// answerBlocking runs on the reading goroutine, which goes on to read until the
// deadline.
func (h *httpConn) answerBlocking(b []byte, last bool) {
	_ = h.conn.SetWriteDeadline(time.Now().Add(h.server.opts.WriteTimeout))
	_, err := h.conn.Write(b)
	wait := h.server.opts.HandshakeTimeout
	switch tcp, ok := h.conn.Conn.(*net.TCPConn); {
	case err != nil:
		_ = h.conn.Close()
	case last && ok:
		_ = tcp.CloseWrite()
		wait = lingerTime
	}
	_ = h.conn.SetReadDeadline(time.Now().Add(wait))
}

// shutHalf ends the sending side of a poller connection and gives the peer some
// time to end its own.
func (h *httpConn) shutHalf() {
	if h.halfShut.Swap(true) {
		return
	}
	h.nbc.Lock()
	if closed, _ := h.nbc.IsClosed(); !closed {
		_ = unix.Shutdown(h.nbc.Hash(), unix.SHUT_WR)
	}
	h.nbc.Unlock()
	h.server.manager.Wheel().Schedule(&h.timer, time.Now().Add(lingerTime))
}

// written is told by nbio what the kernel took. It runs with nbio's lock of the
// connection held.
func (h *httpConn) written(n int) {
	h.progress.Store(true)
	if h.unsent.Add(int64(-n)) <= 0 && h.closing.Load() {
		h.server.manager.Wheel().Schedule(&h.timer, time.Now())
	}
}

// Expire closes a poller connection whose time is over.
func (h *httpConn) Expire(time.Time) {
	switch {
	case h.upgraded.Load():
	case h.closing.Load() && h.unsent.Load() <= 0 && !h.halfShut.Load():
		h.shutHalf()
	case h.busy.Load() > 0 && !h.closing.Load():
		// The answer will set the timer.
	case h.unsent.Load() > 0 && h.progress.Swap(false):
		h.server.manager.Wheel().Schedule(&h.timer, time.Now().Add(h.server.opts.HandshakeTimeout))
	default:
		closeOnPoller(h.nbc)
	}
}

func (h *httpConn) refuseMalformed(err error) {
	if errors.Is(err, nbhttp.ErrTooLong) {
		h.refuse(http.StatusRequestEntityTooLarge, protocol.ErrTooLarge, "a part of the request is longer than the gateway keeps; send less")
		return
	}
	h.refuse(http.StatusBadRequest, protocol.ErrBadMessage, "the request is not HTTP/1.1; see RFC 9112")
}

func (h *httpConn) refuseBody() {
	h.refuse(http.StatusRequestEntityTooLarge, protocol.ErrTooLarge, "the body is larger than --max-message; send less")
}

// refuse answers a request that is not read to its end, once, and ends the
// connection.
func (h *httpConn) refuse(status int, code protocol.ErrorCode, message string) {
	if h.refused {
		return
	}
	h.refused = true
	h.server.stats.refused.add(string(code))
	var a answer
	writeError(&a, status, code, message)
	h.busy.Add(1)
	h.answer(a.encode(true, true), true)
}
