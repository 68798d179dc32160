package eventloop

import (
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

// add serves a connection in the way that the mode wants: with a goroutine of
// its own as long as there are fewer than BlockingConnections, or on its poller.
func (l *Loop) add(conn net.Conn) {
	if l.blocking.Add(1) <= int64(l.opts.BlockingConnections()) {
		l.addBlocking(conn)
		return
	}
	l.blocking.Add(-1)
	l.addPoller(conn)
}

// addPoller puts a connection on its poller.
func (l *Loop) addPoller(conn net.Conn) {
	// The poller works on a duplicate of the descriptor. When there is none to
	// be had, this connection waits, and with it all that come after.
	nbc, err := nbio.NBConn(conn)
	for err != nil && exhausted(err) && !l.draining.Load() {
		l.counters.AcceptErrors.Add(1)
		l.warnAccept(err)
		time.Sleep(acceptPause)
		nbc, err = nbio.NBConn(conn)
	}
	if err != nil {
		_ = conn.Close()
		l.acceptFailed(conn, err)
		return
	}
	if nbc.Hash() >= nbio.MaxOpenFiles {
		_ = nbc.Close()
		l.acceptFailed(conn, errDescriptorTable)
		return
	}
	h := newPollerHTTPConn(l, nbc)
	nbc.SetSession(h)
	l.wheel.Schedule(&h.timer, time.Now().Add(l.opts.HandshakeTimeout))
	// The kernel orders this before anything that the poller does, but the race
	// detector does not know.
	nbc.Lock()
	nbc.Unlock() //nolint:staticcheck // see above
	if _, err := l.engine.Engine.AddConn(nbc); err != nil {
		l.log.Warn().Err(err).Msg("a connection could not be added to its poller")
	}
}

// acceptFailed books a connection that was accepted in vain.
func (l *Loop) acceptFailed(conn net.Conn, err error) {
	l.admission.ConnectionEnded(conn.RemoteAddr())
	l.counters.AcceptErrors.Add(1)
	l.warnAccept(err)
}

// addBlocking gives a connection a reading goroutine.
func (l *Loop) addBlocking(conn net.Conn) {
	l.mu.Lock()
	l.blockingConns[conn] = struct{}{}
	l.mu.Unlock()
	l.readers.Add(1)
	go l.serveBlocking(conn)
}

// serveBlocking reads requests, and then the session that one of them has made.
//
// Goroutine: one for each blocking connection, ended when that is closed;
// Loop.readers waits for it.
func (l *Loop) serveBlocking(conn net.Conn) {
	defer l.readers.Done()
	defer func() {
		_ = conn.Close()
		l.mu.Lock()
		delete(l.blockingConns, conn)
		l.mu.Unlock()
		l.blocking.Add(-1)
		l.admission.ConnectionEnded(conn.RemoteAddr())
	}()
	h := newBlockingHTTPConn(l, conn)
	buf := make([]byte, l.opts.ReadBuffer)
	err := conn.SetReadDeadline(time.Now().Add(l.opts.HandshakeTimeout))
	for err == nil && h.parser.ParserCloser == nil {
		var n int
		if n, err = conn.Read(buf); n > 0 {
			h.decrypted(buf[:n])
		}
	}
	h.parser.CloseAndClean(err)
	if upgraded, ok := h.parser.ParserCloser.(*blockingTransport); ok {
		upgraded.readLoop(nil, buf)
	}
}

// closeBlocking closes the connections that have a reading goroutine.
func (l *Loop) closeBlocking() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.blockingConns {
		_ = conn.Close()
	}
}
