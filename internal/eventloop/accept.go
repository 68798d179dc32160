package eventloop

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/lesismal/nbio"
)

// accept serves the connections of one listener until it is closed.
//
// nbio could accept by itself, but sets the deadline of the handshake after the
// poller may have begun to read: a quick handshake then loses the race, and its
// session is closed by a deadline that nobody cleared.
//
// Goroutine: one for each listener, ended by CloseListeners; Loop.accepting
// waits for it.
func (l *Loop) accept(ln *limitedListener) {
	yield := yielder{iterations: l.iterations}
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		begun := time.Now()
		l.add(conn)
		yield.yieldAfter(begun)
	}
}

// add serves a connection in the way that the mode wants: by net/http's server,
// with a goroutine of its own, as long as there are fewer than
// BlockingConnections and under blocking TLS; or on a poller.
func (l *Loop) add(conn net.Conn) {
	if l.blocking.Add(1) <= int64(l.opts.BlockingConnections()) || l.stdTLS != nil {
		c := l.newServerConn(conn, conn.RemoteAddr())
		c.blocking = true
		if l.stdTLS != nil {
			// One configuration for all: its session tickets are good at each
			// listener.
			c.std = tls.Server(conn, l.stdTLS)
			c.Conn = c.std
		}
		l.give(c)
		return
	}
	l.blocking.Add(-1)
	l.addPoller(conn)
}

// addPoller puts a connection on its poller.
func (l *Loop) addPoller(conn net.Conn) {
	nbc, err := l.pollerConn(conn)
	if err != nil {
		_ = conn.Close()
		l.admission.ConnectionEnded(conn.RemoteAddr())
		l.counters.AcceptErrors.Add(1)
		l.warnAccept(err)
		return
	}
	h := newHTTPConn(l, nbc)
	l.wheel.Schedule(&h.timer, time.Now().Add(l.opts.HandshakeTimeout))
	_ = l.addConn(nbc, h) // the end of nbc has been told
}

// pollerConn makes nbio's kind of connection of one; on an error the caller
// closes conn.
func (l *Loop) pollerConn(conn net.Conn) (*nbio.Conn, error) {
	// The poller works on a duplicate of the descriptor. When there is none to
	// be had, this connection waits, and with it all that come after.
	nbc, err := nbio.NBConn(conn)
	for err != nil && exhausted(err) && !l.draining.Load() {
		l.counters.AcceptErrors.Add(1)
		l.warnAccept(err)
		time.Sleep(acceptPause)
		nbc, err = nbio.NBConn(conn)
	}
	if err == nil && nbc.Hash() >= nbio.MaxOpenFiles {
		_ = nbc.Close()
		err = errDescriptorTable
	}
	return nbc, err
}

// addConn has a poller serve a connection as its kind says. On an error nbc is
// closed.
func (l *Loop) addConn(nbc *nbio.Conn, kind pollerConn) error {
	nbc.SetSession(kind)
	// The kernel orders this before anything that the poller does, but the race
	// detector does not know.
	nbc.Lock()
	nbc.Unlock() //nolint:staticcheck // see above
	_, err := l.engine.Engine.AddConn(nbc)
	if err != nil {
		l.log.Warn().Err(err).Msg("a connection could not be added to its poller")
	}
	return err
}
