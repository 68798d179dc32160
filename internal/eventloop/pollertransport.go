package eventloop

import (
	"sync/atomic"
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// holdPause is how long a poller rests between two looks at a session that is
// held back.
const holdPause = 100 * time.Microsecond

// pollerTransport is a session's connection on the event loop. It takes the
// place of nbio's WebSocket parser where the connection's bytes come in: it is
// the nbio connection's session, while the websocket.Conn keeps ours.
//
// What reads runs on the connection's poller; everything else on any goroutine.
type pollerTransport struct {
	loop *Loop
	ws   *websocket.Conn
	nbc  *nbio.Conn
	tls  *tlsConn // nil without TLS

	// Owned by the poller.
	reader   sessionReader
	holdBack func(*session.Session) bool
	// heldSince is when the peer last took something while the session was held
	// back, heldBytes what waited then.
	heldSince time.Time
	heldBytes int

	// unsent counts bytes handed to nbio that the kernel has not taken.
	unsent atomic.Int64
}

// readable implements pollerConn.
func (c *pollerTransport) readable(nbc *nbio.Conn, it *iteration, buf []byte) {
	if c.holdBack == nil || !c.heldBack(it) {
		readAvailable(nbc, buf)
	}
}

// received implements pollerConn.
func (c *pollerTransport) received(data []byte) {
	if c.tls == nil {
		c.decrypted(data)
	} else if err := c.tls.decrypt(c.nbc, data); err != nil {
		_ = c.nbc.CloseWithError(err)
	}
}

// decrypted implements pollerConn.
func (c *pollerTransport) decrypted(data []byte) {
	if s, ok := c.ws.Session().(*session.Session); ok { // or refused after the upgrade
		c.reader.read(c.loop.panics, s, data)
	}
}

// written implements pollerConn.
func (c *pollerTransport) written(n int) {
	c.unsent.Add(int64(-n))
	if s, ok := c.ws.Session().(*session.Session); ok {
		s.Writable()
	}
}

// accepted implements pollerConn.
func (c *pollerTransport) accepted() bool { return true }

// ended implements pollerConn.
func (c *pollerTransport) ended(err error) {
	_ = c.Close()
	c.ws.CloseAndClean(err)
	if s, ok := c.ws.Session().(*session.Session); ok {
		s.TransportClosed(err)
	}
}

// Write hands b to nbio, which sends what the kernel takes and queues the rest.
func (c *pollerTransport) Write(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.write(b)
	}
	c.unsent.Add(int64(len(b)))
	return c.nbc.Write(b)
}

// Buffered returns how much of what was written waits in nbio.
func (c *pollerTransport) Buffered() int { return int(max(c.unsent.Load(), 0)) }

// Unacknowledged returns how much of what the kernel took the peer has not.
func (c *pollerTransport) Unacknowledged() int {
	c.nbc.Lock()
	defer c.nbc.Unlock()
	if closed, _ := c.nbc.IsClosed(); closed {
		return 0
	}
	return unacknowledged(c.nbc)
}

// Close ends the connection; its poller closes it. TLS says good-bye first.
func (c *pollerTransport) Close() error {
	if c.tls != nil {
		return c.tls.close()
	}
	closeOnPoller(c.nbc)
	return nil
}

// heldBack reports whether the poller is to leave a session unread. The
// connection stays ready and is served again in each loop iteration, and the
// poller must not spin: it rests in between. A peer that takes nothing for the
// time of a write is closed.
func (c *pollerTransport) heldBack(it *iteration) bool {
	s, ok := c.ws.Session().(*session.Session)
	if !ok || !s.Open() || !c.holdBack(s) || endedByPeer(c.nbc) {
		c.heldSince = time.Time{}
		return false
	}
	now := time.Now()
	left, _ := s.Queued()
	left += c.Buffered()
	if c.heldSince.IsZero() || left < c.heldBytes {
		c.heldSince, c.heldBytes = now, left
	}
	if now.Sub(c.heldSince) > c.loop.opts.WriteTimeout {
		s.Fail(protocol.CloseSlowConsumer, "it does not read what it is echoed")
		return false
	}
	if now.Sub(it.rested) >= holdPause {
		time.Sleep(holdPause)
		it.rested = time.Now()
	}
	return true
}
