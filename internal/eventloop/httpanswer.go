package eventloop

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/lesismal/nbio/nbhttp"
	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

const (
	// maxUnsentAnswers bounds the answers that wait for a client to read; one
	// request more and the connection is closed.
	maxUnsentAnswers = 1 << 20
	// lingerTime is how long a peer may take to notice its last answer.
	lingerTime = 2 * time.Second
)

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
		h.tls.mu.Lock()
		_, _ = h.tls.conn.Write(b)
		// Still locked: the peer may have the answer already and go on, and
		// backlog must not find it unsent.
		h.unsent.Add(-1)
		h.tls.mu.Unlock()
	} else {
		h.unsent.Add(int64(len(b)))
		_, _ = h.nbc.Write(b)
	}
	if last && h.unsent.Load() <= 0 {
		h.shutHalf()
		return
	}
	h.loop.wheel.Schedule(&h.timer, time.Now().Add(h.loop.opts.HandshakeTimeout))
}

// answerBlocking runs on the reading goroutine, which goes on to read until the
// deadline.
func (h *httpConn) answerBlocking(b []byte, last bool) {
	_ = h.conn.SetWriteDeadline(time.Now().Add(h.loop.opts.WriteTimeout))
	_, err := h.conn.Write(b)
	wait := h.loop.opts.HandshakeTimeout
	switch tcp, ok := h.conn.Conn.(*net.TCPConn); {
	case err != nil:
		_ = h.conn.Close()
	case last && ok:
		_ = tcp.CloseWrite()
		wait = lingerTime
	}
	_ = h.conn.SetReadDeadline(time.Now().Add(wait))
}

// backlog returns how much of the answers before this request was not sent. An
// answer that the peer has seen is not among it: who sends it may still be
// booking that, and is waited for.
func (h *httpConn) backlog() int64 {
	if h.tls != nil {
		h.tls.mu.Lock()
		defer h.tls.mu.Unlock()
	} else {
		h.nbc.Lock()
		defer h.nbc.Unlock()
	}
	return h.unsent.Load()
}

// written implements pollerConn.
func (h *httpConn) written(n int) {
	h.progress.Store(true)
	if h.unsent.Add(int64(-n)) <= 0 && h.closing.Load() {
		h.loop.wheel.Schedule(&h.timer, time.Now())
	}
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
	h.loop.wheel.Schedule(&h.timer, time.Now().Add(lingerTime))
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
	h.loop.admission.RequestRefused(code)
	var response httpresponse.Buffer
	httpresponse.WriteError(&response, status, code, message)
	h.busy.Add(1)
	h.answer(response.Encode(true, true), true)
}
