package eventloop

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

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

const (
	// maxHTTPHeader bounds a request line with all its header fields.
	maxHTTPHeader = 16 << 10
	// maxPipelined bounds the requests of one connection that wait for their
	// turn.
	maxPipelined = 64
)

// httpConn is a connection that speaks HTTP, before it becomes a WebSocket. It
// is put between nbio's parser and its processor, to hold requests to limits
// that nbio does not have, and answers them in place of nbio, which cuts off
// long answers and sets deadlines that outlive the handshake.
//
// The parser calls it on the reading goroutine: the poller, or the blocking
// connection's own.
type httpConn struct {
	nbhttp.Processor

	// Static.
	loop   *Loop
	conn   *nbhttp.Conn
	parser *nbhttp.Parser
	nbc    *nbio.Conn // nil for a blocking connection
	tls    *tlsConn   // llib's, or nil

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

func newPollerHTTPConn(l *Loop, nbc *nbio.Conn) *httpConn {
	h := &httpConn{Processor: nbhttp.NewServerProcessor(), loop: l, nbc: nbc, conn: &nbhttp.Conn{Conn: nbc}}
	h.timer.Owner = h
	if l.llibTLS != nil {
		h.tls = &tlsConn{conn: tls.NewConn(&countingConn{nbc, &h.unsent}, l.llibTLS, false, true, l.engine.TLSAllocator)}
		h.conn.Conn = h.tls.conn
	}
	h.startParser(nbc.Execute)
	return h
}

func newBlockingHTTPConn(l *Loop, conn net.Conn) *httpConn {
	h := &httpConn{Processor: nbhttp.NewServerProcessor(), loop: l, conn: &nbhttp.Conn{Conn: conn}}
	h.timer.Owner = h
	h.startParser(nbhttp.SyncExecutor)
	return h
}

func (h *httpConn) startParser(execute func(func()) bool) {
	h.parser = nbhttp.NewParser(h.conn, h.loop.engine, h, false, execute)
	h.conn.Parser = h.parser
}

var errRequestTooLarge = errors.New("request too large")

// readable implements pollerConn.
func (h *httpConn) readable(nbc *nbio.Conn, it *iteration, buf []byte) { it.serveRequest(nbc, buf) }

// received implements pollerConn.
func (h *httpConn) received(data []byte) {
	if h.tls != nil {
		h.tls.decrypt(h.nbc, data)
		return
	}
	h.decrypted(data)
}

// decrypted reads requests. Behind the last one it only waits for the peer to
// notice that: closing at once would reset the connection, and the answer could
// be lost.
func (h *httpConn) decrypted(data []byte) {
	if h.closing.Load() {
		return
	}
	if err := h.parser.Parse(data); err != nil {
		h.refuseMalformed(err)
	}
}

// accepted implements pollerConn.
func (h *httpConn) accepted() bool { return true }

// ended implements pollerConn.
func (h *httpConn) ended(err error) { h.parser.CloseAndClean(err) }

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
	if n > h.loop.opts.MaxBody {
		h.refuseBody()
		return
	}
	h.Processor.OnContentLength(p, n)
}

// OnBody bounds a body whose length was not told.
func (h *httpConn) OnBody(p *nbhttp.Parser, data []byte) error {
	if h.body += len(data); h.body > h.loop.opts.MaxBody {
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
	h := w.(*nbhttp.Response).Parser.Processor.(*httpConn)
	if h.nbc == nil {
		return
	}
	if strings.HasPrefix(r.URL.Path, WebSocketPath) {
		h.parser.Execute = nbhttp.SyncExecutor
		if h.busy.Load() > 1 || h.backlog() > 0 {
			// Behind a request whose answer is still to come: the connection
			// cannot serve both.
			h.parser.Execute = func(func()) bool { return false }
			_ = h.nbc.Close()
		}
		return
	}
	if h.busy.Load() > maxPipelined || h.unsent.Load() > maxUnsentAnswers {
		_ = h.nbc.Close()
	}
}

// Close is called by the parser when the connection ends or is upgraded.
func (h *httpConn) Close(p *nbhttp.Parser, err error) {
	h.Processor.Close(p, err)
	h.loop.wheel.Cancel(&h.timer)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
	if h.cancel != nil {
		h.cancel()
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
		h.loop.wheel.Schedule(&h.timer, time.Now().Add(h.loop.opts.HandshakeTimeout))
	default:
		closeOnPoller(h.nbc)
	}
}
