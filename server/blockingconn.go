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

// blockingConn is an upgraded connection with goroutines of its own: nbio's
// reading goroutine in the blocking I/O modes, readLoop under the standard
// library's TLS.
type blockingConn struct {
	server *Server
	ws     *websocket.Conn
	conn   net.Conn
	closed atomic.Bool

	// Owned by the reading goroutine.
	reader wsframe.Reader
	failed bool
}

// Parse reads what arrived: it is nbio's ParserCloser in the blocking I/O
// modes. nbio ignores an error here, so none is returned: the session closes
// itself.
func (c *blockingConn) Parse(data []byte) error {
	c.parse(c.ws.SessionWithLock().(*session.Session), data)
	return nil
}

func (c *blockingConn) parse(s *session.Session, data []byte) {
	defer c.server.recoverRead(s)
	s.Heard()
	if c.failed {
		return
	}
	if err := c.reader.Feed(data, s); err != nil {
		c.failed = true
		failRead(s, err)
	}
	s.EndRead()
}

// readLoop reads until the connection ends.
//
// Goroutine: one for each connection, ended by Close; Server.readers waits for
// it.
func (c *blockingConn) readLoop(size int) {
	defer c.server.readers.Done()
	s := c.ws.SessionWithLock().(*session.Session)
	buf := make([]byte, size)
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
	if s, ok := c.ws.SessionWithLock().(*session.Session); ok {
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

// Close closes the connection at once. Under TLS the socket below is closed
// first: TLS would try for seconds to say good-bye to a peer that has stalled.
func (c *blockingConn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	if t, ok := c.conn.(*tls.Conn); ok {
		_ = t.NetConn().Close()
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
