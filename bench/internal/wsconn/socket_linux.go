package wsconn

import (
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dial begins a connection, from src if valid. The socket becomes writable when
// the connection is made or has failed.
func dial(dst netip.AddrPort, src netip.Addr) (fd int, err error) {
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

// dialError is the result of a finished connect.
func dialError(fd int) error {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_ERROR", err)
	}
	if v != 0 {
		return os.NewSyscallError("connect", syscall.Errno(v))
	}
	return nil
}

// receive returns 0 when nothing has arrived, and ErrEnded at the end of the
// stream.
func receive(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		switch {
		case errno == 0 && n == 0:
			return 0, ErrEnded
		case errno == 0:
			return int(n), nil
		case errno == unix.EAGAIN:
			return 0, nil
		case errno != unix.EINTR:
			return 0, os.NewSyscallError("read", errno)
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
			return done, os.NewSyscallError("write", errno)
		}
	}
	return done, nil
}

func closeSocket(fd int) { _ = unix.Close(fd) }

// resetSocket closes with RST: no TIME_WAIT, and the peer sees an abrupt end.
func resetSocket(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// PreciseTimers ties the calling goroutine to its thread and tells the kernel to
// wake the thread on time instead of up to 50 µs late. The result undoes both.
func PreciseTimers() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) // 0: back to the default
		runtime.UnlockOSThread()
	}
}
