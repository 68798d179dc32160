package eventloop

import (
	"net"
	"syscall"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// tuneSocket keeps the kernel from taking in more of a session's output than
// it can send soon (TCP_NOTSENT_LOWAT, tcp(7)). What waits should wait in the
// outbox, where it is bounded, where the oldest telemetry can give way and
// where urgent messages overtake. A kernel that does not know the option
// leaves its own, larger bound.
func (l *Loop) tuneSocket(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, l.opts.MaxUnsent)
	})
}

// unacknowledged returns how many bytes the kernel holds for a peer (SIOCOUTQ,
// tcp(7)), or 0 when it does not tell.
func unacknowledged(conn net.Conn) (n int) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	})
	return n
}

// closeOnPoller ends a poller connection in both directions, whatever is
// queued, and leaves closing it to its poller, which notices at once. Closed by
// any other goroutine, the descriptor may be given to a new connection while
// the poller still has an event of the old one to look at: that it would take
// for the end of the new one.
func closeOnPoller(nbc *nbio.Conn) {
	nbc.Lock()
	defer nbc.Unlock()
	if closed, _ := nbc.IsClosed(); !closed {
		_ = unix.Shutdown(nbc.Hash(), unix.SHUT_RDWR)
	}
}
