package server

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"

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
	if s.sawHandshake != nil {
		s.sawHandshake(r)
	}
	hs, ref := s.checkHandshake(r)
	if ref == nil {
		ref = s.admitSession(&hs.info)
	}
	if ref != nil {
		s.writeRefusal(w, r, ref)
		return
	}
	header := http.Header{}
	if hs.subprotocol != "" {
		header.Set("Sec-Websocket-Protocol", hs.subprotocol)
	}
	h := httpConnOf(w)
	if s.survive(func() {
		if h != nil {
			s.upgrade(w, r, header, h, hs.info)
		} else {
			s.upgradeStd(w, r, header, hs.info)
		}
	}) {
		return
	}
	// There is no session yet: what runs from then on catches its own.
	s.sessionEnded(&hs.info)
	if h != nil {
		_ = h.conn.Close()
	}
}

// abandon ends a connection whose handshake was not served to its end.
func abandon(w http.ResponseWriter) {
	if h := httpConnOf(w); h != nil {
		_ = h.conn.Close()
		return
	}
	panic(http.ErrAbortHandler) // what the standard library's server understands
}

// upgrade makes a session of a connection that nbio's parser reads.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, header http.Header, h *httpConn, info session.Info) {
	parser := w.(*nbhttp.Response).Parser
	if h.tls != nil {
		// What the Upgrader looks for below TLS.
		h.tls.ResetConn(h.nbc, true)
	}
	ws, err := s.upgrader.Upgrade(w, r, header, false, false)
	if err != nil {
		s.upgradeFailed(r, &info, err)
		_ = h.conn.Close()
		// The Upgrader has made nbio forget whom to tell.
		h.Close(parser, err)
		return
	}
	if h.nbc != nil {
		err = s.attachPoller(ws, h, parser, info)
	} else {
		err = s.attachBlocking(ws, h, parser, info)
	}
	if err != nil {
		s.turnDown(ws, &info, err)
	}
}

// attachPoller puts our reader where the connection's bytes come in, and adds
// the session. It runs on the poller, so nothing is read meanwhile.
func (s *Server) attachPoller(ws *websocket.Conn, h *httpConn, parser *nbhttp.Parser, info session.Info) error {
	c := &pollerConn{server: s, ws: ws, nbc: h.nbc, out: h.nbc, mayHold: info.Role == session.RoleEcho}
	if h.tls != nil {
		c.out, c.tls = h.tls, &h.tlsMu
		h.tls.ResetConn(&countingConn{h.nbc, &c.unsent}, true)
	}
	s.tuneSocket(h.nbc)
	h.upgraded.Store(true)
	s.manager.Wheel().Cancel(&h.timer)
	c.reader.Init(s.opts.maxMessage(info.Role), false)
	// What stands behind the handshake in the same read comes through the
	// parser, all else from the poller directly.
	parser.ParserCloser = c
	c.nbc.SetSession(c)
	c.nbc.OnData(onPollerData)
	if s.sawTransport != nil {
		s.sawTransport(c)
	}
	sess, err := s.addSession(info, c)
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

// attachBlocking adds the session of a plain blocking connection. The reading
// goroutine, which is running this handler, goes on with what stands in the
// parser.
func (s *Server) attachBlocking(ws *websocket.Conn, h *httpConn, parser *nbhttp.Parser, info session.Info) error {
	s.tuneSocket(h.conn.Conn)
	c, err := s.addBlockingSession(ws, h.conn.Conn, info)
	if err == nil {
		parser.ParserCloser = c
	}
	return err
}

func (s *Server) addBlockingSession(ws *websocket.Conn, conn net.Conn, info session.Info) (*blockingConn, error) {
	info.Blocking = true
	c := &blockingConn{server: s, ws: ws, conn: conn}
	c.reader.Init(s.opts.maxMessage(info.Role), false)
	if s.sawTransport != nil {
		s.sawTransport(c)
	}
	sess, err := s.addSession(info, c)
	if err != nil {
		return nil, err
	}
	ws.SetSession(sess)
	return c, nil
}

// upgradeStd makes a session of a connection of the standard library's server.
func (s *Server) upgradeStd(w http.ResponseWriter, r *http.Request, header http.Header, info session.Info) {
	early := &earlyBytes{ResponseWriter: w}
	ws, err := s.upgrader.Upgrade(early, r, header, false, false)
	if err != nil {
		s.upgradeFailed(r, &info, err)
		if early.hijacked {
			s.connectionEnded(early.remote)
		}
		return
	}
	conn := ws.UnderlayerConn()
	added := false
	defer func() {
		if !added {
			_ = conn.Close()
			s.connectionEnded(conn.RemoteAddr())
		}
	}()
	if t, ok := conn.(*tls.Conn); ok {
		s.tuneSocket(t.NetConn())
	}
	c, err := s.addBlockingSession(ws, conn, info)
	if err != nil {
		s.turnDown(ws, &info, err)
		return
	}
	added = true
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		defer s.connectionEnded(conn.RemoteAddr())
		if len(early.data) > 0 {
			_ = c.Parse(early.data)
		}
		c.readLoop(make([]byte, s.opts.ReadBuffer))
	}()
}

