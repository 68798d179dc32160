package eventloop

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it
	"encoding/base64"
	"net"
	"net/http"
	"slices"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// newUpgrader returns what every websocket.Conn has in common.
func newUpgrader(e *nbhttp.Engine) *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.Engine = e
	return u
}

// switchingProtocols returns the answer to an accepted handshake (RFC 6455
// section 4.2.2).
func switchingProtocols(r *http.Request, up *Upgrade) []byte {
	accept := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	b := append(make([]byte, 0, 192), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, accept[:])
	if up.Subprotocol != "" {
		b = append(append(b, "\r\nSec-WebSocket-Protocol: "...), up.Subprotocol...)
	}
	return append(b, "\r\n\r\n"...)
}

// newWebSocket returns the websocket.Conn of an upgraded connection. It keeps
// the session.
func (l *Loop) newWebSocket(conn net.Conn, up *Upgrade) *websocket.Conn {
	return websocket.NewServerConn(l.upgrader, conn, up.Subprotocol, false, false)
}

// attachPoller puts our reader where the connection's bytes come in, answers the
// handshake, and makes the session. It runs where nothing reads the connection
// meanwhile. early is what was read behind the handshake.
func (l *Loop) attachPoller(nbc *nbio.Conn, t *tlsConn, up *Upgrade, answer, early []byte) {
	c := &pollerTransport{loop: l, nbc: nbc, tls: t, holdBack: up.HoldBack}
	if t != nil {
		t.conn.ResetConn(&countingConn{nbc, &c.unsent}, true)
		c.ws = l.newWebSocket(t.conn, up)
	} else {
		c.ws = l.newWebSocket(nbc, up)
	}
	c.reader.frames.Init(up.MaxMessage, false)
	l.tuneSocket(nbc)
	nbc.SetSession(c)
	if !l.panics.Run(nil, func() { c.attach(up, answer, early) }) {
		up.Sessions.Failed(nil)
		closeOnPoller(nbc)
	}
}

func (c *pollerTransport) attach(up *Upgrade, answer, early []byte) {
	if _, err := c.Write(answer); err != nil {
		up.Sessions.Failed(err)
		_ = c.Close()
		return
	}
	sess, code := up.Sessions.Connected(c, false)
	if sess == nil {
		refuseSession(c.ws, code)
		return
	}
	c.ws.SetSession(sess)
	// The connection may have ended before nbio could know whom to tell.
	if closed, err := c.nbc.IsClosed(); closed {
		sess.TransportClosed(err)
		return
	}
	if len(early) > 0 {
		c.decrypted(early)
	}
	if c.tls != nil {
		// TLS may have read more than was asked for.
		if err := c.tls.decrypt(c.nbc, make([]byte, 0, 4<<10)); err != nil {
			closeOnPoller(c.nbc)
		}
	}
}

// upgrade makes a session of a connection that net/http's server had, on the
// goroutine of the connection.
func (c *serverConn) upgrade(w http.ResponseWriter, r *http.Request, up *Upgrade) {
	_, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		up.Sessions.Failed(err)
		return
	}
	answer := switchingProtocols(r, up)
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	early = slices.Concat(early, c.early)
	if c.fromPoller {
		c.loop.rejoin(c, up, answer, early)
	} else {
		c.attachBlocking(up, answer, early)
	}
}

// attachBlocking answers the handshake and makes a session with a reading
// goroutine.
func (c *serverConn) attachBlocking(up *Upgrade, answer, early []byte) {
	l := c.loop
	reading := false
	defer func() {
		if !reading {
			_ = c.Conn.Close()
			l.connectionEnded(c)
		}
	}()
	if _, err := c.write(answer); err != nil {
		up.Sessions.Failed(err)
		return
	}
	l.tuneSocket(c.socket)
	t := &blockingTransport{loop: l, ws: l.newWebSocket(c.Conn, up), conn: c.Conn}
	t.reader.frames.Init(up.MaxMessage, false)
	attached := false
	if !l.panics.Run(nil, func() { attached = t.attach(up) }) {
		up.Sessions.Failed(nil)
		return
	}
	if !attached {
		return
	}
	reading = true
	go func() {
		defer l.connectionEnded(c)
		t.readLoop(early, make([]byte, l.opts.ReadBuffer))
	}()
}

// attach makes the session; it returns false when there is to be none.
func (c *blockingTransport) attach(up *Upgrade) bool {
	sess, code := up.Sessions.Connected(c, true)
	if sess == nil {
		refuseSession(c.ws, code)
		return false
	}
	c.ws.SetSession(sess)
	return true
}

// rejoin puts a connection back on a poller, as a session. The poller itself does
// that: nothing is read before the session is there.
func (l *Loop) rejoin(c *serverConn, up *Upgrade, answer, early []byte) {
	nbc, err := l.pollerConn(c.socket)
	if err != nil {
		up.Sessions.Failed(err)
		_ = c.Conn.Close()
		l.connectionEnded(c)
		return
	}
	l.iterations.of(nbc).do(func() {
		if err := l.addConn(nbc, departed{}); err != nil {
			up.Sessions.Failed(err)
			l.connectionEnded(c)
			return
		}
		l.connectionLeft(c) // nbio tells of the end
		l.attachPoller(nbc, c.llib, up, answer, early)
	}, func() {
		up.Sessions.Failed(net.ErrClosed)
		_ = nbc.Close()
		l.connectionEnded(c)
	})
}

// refuseSession closes an upgraded connection that gets no session.
func refuseSession(ws *websocket.Conn, code protocol.CloseCode) {
	_, _ = ws.Conn.Write(wsframe.AppendClose(nil, uint16(code), code.Name()))
	_ = ws.Close()
}
