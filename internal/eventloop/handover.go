package eventloop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"

	"github.com/lesismal/nbio"
	"golang.org/x/sys/unix"
)

// handOver takes a connection from its poller, on that poller, and gives the
// connection to net/http's server.
func (l *Loop) handOver(h *httpConn) {
	remote := h.nbc.RemoteAddr()
	// The end of nbio's side is not the end of the connection.
	h.nbc.SetSession(departed{})
	socket, err := l.detach(h)
	if err != nil {
		if !errors.Is(err, errGone) {
			l.counters.AcceptErrors.Add(1)
			l.warnAccept(err)
		}
		l.admission.ConnectionEnded(remote)
		return
	}
	c := l.newServerConn(socket, remote)
	c.fromPoller, c.early, c.refusal = true, h.head, h.refusal
	if h.tls != nil {
		c.llib = h.tls
		c.Conn = newTLSStream(socket, h.tls)
	}
	l.give(c)
}

// detach returns a poller's connection as a net.Conn of its own; nbio's side is
// closed. It runs on the poller.
func (l *Loop) detach(h *httpConn) (socket net.Conn, err error) {
	defer h.nbc.Close()
	if h.unsent.Load() > 0 {
		return nil, errGone // the peer does not take the end of the TLS handshake
	}
	duplicate, err := l.duplicate(h.nbc)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(duplicate), "connection")
	defer file.Close()
	if socket, err = net.FileConn(file); err == nil && socket.RemoteAddr() == nil {
		// Without the address, the place of the address could not be given back
		// when the connection ends on a poller again.
		_ = socket.Close()
		return nil, errGone
	}
	return socket, err
}

// errGone says that a connection has ended, or that its peer has reset it; a
// reset connection has no address.
var errGone = errors.New("the connection has ended")

// duplicate returns another descriptor of a connection, which the poller does
// not look at any more. nbio relies on the closing of a descriptor for that, but
// the kernel goes on to report events of a connection with another descriptor.
func (l *Loop) duplicate(nbc *nbio.Conn) (int, error) {
	// nbio marks a connection as closed, with this lock held, before the
	// descriptor can become another connection's.
	nbc.Lock()
	defer nbc.Unlock()
	if closed, _ := nbc.IsClosed(); closed {
		return -1, errGone
	}
	if err := unix.EpollCtl(l.iterations.of(nbc).epoll, unix.EPOLL_CTL_DEL, nbc.Hash(), nil); err != nil {
		return -1, fmt.Errorf("epoll_ctl: %w", err)
	}
	return unix.FcntlInt(uintptr(nbc.Hash()), unix.F_DUPFD_CLOEXEC, 0)
}

// epollOf returns the epoll descriptor of a connection's poller, which nbio does
// not tell.
func epollOf(nbc *nbio.Conn) (int, error) {
	poller := reflect.ValueOf(nbc).Elem().FieldByName("p")
	if poller.Kind() != reflect.Pointer || poller.IsNil() {
		return -1, errNoEpoll
	}
	epoll := poller.Elem().FieldByName("epfd")
	if epoll.Kind() != reflect.Int {
		return -1, errNoEpoll
	}
	return int(epoll.Int()), nil
}

var errNoEpoll = errors.New("this version of nbio keeps its epoll descriptor elsewhere")

// departed is what is left on a poller of a connection that was handed over.
type departed struct{}

func (departed) readable(*nbio.Conn, *iteration, []byte) {}
func (departed) received([]byte)                         {}
func (departed) decrypted([]byte)                        {}
func (departed) written(int)                             {}
func (departed) accepted() bool                          { return false }
func (departed) ended(error)                             {}
