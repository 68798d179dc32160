package eventloop

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/session"
)

// blockingTransport is a session's connection with goroutines of its own: one
// reads, the session's writer writes.
type blockingTransport struct {
	loop   *Loop
	ws     *websocket.Conn
	conn   net.Conn
	closed atomic.Bool

	// Owned by the reading goroutine. sess is what readingSession found.
	reader sessionReader
	sess   *session.Session
}

// readLoop reads until the connection ends, on the connection's reading
// goroutine. early is what arrived right behind the handshake.
func (c *blockingTransport) readLoop(early, buf []byte) {
	s := c.readingSession()
	if len(early) > 0 {
		c.reader.read(c.loop.panics, s, early)
	}
	for {
		n, err := c.conn.Read(buf)
		if n > 0 {
			c.reader.read(c.loop.panics, s, buf[:n])
		}
		if err != nil {
			c.ended(err)
			return
		}
	}
}

// readingSession returns the session for the reading goroutine, which need not
// be the one that has upgraded the connection: the lock of the websocket.Conn
// orders what the two do. The lock is taken once a connection.
func (c *blockingTransport) readingSession() *session.Session {
	if c.sess == nil {
		c.sess = c.ws.SessionWithLock().(*session.Session)
	}
	return c.sess
}

// ended ends the session when reading has ended, on the reading
// goroutine.
func (c *blockingTransport) ended(err error) {
	_ = c.Close()
	c.ws.CloseAndClean(err)
	c.readingSession().TransportClosed(err)
	c.reader.frames.Release()
}

// Write sends all of b, or fails at the write deadline.
func (c *blockingTransport) Write(b []byte) (int, error) {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.loop.opts.WriteTimeout)); err != nil {
		return 0, err
	}
	return c.conn.Write(b)
}

// Buffered is always 0: Write returns when the kernel has everything.
func (c *blockingTransport) Buffered() int { return 0 }

// Unacknowledged returns how much of what the kernel took the peer has not.
func (c *blockingTransport) Unacknowledged() int {
	if t, ok := c.conn.(*tls.Conn); ok {
		return unacknowledged(t.NetConn())
	}
	return unacknowledged(c.conn)
}

// Close closes the connection at once. Under TLS the socket below is closed
// first, even when a polite end is under way: TLS would try for seconds to say
// good-bye to a peer that has stalled.
func (c *blockingTransport) Close() error {
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
func (c *blockingTransport) Finish() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.conn.Close()
}
