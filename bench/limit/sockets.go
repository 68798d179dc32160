//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tick limits the delay until the end of ctx is noticed.
const tick = 50 * time.Millisecond

// sockets are plain non-blocking connections and the epoll instance that
// watches them. They belong to one goroutine.
type sockets struct {
	epoll  int
	fds    []int
	events []unix.EpollEvent
}

func newSockets() (*sockets, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &sockets{epoll: fd, events: make([]unix.EpollEvent, 256)}, nil
}

func (s *sockets) close() {
	for _, fd := range s.fds {
		_ = unix.Close(fd)
	}
	s.fds = nil
	_ = unix.Close(s.epoll)
}

// add watches fd; index comes back from wait. s owns fd from here on.
func (s *sockets) add(fd, index int, events uint32) error {
	s.fds = append(s.fds, fd)
	ev := unix.EpollEvent{Events: events, Fd: int32(index)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &ev))
}

// wait returns how many of s.events are filled.
func (s *sockets) wait(timeout time.Duration) (int, error) {
	n, err := unix.EpollWait(s.epoll, s.events, int(timeout.Milliseconds()))
	if err == unix.EINTR {
		return 0, nil
	}
	return n, os.NewSyscallError("epoll_wait", err)
}

// listen opens a loopback listener and returns the address it got.
func listen(at netip.AddrPort) (fd int, got netip.AddrPort, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, got, os.NewSyscallError("socket", err)
	}
	fail := func(call string, err error) (int, netip.AddrPort, error) {
		_ = unix.Close(fd)
		return -1, got, os.NewSyscallError(call, err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return fail("bind", err)
	}
	if err := unix.Listen(fd, 1024); err != nil {
		return fail("listen", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return fail("getsockname", err)
	}
	return fd, netip.AddrPortFrom(at.Addr(), uint16(sa.(*unix.SockaddrInet4).Port)), nil
}

// accept takes n connections off the listener within a time.
func (s *sockets) accept(ctx context.Context, listener, n int, within time.Duration, events uint32) error {
	deadline := time.Now().Add(within)
	for len(s.fds) < n {
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			if err := s.add(fd, len(s.fds), events); err != nil {
				return err
			}
		case err != unix.EAGAIN && err != unix.EINTR:
			return os.NewSyscallError("accept4", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("%d of %d receivers connected within %v", len(s.fds), n, within)
		default:
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// connect opens n connections; on loopback each is made at once or not at all.
func (s *sockets) connect(to netip.AddrPort, n int, events uint32) error {
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			_ = unix.Close(fd)
			return os.NewSyscallError("connect", err)
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(fd)
			return os.NewSyscallError("fcntl", err)
		}
		if err := s.add(fd, i, events); err != nil {
			return err
		}
	}
	return nil
}
