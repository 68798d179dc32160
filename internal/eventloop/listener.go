package eventloop

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/internal/httpresponse"
)

// acceptPause is how long accepting rests when descriptors are used up: the next
// try would fail at once, for ever.
const acceptPause = 50 * time.Millisecond

// refusalTime is how long a refused connection may take to read its answer.
const refusalTime = time.Second

// listenAll opens the public listeners, or none.
func (l *Loop) listenAll() ([]*limitedListener, error) {
	var all []*limitedListener
	addr := l.opts.Listen
	for range l.opts.Listeners {
		ln, err := l.listen(addr)
		if err != nil {
			closeAll(all)
			return nil, err
		}
		all = append(all, ln)
		addr = ln.Addr().String()
	}
	return all, nil
}

func closeAll(all []*limitedListener) {
	for _, ln := range all {
		_ = ln.Close()
	}
}

// listen opens a listener for the public address. Several may share it, and
// the kernel spreads the connections over them.
func (l *Loop) listen(addr string) (*limitedListener, error) {
	// Heartbeats find a peer that is gone; the kernel's probes besides would
	// cost four system calls for each connection.
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}
	if l.opts.Listeners > 1 {
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
	return &limitedListener{Listener: ln, loop: l}, nil
}

// limitedListener is a listener that answers and closes the connections that
// Admission refuses, and that does not spin when descriptors are used up.
type limitedListener struct {
	net.Listener
	loop *Loop
}

// Accept returns the next connection that is let in, counted, or net.ErrClosed.
func (ln *limitedListener) Accept() (net.Conn, error) {
	l := ln.loop
	for {
		conn, err := ln.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, net.ErrClosed
		case errors.Is(err, syscall.ECONNABORTED):
			// The peer was gone before it was accepted (accept(2)).
			l.counters.AcceptErrors.Add(1)
			continue
		case err != nil:
			l.counters.AcceptErrors.Add(1)
			l.warnAccept(err)
			time.Sleep(acceptPause)
			continue
		}
		if refusal := l.admission.ConnectionAccepted(conn.RemoteAddr()); refusal != nil {
			l.refuseConnection(conn, refusal)
			continue
		}
		return conn, nil
	}
}

// refuseConnection answers a connection that is not let in. Closing it with the
// request unread would reset it, and the answer might be lost: so the request
// is read, for a short time and by a bounded number of goroutines, which
// Loop.readers waits for.
func (l *Loop) refuseConnection(conn net.Conn, refusal *httpresponse.Buffer) {
	if l.opts.TLSCert != "" {
		_ = conn.Close()
		return
	}
	if l.refusing.Add(1) > int64(l.opts.MaxRefusing) {
		l.refusing.Add(-1)
		_ = conn.Close()
		return
	}
	l.readers.Go(func() {
		defer l.refusing.Add(-1)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(refusalTime))
		_, _ = conn.Write(refusal.Encode(true, true))
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxHTTPHeader))
	})
}
