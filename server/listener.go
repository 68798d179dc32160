package server

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptPause is how long accepting rests when descriptors are used up: the
// next try would fail at once, for ever.
const acceptPause = 50 * time.Millisecond

// listenAll opens the public listeners, or none.
func (s *Server) listenAll() ([]*gate, error) {
	var gates []*gate
	addr := s.opts.Listen
	for range s.opts.Listeners {
		g, err := s.listen(addr)
		if err != nil {
			closeAll(gates)
			return nil, err
		}
		gates = append(gates, g)
		addr = g.Addr().String()
	}
	return gates, nil
}

func closeAll(gates []*gate) {
	for _, g := range gates {
		_ = g.Close()
	}
}

// listen opens a listener for the public address. Several may share it, and
// the kernel spreads the connections over them.
func (s *Server) listen(addr string) (*gate, error) {
	// Heartbeats find a peer that is gone; the kernel's probes besides would
	// cost four system calls for each connection.
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	if s.opts.Listeners > 1 {
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			return errors.Join(err, opt)
		}
	}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &gate{Listener: ln, s: s}, nil
}

// gate is a listener that refuses connections above the limits with an answer,
// and that does not spin when descriptors are used up.
type gate struct {
	net.Listener
	s *Server
}

// Accept returns the next connection that is let in, counted, or net.ErrClosed.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, net.ErrClosed
		case errors.Is(err, syscall.ECONNABORTED):
			// The peer was gone before it was accepted (accept(2)).
			g.s.stats.acceptErrors.Add(1)
			continue
		case err != nil:
			g.s.stats.acceptErrors.Add(1)
			g.s.warnAccept(err)
			time.Sleep(acceptPause)
			continue
		}
		if ref := g.s.admitConnection(conn); ref != nil {
			g.s.turnAway(conn, ref)
			continue
		}
		return conn, nil
	}
}

const (
	// maxTurningAway bounds the refused connections that are given time to
	// read their answer; with few descriptors there are fewer.
	maxTurningAway = 512
	turnAwayTime   = time.Second
)

// turnAway answers a connection that is not let in. Closing it with the
// request unread would reset it, and the answer might be lost: so the request
// is read, for a short time and by a bounded number of goroutines, which
// Server.readers waits for.
func (s *Server) turnAway(conn net.Conn, ref *refusal) {
	if s.opts.TLSCert != "" || s.turningAway.Add(1) > s.maxTurning {
		if s.opts.TLSCert == "" {
			s.turningAway.Add(-1)
		}
		_ = conn.Close()
		return
	}
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		defer s.turningAway.Add(-1)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(turnAwayTime))
		var a answer
		a.Header().Set("Retry-After", ref.retryAfter)
		writeError(&a, ref.status, ref.code, ref.message)
		_, _ = conn.Write(a.encode(true, true))
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxHTTPHeader))
	}()
}

// retryAfter is the value of the header field Retry-After, in whole seconds.
func (s *Server) retryAfter() string {
	return strconv.Itoa(max(1, int(math.Ceil(s.opts.RetryAfter.Seconds()))))
}
