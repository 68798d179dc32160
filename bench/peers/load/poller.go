//go:build linux

package load

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is a level-triggered epoll instance. Sockets never block here, so
// their system calls go past Go's scheduler (RawSyscall), which has nothing
// else to run on this core.
type poller struct {
	fd     int
	events [512]unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &poller{fd: fd}, nil
}

func (p *poller) close() { _ = unix.Close(p.fd) }

// wait fills events, after at most timeout ns.
func (p *poller) wait(timeout int64) (int, error) {
	events, size := uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events))
	// What is ready already needs no scheduler.
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), events, size, 0, 0, 0)
	switch {
	case errno == 0 && n > 0:
		return int(n), nil
	case timeout <= 0:
		return 0, nil
	}
	ts := unix.NsecToTimespec(timeout)
	n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), events, size, uintptr(unsafe.Pointer(&ts)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_pwait2", errno) // Linux before 5.11 lacks it
}

func (p *poller) control(op, fd int, write bool) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if write {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &ev))
}

// dial begins a connection from a local address; it is made, or has failed,
// when the socket becomes writable.
func dial(to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// dialled is the result of a finished dial.
func dialled(fd int) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && v != 0 {
		err = syscall.Errno(v)
	}
	return os.NewSyscallError("connect", err)
}

// errEnded is the end of the stream without a close frame.
var errEnded = errors.New("connection ended by the server without a close frame")

// receive returns 0 when nothing is there.
func receive(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		switch {
		case errno == 0 && n == 0:
			return 0, errEnded
		case errno == 0:
			return int(n), nil
		case errno == unix.EAGAIN:
			return 0, nil
		case errno != unix.EINTR:
			return 0, os.NewSyscallError("recv", errno)
		}
	}
}

// send writes what the kernel takes now.
func send(fd int, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[done])), uintptr(len(b)-done), unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == 0:
			done += int(n)
		case errno == unix.EAGAIN:
			return done, nil
		case errno != unix.EINTR:
			return done, os.NewSyscallError("send", errno)
		}
	}
	return done, nil
}

// reset closes with RST, which leaves nothing waiting in the kernel.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}
