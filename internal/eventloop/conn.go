package eventloop

import (
	"time"

	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
)

// pollerConn is what each kind of connection on a poller implements: nbio keeps
// it as the connection's session, and nbio's events reach the connection through
// it.
type pollerConn interface {
	// readable is called on the poller when there is something to be read. What
	// is left unread makes the connection readable again. It has nbc as an
	// argument because what accepting has written to the connection may be looked
	// at only after nbc's lock was taken, as far as the race detector knows.
	readable(nbc *nbio.Conn, it *iteration, buf []byte)
	// received takes what was read, on the poller. data is valid during the
	// call; its capacity is the poller's buffer.
	received(data []byte)
	// decrypted takes what TLS has made of data that was received; without TLS
	// what was received.
	decrypted(data []byte)
	// written is told how many bytes the kernel took. It runs with nbio's lock
	// of the connection held, on any goroutine.
	written(n int)
	// accepted reports whether the connection came through a listener.
	accepted() bool
	// ended is called once, when nbio has closed the connection, on the one
	// goroutine that clears away closed connections.
	ended(err error)
}

// connOf returns the kind of a connection.
func connOf(nbc *nbio.Conn) pollerConn {
	if c, ok := nbc.Session().(pollerConn); ok {
		return c
	}
	return departed{}
}

// dispatch connects nbio's events with the kinds of connections.
func (l *Loop) dispatch(e *nbhttp.Engine) {
	e.Engine.OnRead(func(nbc *nbio.Conn) {
		connOf(nbc).readable(nbc, l.iterations.of(nbc), e.PollerBuffer(nbc))
	})
	e.Engine.OnWrittenSize(func(nbc *nbio.Conn, _ []byte, n int) { connOf(nbc).written(n) })
	e.Engine.OnClose(func(nbc *nbio.Conn, err error) {
		c := connOf(nbc)
		if !c.accepted() {
			return
		}
		begun := time.Now()
		l.admission.ConnectionEnded(nbc.RemoteAddr())
		c.ended(err)
		l.clearing.yieldAfter(begun)
	})
}
