package eventloop

import (
	"net/http"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/internal/httpresponse"
)

// nbioExchange is a request that nbio's parser has read, on a poller or on a
// plain blocking connection.
type nbioExchange struct {
	conn *httpConn
	w    *nbhttp.Response
	r    *http.Request
}

func (x *nbioExchange) begin() (*http.Request, error) {
	return x.r.WithContext(x.conn.begin(x.r.Context())), nil
}

// respond leaves nothing for nbio to do.
func (x *nbioExchange) respond(response *httpresponse.Buffer) {
	_, _, _ = x.w.Hijack()
	x.conn.answer(response.Encode(x.r.Method != http.MethodHead, x.r.Close), x.r.Close)
}

func (x *nbioExchange) abort() { _ = x.conn.conn.Close() }

func (x *nbioExchange) upgrade(header http.Header, up *Upgrade) {
	h := x.conn
	if h.nbc != nil {
		// What the Upgrader looks for in the connection, below TLS.
		h.nbc.SetSession(h.parser)
		if h.tls != nil {
			h.tls.conn.ResetConn(h.nbc, true)
		}
	}
	ws, err := h.loop.upgrader.Upgrade(x.w, x.r, header, false, false)
	if err != nil {
		up.Sessions.Failed(err)
		_ = h.conn.Close()
		// The Upgrader has made nbio forget whom to tell.
		h.Close(h.parser, err)
		return
	}
	if h.nbc != nil {
		h.attachPoller(ws, up)
	} else {
		h.attachBlocking(ws, up)
	}
}

// attachPoller puts our reader where the connection's bytes come in, and makes
// the session. It runs on the poller, so nothing is read meanwhile.
func (h *httpConn) attachPoller(ws *websocket.Conn, up *Upgrade) {
	l := h.loop
	c := &pollerTransport{loop: l, ws: ws, nbc: h.nbc, tls: h.tls, holdBack: up.HoldBack}
	if h.tls != nil {
		h.tls.conn.ResetConn(&countingConn{h.nbc, &c.unsent}, true)
	}
	l.tuneSocket(h.nbc)
	h.upgraded.Store(true)
	l.wheel.Cancel(&h.timer)
	c.reader.frames.Init(up.MaxMessage, false)
	// What was read behind the handshake comes through the parser, all else from
	// the poller directly.
	h.parser.ParserCloser = c
	h.nbc.SetSession(c)
	sess, code := up.Sessions.Connected(c, false)
	if sess == nil {
		refuseSession(ws, code)
		return
	}
	ws.SetSession(sess)
	// The connection may have ended before nbio could know whom to tell.
	if closed, err := h.nbc.IsClosed(); closed {
		sess.TransportClosed(err)
	}
}

// attachBlocking makes the session of a plain blocking connection. The reading
// goroutine, which is running this handler, goes on with what is left in the
// parser.
func (h *httpConn) attachBlocking(ws *websocket.Conn, up *Upgrade) {
	h.loop.tuneSocket(h.conn.Conn)
	if c := h.loop.newBlockingTransport(ws, h.conn.Conn, up); c != nil {
		h.parser.ParserCloser = c
	}
}
