package wsconn

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Poller is a level-triggered epoll instance. It belongs to one goroutine.
//
// Sockets here never block, so their system calls go past Go's scheduler
// (RawSyscall): with one core for the whole process the hand-over of the
// processor around each call costs more than the call.
type Poller struct {
	fd     int
	events []unix.EpollEvent
	coarse bool // no epoll_pwait2: milliseconds only
}

// NewPoller returns a poller that reports at most so many events at once.
func NewPoller(events int) (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Poller{fd: fd, events: make([]unix.EpollEvent, events)}, nil
}

// Close frees the epoll instance; the sockets stay open.
func (p *Poller) Close() { _ = unix.Close(p.fd) }

// Wait returns the number of ready sockets after at most timeout ns.
func (p *Poller) Wait(timeout int64) (int, error) {
	// First a call that does not block, without Go's scheduler.
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

// Ready returns the i-th socket of the last Wait. A socket that was closed by
// the peer, or has failed, is both readable and writable.
func (p *Poller) Ready(i int) (fd int, readable, writable bool) {
	ev := &p.events[i]
	const hup = unix.EPOLLHUP | unix.EPOLLERR
	return int(ev.Fd), ev.Events&(unix.EPOLLIN|hup) != 0, ev.Events&(unix.EPOLLOUT|hup) != 0
}

// FD is the descriptor by which Ready names a nested poller.
func (p *Poller) FD() int { return p.fd }

// Nest makes inner a part of p: it is ready when one of its sockets is.
func (p *Poller) Nest(inner *Poller) error { return p.add(inner.fd, false) }

func (p *Poller) add(fd int, write bool) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, event(fd, write)))
}

func (p *Poller) modify(fd int, write bool) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, event(fd, write)))
}

func event(fd int, write bool) *unix.EpollEvent {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if write {
		ev.Events |= unix.EPOLLOUT
	}
	return &ev
}
