package server

import (
	"net"
	"time"

	"github.com/lesismal/llib/std/crypto/tls"
	"github.com/lesismal/nbio"
	"github.com/lesismal/nbio/nbhttp"
)

// accept serves the connections of one listener until it is closed.
//
// nbio could accept by itself, but sets the deadline of the handshake after the
// poller may have begun to read: a quick handshake then loses the race, and its
// session is closed by a deadline that nobody cleared.
//
// Goroutine: one for each listener, ended by gate.Close; Server.accepting waits
// for it.
func (s *Server) accept(g *gate) {
	defer s.accepting.Done()
	pace := pacer{turns: s.turns}
	for {
		conn, err := g.Accept()
		if err != nil {
			return
		}
		begun := time.Now()
		if s.nextIsBlocking() {
			s.addBlocking(conn)
		} else {
			s.addPoller(conn)
		}
		pace.worked(begun)
	}
}

// nextIsBlocking decides who serves a new connection, and counts it.
func (s *Server) nextIsBlocking() bool {
	switch s.opts.IOMode {
	case IOBlocking:
		return true
	case IOMixed:
		if s.blockingOnline.Add(1) <= int64(s.opts.MixedThreshold) {
			return true
		}
		s.blockingOnline.Add(-1)
	}
	return false
}

// addPoller puts a connection on its poller.
func (s *Server) addPoller(conn net.Conn) {
	// The poller works on a duplicate of the descriptor. When there is none to
	// be had, this connection waits, and with it all that come after.
	nbc, err := nbio.NBConn(conn)
	for err != nil && exhausted(err) && !s.draining.Load() {
		s.stats.acceptErrors.Add(1)
		s.warnAccept(err)
		time.Sleep(acceptPause)
		nbc, err = nbio.NBConn(conn)
	}
	if err != nil {
		_ = conn.Close()
		s.notAccepted(conn, err)
		return
	}
	if nbc.Hash() >= nbio.MaxOpenFiles {
		_ = nbc.Close()
		s.notAccepted(conn, errDescriptorTable)
		return
	}
	h := newHTTPConn(s)
	h.nbc = nbc
	c := &nbhttp.Conn{Conn: nbc}
	if s.llibTLS != nil {
		h.tls = tls.NewConn(&countingConn{nbc, &h.unsent}, s.llibTLS, false, true, s.engine.TLSAllocator)
		c.Conn = h.tls
	}
	h.conn = c
	parser := nbhttp.NewParser(c, s.engine, h, false, nbc.Execute)
	c.Parser = parser
	nbc.SetSession(parser)
	nbc.OnData(h.onData)
	s.manager.Wheel().Schedule(&h.timer, time.Now().Add(s.opts.HandshakeTimeout))
	// The kernel orders this before anything that the poller does, but the race
	// detector does not know.
	nbc.Lock()
	nbc.Unlock() //nolint:staticcheck // see above
	if _, err := s.engine.Engine.AddConn(nbc); err != nil {
		s.log.Warn().Err(err).Msg("a connection could not be added to its poller")
	}
}

// pollerClosed is told by nbio that a connection has ended, once for each that
// was added, on one goroutine for all.
func (s *Server) pollerClosed(nbc *nbio.Conn, err error) {
	if _, probe := nbc.Session().(*turn); probe {
		return
	}
	begun := time.Now()
	s.connectionEnded(nbc.RemoteAddr())
	if c, ok := nbc.Session().(nbhttp.ParserCloser); ok {
		c.CloseAndClean(err)
	}
	s.closing.worked(begun)
}

// notAccepted books a connection that was accepted in vain.
func (s *Server) notAccepted(conn net.Conn, err error) {
	s.connectionEnded(conn.RemoteAddr())
	s.stats.acceptErrors.Add(1)
	s.warnAccept(err)
}

// addBlocking gives a connection a reading goroutine.
func (s *Server) addBlocking(conn net.Conn) {
	s.mu.Lock()
	s.blocking[conn] = struct{}{}
	s.mu.Unlock()
	s.readers.Add(1)
	go s.serveBlocking(conn)
}

// serveBlocking reads requests, and then the session that one of them has made.
//
// Goroutine: one for each blocking connection, ended when that is closed;
// Server.readers waits for it.
func (s *Server) serveBlocking(conn net.Conn) {
	defer s.readers.Done()
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.blocking, conn)
		s.mu.Unlock()
		if s.opts.IOMode == IOMixed {
			s.blockingOnline.Add(-1)
		}
		s.connectionEnded(conn.RemoteAddr())
	}()
	c := &nbhttp.Conn{Conn: conn}
	h := newHTTPConn(s)
	h.conn = c
	parser := nbhttp.NewParser(c, s.engine, h, false, nbhttp.SyncExecutor)
	c.Parser = parser
	buf := make([]byte, s.opts.ReadBuffer)
	err := conn.SetReadDeadline(time.Now().Add(s.opts.HandshakeTimeout))
	for err == nil && parser.ParserCloser == nil {
		var n int
		if n, err = conn.Read(buf); n > 0 {
			h.parse(parser, buf[:n])
		}
	}
	parser.CloseAndClean(err)
	if upgraded, ok := parser.ParserCloser.(*blockingConn); ok {
		upgraded.readLoop(buf)
	}
}

// closeBlocking closes the connections that have a reading goroutine.
func (s *Server) closeBlocking() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.blocking {
		_ = conn.Close()
	}
}