// earlyBytes keeps what the standard library's server has read behind the
// handshake, which nbio's Upgrader forgets.
type earlyBytes struct {
	http.ResponseWriter
	data     []byte
	hijacked bool
	remote   net.Addr
}

// Hijack implements http.Hijacker.
func (e *earlyBytes) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	e.hijacked, e.remote = true, conn.RemoteAddr()
	e.data, _ = rw.Reader.Peek(rw.Reader.Buffered())
	return conn, rw, nil
}

func (s *Server) upgradeFailed(r *http.Request, info *session.Info, err error) {
	s.sessionEnded(info)
	s.stats.refused.add("upgrade_failed")
	s.log.Debug().Err(err).Str("remote", r.RemoteAddr).Msg("upgrade failed")
}

// turnDown closes an upgraded connection that got no session.
func (s *Server) turnDown(ws *websocket.Conn, info *session.Info, err error) {
	s.sessionEnded(info)
	code := protocol.CloseInternal
	switch {
	case errors.Is(err, session.ErrDuplicateDevice):
		code = protocol.CloseDuplicateDevice
	case errors.Is(err, session.ErrStopped):
		code = protocol.CloseGoingAway
	default:
		s.log.Error().Err(err).Msg("session could not be added")
	}
	s.stats.refused.add(code.Name())
	_, _ = ws.Conn.Write(wsframe.AppendClose(nil, uint16(code), code.Name()))
	_ = ws.Close()
}

// recoverRead keeps a panic while handling one session's input from reaching
// any other: that session is closed with 1011, and what else it sends is not
// looked at.
func (s *Server) recoverRead(sess *session.Session, failed *bool) {
	p := recover()
	if p == nil {
		return
	}
	*failed = true
	s.stats.panics.Add(1)
	s.log.Error().Str("panic", fmt.Sprint(p)).Stringer("session", sess.ID()).Bytes("stack", debug.Stack()).Msg("panic while handling a message; its session is closed")
	sess.Fail(protocol.CloseInternal, "internal error")
}

// writeRefusal answers a handshake that is refused and ends the connection.
func (s *Server) writeRefusal(w http.ResponseWriter, r *http.Request, ref *refusal) {
	s.stats.refused.add(ref.reasonName())
	s.log.Debug().Str("remote", r.RemoteAddr).Str("path", clip(r.URL.Path)).Int("status", ref.status).Str("credential", ref.credential).Str("reason", ref.message).Msg("handshake refused")
	var a answer
	switch ref.status {
	case http.StatusUpgradeRequired:
		a.Header().Set("Upgrade", "websocket")
		a.Header().Set("Sec-WebSocket-Version", "13")
	case http.StatusUnauthorized:
		a.Header().Set("WWW-Authenticate", `Bearer realm="labgate"`)
	case http.StatusMethodNotAllowed:
		a.Header().Set("Allow", http.MethodGet)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		a.Header().Set("Retry-After", s.retryAfter())
	}
	r.Close = true
	writeError(&a, ref.status, ref.code, ref.message)
	s.send(w, r, &a)
}
