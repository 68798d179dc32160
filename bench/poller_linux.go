package bench

import (
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is one epoll instance, level-triggered; another one can be part of it. It belongs to one goroutine.
//
// Sockets here never block, so their system calls go past Go's scheduler
// (RawSyscall): with one core for the whole process the hand-over of the
// processor around each call costs more than the call.
type poller struct {
	fd     int
	events []unix.EpollEvent
	coarse bool // no epoll_pwait2: milliseconds only
}

func newPoller(events int) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &poller{fd: fd, events: make([]unix.EpollEvent, events)}, nil
}

func (p *poller) close() { _ = unix.Close(p.fd) }

// wait returns the number of ready sockets after at most timeout ns.
func (p *poller) wait(timeout int64) (int, error) {
	// What is ready already needs no scheduler.
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno == 0 && n > 0 {
		return int(n), nil
	}
	if timeout <= 0 {
		return 0, nil
	}
	if !p.coarse {
		ts := unix.NsecToTimespec(timeout)
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			return 0, nil
		case unix.ENOSYS:
			p.coarse = true // Linux before 5.11
		default:
			return 0, os.NewSyscallError("epoll_pwait2", errno)
		}
	}
	m, err := unix.EpollWait(p.fd, p.events, int((timeout+999_999)/1_000_000))
	if err == unix.EINTR {
		return 0, nil
	}
	return max(m, 0), os.NewSyscallError("epoll_wait", err)
}

func (p *poller) ready(i int) (fd int, readable, writable bool) {
	ev := &p.events[i]
	const hup = unix.EPOLLHUP | unix.EPOLLERR
	return int(ev.Fd), ev.Events&(unix.EPOLLIN|hup) != 0, ev.Events&(unix.EPOLLOUT|hup) != 0
}

func (p *poller) add(fd int, write bool) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, event(fd, write)))
}

func (p *poller) modify(fd int, write bool) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, event(fd, write)))
}

func event(fd int, write bool) *unix.EpollEvent {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if write {
		ev.Events |= unix.EPOLLOUT
	}
	return &ev
}

// sockConnect begins a connection; it is made, or has failed, when the socket
// becomes writable.
func sockConnect(dst netip.AddrPort, src netip.Addr) (fd int, err error) {
	domain := unix.AF_INET
	if !dst.Addr().Is4() {
		domain = unix.AF_INET6
	}
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	fail := func(call string, err error) (int, error) {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError(call, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fail("setsockopt TCP_NODELAY", err)
	}
	if src.IsValid() {
		// The port is chosen at connect, when the whole four-tuple is known, so
		// that each source address has the full range for itself.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return fail("setsockopt IP_BIND_ADDRESS_NO_PORT", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: src.As4()}); err != nil {
			return fail("bind", err)
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(dst.Port()), Addr: dst.Addr().As16()}
	if dst.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(dst.Port()), Addr: dst.Addr().As4()}
	}
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		return fail("connect", err)
	}
	return fd, nil
}

// sockError is the result of a finished connect.
func sockError(fd int) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_ERROR", err)
	}
	if v != 0 {
		return os.NewSyscallError("connect", syscall.Errno(v))
	}
	return nil
}

// sockRead returns n = 0 and no error when nothing is there, and errEOF at the
// end.
func sockRead(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		switch {
		case errno == 0 && n == 0:
			return 0, errEOF
		case errno == 0:
			return int(n), nil
		case errno == unix.EAGAIN:
			return 0, nil
		case errno != unix.EINTR:
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

// sockWrite writes what the kernel takes now.
func sockWrite(fd int, b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[done])), uintptr(len(b)-done), unix.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == 0:
			done += int(n)
		case errno == unix.EAGAIN:
			return done, nil
		case errno != unix.EINTR:
			return done, os.NewSyscallError("write", errno)
		}
	}
	return done, nil
}

func sockClose(fd int) { _ = unix.Close(fd) }

// sockReset closes with RST: no TIME_WAIT, and the peer sees an abrupt end.
func sockReset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// preciseTimers ties the calling goroutine to its thread and has the kernel
// wake it on time instead of up to 50 µs later. The result undoes both.
func preciseTimers() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: back to the default
		runtime.UnlockOSThread()
	}
}
