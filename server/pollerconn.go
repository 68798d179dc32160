package server

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

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
	// mayHold is true for an echo session, whose reading may be held up;
	// heldSince is when its peer last took something while it was, heldBytes what
	// waited then.
	mayHold   bool
	heldSince time.Time
	heldBytes int

	// unsent counts bytes handed to nbio that the kernel has not taken.
	unsent atomic.Int64

	// tls is httpConn.tlsMu; nil without TLS.
	tls *sync.Mutex
}

// Parse reads what arrived on the poller: it is nbio's ParserCloser.
func (c *pollerConn) Parse(data []byte) error {
	s, ok := c.ws.Session().(*session.Session)
	if !ok {
		// Turned down after the upgrade.
		return nil
	}
	s.Heard()
	if c.failed {
		hearOut(s, data)
		return nil
	}
	defer c.server.recoverRead(s, &c.failed)
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

// Unacknowledged returns how much of what the kernel took the peer has not.
func (c *pollerConn) Unacknowledged() int {
	c.nbc.Lock()
	defer c.nbc.Unlock()
	if closed, _ := c.nbc.IsClosed(); closed {
		return 0
	}
	return unacknowledged(c.nbc)
}

// Close ends the connection; its poller closes it. TLS says good-bye first.
func (c *pollerConn) Close() error {
	if c.tls != nil {
		c.tls.Lock()
		defer c.tls.Unlock()
		return c.out.Close()
	}
	closeOnPoller(c.nbc)
	return nil
}

// written is told by nbio what the kernel took. It runs with nbio's lock of the
// connection held.
func (c *pollerConn) written(n int) {
	c.unsent.Add(int64(-n))
	if s, ok := c.ws.Session().(*session.Session); ok {
		s.Writable()
	}
}

// onPollerData takes what the poller has read for a session.
func onPollerData(nbc *nbio.Conn, data []byte) {
	c := nbc.Session().(*pollerConn)
	if c.tls != nil {
		readTLS(nbc, c.out.(*tls.Conn), c.tls, data)
		return
	}
	_ = c.Parse(data)
}

// failRead closes a session whose peer broke the WebSocket protocol, or whose
// message could not be handled. The answers to what came before are sent.
func failRead(s *session.Session, err error) {
	var broken *wsframe.Error
	if errors.As(err, &broken) {
		s.Close(protocol.CloseCode(broken.Code), broken.Error())
		return
	}
	s.Fail(protocol.CloseInternal, err.Error())
}

// hearOut takes what a peer sends after its session has failed. Frames cannot
// be told apart any more, but a read that ends in what looks like a close frame
// is the peer's answer to ours, and the connection may end.
func hearOut(s *session.Session, data []byte) {
	if endsInClose(data) {
		_ = s.HandleControl(wsframe.OpClose, nil)
	}
}

// endsInClose reports whether the last bytes have the form of a masked close
// frame (RFC 6455 section 5.5.1).
func endsInClose(data []byte) bool {
	const header, masked = 6, 0x80
	for n := 0; n <= min(wsframe.MaxControlPayload, len(data)-header); n++ {
		f := data[len(data)-header-n:]
		if f[0] != masked|byte(wsframe.OpClose) || f[1] != masked|byte(n) || n == 1 {
			continue
		}
		if n == 0 {
			return true
		}
		// The code, unmasked.
		if code := binary.BigEndian.Uint16(f[header:]) ^ binary.BigEndian.Uint16(f[2:]); code >= 1000 && code < 5000 {
			return true
		}
	}
	return false
}
