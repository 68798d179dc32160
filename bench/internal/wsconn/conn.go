// Package wsconn is the socket layer of the load programs: an epoll loop's
// poller, non-blocking connections with their unsent and unread bytes, and the
// client side of RFC 6455: handshake and frame headers.
//
// Frame headers are parsed here rather than by internal/wsframe, so that a
// framing mistake of the gateway cannot hide behind the same mistake in the
// program that measures it.
package wsconn

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrEnded is the end of the stream without a close frame.
var ErrEnded = errors.New("connection closed by the server without a close frame")

const (
	keepUnsent = 64 << 10 // capacity for unsent bytes that an idle connection keeps
	keepUnread = 4 << 10  // likewise for unread ones
)

// Conn is a non-blocking TCP connection, registered with a poller. It belongs
// to the goroutine of the poller. The zero value is not open.
type Conn struct {
	fd       int
	poll     *Poller
	writable bool // the poller reports when the socket is writable

	unread   []byte // the end of the last read, not used yet
	unsent   []byte // accepted by Write, not by the kernel
	unsentAt int    // start of what is unsent, in unsent
}

// Open begins to connect, from the local address src if that is valid. The
// socket becomes writable when Dialled has the result.
func (c *Conn) Open(poll *Poller, dst netip.AddrPort, src netip.Addr) error {
	fd, err := dial(dst, src)
	if err != nil {
		return err
	}
	if err := poll.add(fd, true); err != nil {
		closeSocket(fd)
		return err
	}
	c.fd, c.poll, c.writable = fd, poll, true
	return nil
}

// FD is the descriptor by which Poller.Ready names the connection; -1: not open.
func (c *Conn) FD() int {
	if c.poll == nil {
		return -1
	}
	return c.fd
}

// Dialled is the result of connecting.
func (c *Conn) Dialled() error {
	if err := dialError(c.fd); err != nil {
		return err
	}
	return c.watch(false)
}

// Write sends b, or keeps what the kernel does not take, up to limit bytes.
func (c *Conn) Write(b []byte, limit int) error {
	if c.Full() {
		if n := len(c.unsent) - c.unsentAt; n+len(b) > limit {
			return fmt.Errorf("the server does not read: %d bytes unsent", n)
		}
		c.unsent = append(c.unsent, b...)
		return nil
	}
	n, err := send(c.fd, b)
	if err != nil || n == len(b) {
		return err
	}
	c.unsent, c.unsentAt = append(c.unsent[:0], b[n:]...), 0
	return c.watch(true)
}

// Full reports whether unsent bytes wait. Senders then pause.
func (c *Conn) Full() bool { return c.unsentAt < len(c.unsent) }

// Flush sends the unsent bytes when the socket is writable, and reports whether
// all were sent.
func (c *Conn) Flush() (done bool, err error) {
	if c.Full() {
		n, err := send(c.fd, c.unsent[c.unsentAt:])
		if c.unsentAt += n; err != nil || c.Full() {
			return false, err
		}
		c.unsent, c.unsentAt = c.unsent[:0], 0
		if cap(c.unsent) > keepUnsent {
			c.unsent = nil
		}
	}
	return true, c.watch(false)
}

// watch asks the poller to report when the socket is writable, or not to.
func (c *Conn) watch(writable bool) error {
	if c.writable == writable {
		return nil
	}
	c.writable = writable
	return c.poll.modify(c.fd, writable)
}

// Buffer is where connections read. One is enough for a poller's goroutine.
type Buffer struct {
	b   []byte
	max int
}

// NewBuffer returns a buffer that grows from size to at most limit bytes, when
// what a connection keeps unread fills it.
func NewBuffer(size, limit int) Buffer { return Buffer{b: make([]byte, size), max: limit} }

// Read makes one read. data is the bytes that Keep has stored, followed by the
// n bytes of this read; data is valid until the next Read into buf. n is 0 when
// nothing has arrived.
func (c *Conn) Read(buf *Buffer) (data []byte, n int, err error) {
	kept := copy(buf.b, c.unread)
	if kept == len(buf.b) {
		if len(buf.b) >= buf.max {
			return nil, 0, fmt.Errorf("the server sent a message of more than %d bytes", buf.max)
		}
		buf.b = append(buf.b, make([]byte, min(len(buf.b), buf.max-len(buf.b)))...)
		kept = copy(buf.b, c.unread)
	}
	n, err = receive(c.fd, buf.b[kept:])
	return buf.b[:kept+n], n, err
}

// Keep stores the end of a read until the next one.
func (c *Conn) Keep(rest []byte) {
	if len(rest) == 0 && cap(c.unread) > keepUnread {
		c.unread = nil // an idle connection holds nothing big
	}
	c.unread = append(c.unread[:0], rest...)
}

// Unread is how many bytes are kept.
func (c *Conn) Unread() int { return len(c.unread) }

// Close ends the connection and frees what it holds; with reset by RST, which
// leaves nothing in TIME_WAIT and is an abrupt end for the peer.
func (c *Conn) Close(reset bool) {
	if c.poll == nil {
		return
	}
	if reset {
		resetSocket(c.fd)
	} else {
		closeSocket(c.fd)
	}
	*c = Conn{}
}
