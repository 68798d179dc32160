package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acceptPause is how long accepting rests when descriptors are used up: the
// event loop would try again at once, for ever.
const acceptPause = 50 * time.Millisecond

// listen opens a listener for the public address. Several may share it, and
// the kernel spreads the connections over them.
func (s *Server) listen(network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	if s.opts.Listeners > 1 {
		lc.Control = func(_, _ string, c syscall.RawConn) error {
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			return errors.Join(err, opt)
		}
	}
	ln, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	g := &gate{Listener: ln, s: s, released: make(chan struct{})}
	s.mu.Lock()
	s.gates = append(s.gates, g)
	s.mu.Unlock()
	return g, nil
}

// gate is a listener that can stop accepting while the connections it has
// accepted go on, that refuses connections above the limit with an answer, and
// that does not spin when descriptors are used up.
type gate struct {
	net.Listener
	s        *Server
	released chan struct{}
	once     sync.Once
	stop     sync.Once
}

// Accept returns the next connection within the limit. After stopAccepting it
// blocks until Close: the event loop takes an error for something to repeat.
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			<-g.released
			return nil, net.ErrClosed
		case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
			g.s.stats.acceptErrors.Add(1)
			g.s.warnAccept(err)
			time.Sleep(acceptPause)
			continue
		case err != nil:
			// The peer was gone before it was accepted (accept(2)).
			g.s.stats.acceptErrors.Add(1)
			continue
		}
		if g.s.stats.connections.Load() >= int64(g.s.opts.MaxConnections) {
			g.s.stats.refusedConnections.Add(1)
			turnAway(conn, g.s.opts.MaxConnections, g.s.opts.RetryAfter, g.s.opts.TLSCert != "")
			continue
		}
		return conn, nil
	}
}

// Close lets a blocked Accept go.
func (g *gate) Close() error {
	g.stopAccepting()
	g.once.Do(func() { close(g.released) })
	return nil
}

// stopAccepting closes the listening socket only.
func (g *gate) stopAccepting() {
	g.stop.Do(func() { _ = g.Listener.Close() })
}

// turnAway answers a connection that is one too many. The answer fits into an
// empty send buffer, so it never blocks.
func turnAway(conn net.Conn, limit int, retryAfter time.Duration, encrypted bool) {
	if !encrypted {
		body := fmt.Sprintf(`{"error":{"code":"overloaded","message":"the gateway serves its limit of %d connections; try again later, or raise --max-connections"}}`, limit)
		_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: %d\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", max(1, int(retryAfter.Seconds())), len(body), body)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.Close()
}

// raiseDescriptorLimit raises the soft limit to the hard one and returns it.
func raiseDescriptorLimit() (int, error) {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 0, err
	}
	if lim.Cur < lim.Max {
		raised := unix.Rlimit{Cur: lim.Max, Max: lim.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &raised); err != nil {
			return int(min(lim.Cur, 1<<21)), nil
		}
	}
	return int(min(lim.Max, 1<<21)), nil
}

func descriptorLimit() (int, error) {
	var lim unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim)
	return int(min(lim.Cur, 1<<21)), err
}
