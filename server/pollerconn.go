package server

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp/websocket"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// pollerConn is an upgraded connection on the event loop. It takes the place
// of nbio's WebSocket parser where the connection's bytes come in: it is the
// nbio connection's session, while the websocket.Conn keeps ours.
//
// Parse runs on the connection's poller; everything else on any goroutine.
type pollerConn struct {
	server *Server
	ws     *websocket.Conn
	nbc    *nbio.Conn
	out    net.Conn // nbc, or the TLS connection on top of it

	// Owned by the poller.
	reader wsframe.Reader
	failed bool

	// unsent counts bytes handed to nbio that the kernel has not taken.
	unsent atomic.Int64

	// tls serialises reading, writing and closing of llib's TLS connection,
	// which is not safe otherwise; nil without TLS. Nothing blocks under it:
	// nbio queues what the kernel does not take.
	tls *sync.Mutex
}

// Parse reads what arrived on the poller: it is nbio's ParserCloser.
func (c *pollerConn) Parse(data []byte) error {
	s := c.ws.Session().(*session.Session)
	defer c.server.recoverRead(s)
	s.Heard()
	if c.failed {
		return nil
	}
	if err := c.reader.Feed(data, s); err != nil {
		c.failed = true
		failRead(s, err)
	}
	s.EndRead()
	return nil
}

// UnderlayerConn returns the connection below the WebSocket, for nbio.
func (c *pollerConn) UnderlayerConn() net.Conn { return c.ws.UnderlayerConn() }

// CloseAndClean is called by nbio when the connection has ended.
func (c *pollerConn) CloseAndClean(err error) {
	_ = c.Close()
	c.ws.CloseAndClean(err)
	if s, ok := c.ws.Session().(*session.Session); ok {
		s.TransportClosed(err)
	}
}

// Write hands b to nbio, which sends what the kernel takes and queues the rest.
func (c *pollerConn) Write(b []byte) (int, error) {
	if c.tls != nil {
		c.tls.Lock()
		defer c.tls.Unlock()
		return c.out.Write(b)
	}
	c.unsent.Add(int64(len(b)))
	return c.out.Write(b)
}

// Buffered returns how much of what was written waits in nbio.
func (c *pollerConn) Buffered() int { return int(max(c.unsent.Load(), 0)) }

// Close closes the connection at once.
func (c *pollerConn) Close() error {
	if c.tls != nil {
		c.tls.Lock()
		defer c.tls.Unlock()
	}
	return c.out.Close()
}

// written is told by nbio what the kernel took. It runs with nbio's lock of the
// connection held.
func (c *pollerConn) written(n int) {
	c.unsent.Add(int64(-n))
	if s, ok := c.ws.Session().(*session.Session); ok {
		s.Writable()
	}
}

// countingConn counts the records that llib's TLS hands to nbio.
type countingConn struct {
	*nbio.Conn
	c *pollerConn
}

// Write counts b as unsent and hands it on.
func (w *countingConn) Write(b []byte) (int, error) {
	w.c.unsent.Add(int64(len(b)))
	return w.Conn.Write(b)
}

// readTLS decrypts what arrived and parses it; it replaces nbio's own handler
// so that reading is serialised with writing.
func readTLS(nbc *nbio.Conn, data []byte) {
	c, ok := nbc.Session().(*pollerConn)
	if !ok {
		return
	}
	conn := c.out.(*tls.Conn)
	cipher, plain := data, data
	for {
		c.tls.Lock()
		_, n, err := conn.AppendAndRead(cipher, plain)
		c.tls.Unlock()
		cipher = nil
		if err != nil {
			_ = nbc.CloseWithError(err)
			break
		}
		if n == 0 {
			break
		}
		_ = c.Parse(plain[:n])
	}
	c.tls.Lock()
	conn.ResetOrFreeBuffer()
	c.tls.Unlock()
}

// failRead closes a session whose peer broke the WebSocket protocol, or whose
// message could not be handled.
func failRead(s *session.Session, err error) {
	var broken *wsframe.Error
	if errors.As(err, &broken) {
		s.Fail(protocol.CloseCode(broken.Code), broken.Error())
		return
	}
	s.Fail(protocol.CloseInternal, err.Error())
}
