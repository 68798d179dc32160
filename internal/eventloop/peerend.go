package eventloop

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// This file notices the end of a peer whose request waits for its answer, also
// when the peer has sent more behind the request.

// maxExcess bounds the bytes that are dropped behind a waiting request.
const maxExcess = 1 << 20

// errExcess ends a request whose peer goes on sending behind it.
var errExcess = errors.New("too much was sent behind a request that waits for its answer")

// watch reads while a request is handled, and returns when the peer has ended its
// side. net/http reads a single byte then, and would not notice the end behind
// requests that are pipelined. watch keeps as many of their bytes as a head may
// have. The bytes behind those stay in the socket for HandshakeTimeout, in which
// most requests are answered. Then they are dropped, because the kernel does not
// report the end of a peer behind bytes that do not fit into the socket's buffer.
// In front of a session nothing is dropped.
func (c *serverConn) watch(b []byte) error {
	if c.overrun {
		return c.drop(make([]byte, 4<<10))
	}
	for len(c.early) < maxHTTPHeader {
		n, err := c.Conn.Read(b)
		c.early = append(c.early, b[:n]...)
		if err != nil {
			return err
		}
		if len(b) == 1 {
			b = make([]byte, 1<<10)
		}
	}
	if !c.serving.Load() {
		return nil
	}
	if err := c.awaitPeerEnd(); err != nil {
		return err
	}
	return c.drop(make([]byte, 4<<10))
}

// awaitPeerEnd waits for HandshakeTimeout. The error is io.EOF when the peer has
// ended its side in this time, and a timeout when net/http has ended the reading.
func (c *serverConn) awaitPeerEnd() error {
	socket, ok := c.socket.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	c.deadline.limit(c, time.Now().Add(c.loop.opts.HandshakeTimeout))
	ended := false
	err = raw.Read(func(fd uintptr) bool {
		ended = peerEnded(fd)
		return ended
	})
	aborted := c.deadline.limit(c, time.Time{})
	switch {
	case ended:
		return io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded) && !aborted:
		return nil
	}
	return err
}

// peerEnded reports whether the peer of a socket has ended its side or has reset
// the connection (poll(2)).
func peerEnded(fd uintptr) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(set, 0)
	return err == nil && n > 0
}

// drop reads and drops what the peer sends.
func (c *serverConn) drop(b []byte) error {
	for dropped := 0; dropped <= maxExcess; {
		n, err := c.Conn.Read(b)
		if n > 0 {
			c.overrun = true
			dropped += n
		}
		if err != nil {
			return err
		}
	}
	c.early = nil
	return errExcess
}

// refuseExcess refuses what was dropped, where the next bytes are to be read. In
// the middle of a body serveHTTP does that.
func (c *serverConn) refuseExcess() error {
	if !c.answering.Load() && !c.refused && !c.cutOff.Load() {
		c.refused = true
		c.loop.admission.RequestRefused(protocol.ErrTooLarge)
		c.linger.Store(true)
		_, _ = c.write(excessRefusal().Encode(true, true))
	}
	return io.ErrUnexpectedEOF
}

// excessRefusal returns the answer in place of what was dropped.
func excessRefusal() *httpresponse.Buffer {
	var response httpresponse.Buffer
	httpresponse.WriteError(&response, http.StatusRequestEntityTooLarge, protocol.ErrTooLarge,
		"more than 16 KiB arrived behind a request that waited longer than --handshake-timeout for its answer; send less ahead, or wait for the answer")
	return &response
}

// readDeadline combines the read deadline that net/http sets with the time limit
// of awaitPeerEnd. Neither may cancel the other.
type readDeadline struct {
	mu sync.Mutex
	// server is net/http's deadline and own is awaitPeerEnd's; zero: none.
	server, own time.Time
}

// limit sets the time limit of awaitPeerEnd, or removes it with the zero time. It
// reports whether net/http has set a deadline.
func (d *readDeadline) limit(c *serverConn, at time.Time) (other bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.own = at
	if !d.server.IsZero() {
		return true
	}
	_ = c.Conn.SetReadDeadline(at)
	return false
}

// SetReadDeadline implements net.Conn. net/http calls it.
func (c *serverConn) SetReadDeadline(at time.Time) error {
	d := &c.deadline
	d.mu.Lock()
	defer d.mu.Unlock()
	d.server = at
	if at.IsZero() {
		at = d.own
	}
	return c.Conn.SetReadDeadline(at)
}
