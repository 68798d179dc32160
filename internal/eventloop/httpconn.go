package eventloop

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/session"
)

// httpConn is a connection on a poller before its first request is known. It
// collects the head of that request. A handshake that is accepted becomes a
// session on the same poller; every other connection leaves the poller for
// net/http's server, with what was read.
type httpConn struct {
	// Static.
	loop *Loop
	nbc  *nbio.Conn
	tls  *tlsConn // llib's, or nil

	// Owned by the poller. head is what was read, when that is not a whole head,
	// or when the connection is leaving; searched is where the search for the
	// head's end goes on; lines follows the lines of an incomplete head.
	head     []byte
	searched int
	lines    lineChecker
	leaving  bool
	// refusal is what admission has answered to the handshake that was read.
	refusal *httpresponse.Buffer

	// unsent counts the bytes of the TLS handshake that the kernel has not
	// taken.
	unsent atomic.Int64
	// timer ends the connection when no request comes in time; done says that
	// one came.
	timer session.Timer
	done  atomic.Bool
}

func newHTTPConn(l *Loop, nbc *nbio.Conn) *httpConn {
	h := &httpConn{loop: l, nbc: nbc}
	h.timer.Owner = h
	if l.llibTLS != nil {
		h.tls = &tlsConn{conn: tls.NewConn(&countingConn{nbc, &h.unsent}, l.llibTLS, false, true, l.engine.TLSAllocator)}
	}
	return h
}

// readable implements pollerConn.
func (h *httpConn) readable(nbc *nbio.Conn, it *iteration, buf []byte) { it.serveRequest(nbc, buf) }

// received implements pollerConn. The connection leaves when everything that was
// received is decrypted.
func (h *httpConn) received(data []byte) {
	var err error
	if h.tls != nil {
		err = h.tls.decrypt(h.nbc, data)
	} else {
		h.decrypted(data)
	}
	if h.leaving {
		// Even if the peer has ended its side: its request is answered.
		h.loop.handOver(h)
		return
	}
	if err != nil {
		_ = h.nbc.CloseWithError(err)
	}
}

// decrypted implements pollerConn: it looks for the end of the head, and decides
// then.
func (h *httpConn) decrypted(data []byte) {
	if h.leaving {
		h.head = append(h.head, data...)
		return
	}
	head := data
	if len(h.head) > 0 {
		h.head = append(h.head, data...)
		head = h.head
	} else {
		head = skipEmptyLines(data)
	}
	end := headEnd(head, h.searched)
	if end < 0 && len(head) <= maxHTTPHeader {
		if len(h.head) == 0 && len(head) > 0 {
			h.head = append(h.head, head...)
		}
		h.searched = searchedTo(head)
		if h.lines.plain(head) {
			return
		}
	}
	h.done.Store(true)
	h.loop.wheel.Cancel(&h.timer)
	if end >= 0 && end <= maxHTTPHeader {
		if r := readHandshake(head[:end]); r != nil && h.accept(r, head[end:]) {
			h.head = nil
			return
		}
	}
	if h.leaving = true; len(h.head) == 0 {
		h.head = append(h.head, head...)
	}
}

// accept makes a session of a handshake that admission accepts. It returns false
// when the handshake is refused.
func (h *httpConn) accept(r *http.Request, early []byte) bool {
	l := h.loop
	l.requests.Add(1)
	defer l.requests.Add(-1)
	r.RemoteAddr = h.nbc.RemoteAddr().String()
	refusal := new(httpresponse.Buffer)
	var up *Upgrade
	if !l.panics.Run(nil, func() { up = l.handler.Handshake(refusal, r) }) {
		_ = h.nbc.Close()
		return true
	}
	if up == nil {
		h.refusal = refusal
		return false
	}
	l.attachPoller(h.nbc, h.tls, up, switchingProtocols(r, up), early)
	return true
}

// written implements pollerConn.
func (h *httpConn) written(n int) { h.unsent.Add(int64(-n)) }

// accepted implements pollerConn.
func (h *httpConn) accepted() bool { return true }

// ended implements pollerConn.
func (h *httpConn) ended(error) {
	h.done.Store(true)
	h.loop.wheel.Cancel(&h.timer)
}

// Expire closes a connection from which no request came in time.
func (h *httpConn) Expire(time.Time) {
	if !h.done.Load() {
		closeOnPoller(h.nbc)
	}
}
