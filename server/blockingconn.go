package server

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// blockingConn is an upgraded connection with goroutines of its own: one reads,
// the session's writer writes.
type blockingConn struct {
	server *Server
	ws     *websocket.Conn
	conn   net.Conn
	closed atomic.Bool

	// Owned by the reading goroutine.
	reader wsframe.Reader
	failed bool
}

// Parse reads what arrived right behind the handshake; it makes blockingConn
// nbio's ParserCloser. The session closes itself when an error is found.
func (c *blockingConn) Parse(data []byte) error {
	c.parse(c.ws.Session().(*session.Session), data)
	return nil
}

func (c *blockingConn) parse(s *session.Session, data []byte) {
	s.Heard()
	if c.failed {
		hearOut(s, data)
		return
	}
	defer c.server.recoverRead(s, &c.failed)
	if err := c.reader.Feed(data, s); err != nil {
		c.failed = true
		failRead(s, err)
	}
	s.EndRead()
}

// readLoop reads until the connection ends, on the connection's reading
// goroutine.
func (c *blockingConn) readLoop(buf []byte) {
	s := c.ws.Session().(*session.Session)
	for {
		n, err := c.conn.Read(buf)
		if n > 0 {
			c.parse(s, buf[:n])
		}
		if err != nil {
			c.CloseAndClean(err)
			return
		}
	}
}

// UnderlayerConn returns the connection below the WebSocket, for nbio.
func (c *blockingConn) UnderlayerConn() net.Conn { return c.ws.UnderlayerConn() }

// CloseAndClean is called when reading has ended.
func (c *blockingConn) CloseAndClean(err error) {
	_ = c.Close()
	c.ws.CloseAndClean(err)
	if s, ok := c.ws.Session().(*session.Session); ok {
		s.TransportClosed(err)
	}
	c.reader.Release()
}

// Write sends all of b, or fails at the write deadline.
func (c *blockingConn) Write(b []byte) (int, error) {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.server.opts.WriteTimeout)); err != nil {
		return 0, err
	}
	return c.conn.Write(b)
}

// Buffered is always 0: Write returns when the kernel has everything.
func (c *blockingConn) Buffered() int { return 0 }

// Unacknowledged returns how much of what the kernel took the peer has not.
func (c *blockingConn) Unacknowledged() int {
	if t, ok := c.conn.(*tls.Conn); ok {
		return unacknowledged(t.NetConn())
	}
	return unacknowledged(c.conn)
}

// Close closes the connection at once. Under TLS the socket below is closed
// first, even when a polite end is under way: TLS would try for seconds to say
// good-bye to a peer that has stalled.
func (c *blockingConn) Close() error {
	if t, ok := c.conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
	}
	if c.closed.Swap(true) {
		return nil
	}
	return c.conn.Close()
}

// Finish closes the connection after a complete closing handshake, on the
// session's writer: there TLS may take its time to say good-bye.
func (c *blockingConn) Finish() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.conn.Close()
}
