package server

import (
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// serveWebSocket makes a session of a request for a WebSocket, or says why not.
// On the event loop it runs on the connection's poller.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		s.writeRefusal(w, r, refuse(http.StatusServiceUnavailable, protocol.ErrUnavailable, "the gateway is shutting down; try again shortly"))
		return
	}
	h, ref := s.checkHandshake(r)
	if ref != nil {
		s.writeRefusal(w, r, ref)
		return
	}
	header := http.Header{}
	if h.subprotocol != "" {
		header.Set("Sec-Websocket-Protocol", h.subprotocol)
	}
	ws, err := s.upgrader.Upgrade(w, r, header, false, false)
	if err != nil {
		s.stats.refuse("upgrade_failed")
		s.log.Debug().Err(err).Str("remote", r.RemoteAddr).Msg("upgrade failed")
		return
	}
	var res *nbhttp.Response
	res, _ = w.(*nbhttp.Response)
	if err := s.attach(ws, res, h.info); err != nil {
		s.turnDown(ws, err)
	}
}

// attach puts our reader where the connection's bytes come in, and adds the
// session. Bytes are read only afterwards: on the event loop because this is
// the poller's goroutine, else because the reading goroutine waits for this
// handler or is started here.
func (s *Server) attach(ws *websocket.Conn, res *nbhttp.Response, info session.Info) error {
	under := ws.UnderlayerConn()
	if c, ok := under.(*nbhttp.Conn); ok {
		under = c.Conn
	}
	switch conn := under.(type) {
	case *nbio.Conn:
		return s.attachPoller(&pollerConn{server: s, ws: ws, nbc: conn, out: conn}, info)
	case *tls.Conn:
		nbc, ok := conn.Conn().(*nbio.Conn)
		if !ok {
			return fmt.Errorf("server: TLS over %T is not served", conn.Conn())
		}
		c := &pollerConn{server: s, ws: ws, nbc: nbc, out: conn, tls: new(sync.Mutex)}
		conn.ResetConn(&countingConn{Conn: nbc, c: c}, true)
		nbc.OnData(readTLS)
		return s.attachPoller(c, info)
	default:
		return s.attachBlocking(ws, under, res, info)
	}
}

func (s *Server) attachPoller(c *pollerConn, info session.Info) error {
	s.tuneSocket(c.nbc)
	c.reader.Init(s.opts.MaxMessage, false)
	c.nbc.SetSession(c)
	if s.sawTransport != nil {
		s.sawTransport(c)
	}
	sess, err := s.manager.Add(info, c)
	if err != nil {
		return err
	}
	c.ws.SetSession(sess)
	// The connection may have ended before nbio could know whom to tell.
	if closed, err := c.nbc.IsClosed(); closed {
		sess.TransportClosed(err)
	}
	return nil
}

func (s *Server) attachBlocking(ws *websocket.Conn, conn net.Conn, res *nbhttp.Response, info session.Info) error {
	info.Blocking = true
	c := &blockingConn{server: s, ws: ws, conn: conn}
	if t, ok := conn.(*stdtls.Conn); ok {
		s.tuneSocket(t.NetConn())
	} else {
		s.tuneSocket(conn)
	}
	c.reader.Init(s.opts.MaxMessage, false)
	if res == nil {
		// Before Add: from then on a write may fail and close the connection.
		s.track(conn)
	}
	if s.sawTransport != nil {
		s.sawTransport(c)
	}
	sess, err := s.manager.Add(info, c)
	if err != nil {
		return err
	}
	ws.SetSession(sess)
	if res != nil {
		// nbio's reading goroutine, which is running this handler, goes on
		// with whatever stands here.
		res.Parser.ParserCloser = c
		return nil
	}
	s.readers.Add(1)
	go c.readLoop(s.opts.ReadBuffer)
	return nil
}

// turnDown closes an upgraded connection that got no session.
func (s *Server) turnDown(ws *websocket.Conn, err error) {
	code := protocol.CloseInternal
	switch {
	case errors.Is(err, session.ErrDuplicateDevice):
		code = protocol.CloseDuplicateDevice
	case errors.Is(err, session.ErrStopped):
		code = protocol.CloseGoingAway
	default:
		s.log.Error().Err(err).Msg("session could not be added")
	}
	s.stats.refuse(code.Name())
	_, _ = ws.Conn.Write(wsframe.AppendClose(nil, uint16(code), code.Name()))
	_ = ws.Close()
}

// recoverRead keeps a panic while handling one session's input from reaching
// any other: that session is closed with 1011.
func (s *Server) recoverRead(sess *session.Session) {
	p := recover()
	if p == nil {
		return
	}
	s.stats.panics.Add(1)
	s.log.Error().Interface("panic", p).Stringer("session", sess.ID()).Bytes("stack", debug.Stack()).Msg("panic while handling a message; its session is closed")
	sess.Fail(protocol.CloseInternal, "internal error")
}

// writeRefusal answers a handshake that is refused and ends the connection.
func (s *Server) writeRefusal(w http.ResponseWriter, r *http.Request, ref *refusal) {
	s.stats.refuse(string(ref.code))
	s.log.Debug().Str("remote", r.RemoteAddr).Str("path", clip(r.URL.Path)).Int("status", ref.status).Str("reason", ref.message).Msg("handshake refused")
	switch ref.status {
	case http.StatusUpgradeRequired:
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="labgate"`)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodGet)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Connection", "close")
	r.Close = true
	writeError(w, ref.status, ref.code, ref.message)
}
