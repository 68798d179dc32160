package bench

import (
	"net/netip"

	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/internal/wsframe"
)

// role is a connection's part in the run.
type role uint8

const (
	roleDevice   role = iota // sends telemetry, answers commands, receives unicast
	roleFrontend             // receives telemetry, sends commands and unicast
	roleExtra                // idle and storm: only stays connected
)

type connState uint8

const (
	stateDialing  connState = iota // TCP connect under way
	stateUpgrade                   // request sent, answer awaited
	stateGreeting                  // upgraded, gateway.welcome awaited
	stateOpen
	stateClosing // our close frame was sent
	stateClosed
)

// maxUnsent bounds the unsent bytes of a connection whose gateway does not read.
// Senders stop at the first unsent byte; answers and pongs are still queued.
const maxUnsent = 16 << 20

// conn is one connection. It belongs to the run's goroutine.
type conn struct {
	w       *world
	sock    wsconn.Conn
	index   int // within its role
	role    role
	state   connState
	blocked []*sender // wait until sock has no unsent bytes

	partialOp wsframe.Opcode // opcode of a fragmented message under way; 0: none
	partial   []byte         // its fragments so far

	hs      *handshake // until the connection is open
	session string     // from gateway.welcome

	receiver // counts of the messages that front ends and unicast devices received
}

// open begins to connect.
func (c *conn) open(dst netip.AddrPort, src netip.Addr) error {
	poll := c.w.poll
	if c.role == roleExtra {
		poll = c.w.crowd
	}
	if err := c.sock.Open(poll, dst, src); err != nil {
		return err
	}
	c.w.register(c)
	return nil
}

// write sends b, and keeps the bytes that the kernel does not accept.
func (c *conn) write(b []byte) {
	if c.state == stateClosed {
		return
	}
	if err := c.sock.Write(b, maxUnsent); err != nil {
		c.fail(err)
	}
}

// onWritable sends unsent bytes, then resumes blocked senders.
func (c *conn) onWritable(now int64) {
	if c.state == stateDialing {
		c.onConnected()
		return
	}
	done, err := c.sock.Flush()
	if err != nil {
		c.fail(err)
		return
	}
	if !done {
		return
	}
	blocked := c.blocked
	c.blocked = nil
	for _, s := range blocked {
		s.blocked = false
		s.flush(now)
	}
}

// onReadable makes one read and processes its frames.
func (c *conn) onReadable() {
	w := c.w
	data, n, err := c.sock.Read(&w.buf)
	if err != nil {
		c.fail(err)
		return
	}
	if n == 0 {
		return
	}
	now := w.clock.now()
	w.now = now
	w.bytesIn += int64(n)
	if c.state == stateUpgrade {
		if data, err = c.readUpgrade(data); err != nil {
			c.fail(err)
			return
		}
	}
	if c.state != stateUpgrade && c.state != stateClosed {
		if data, err = c.scan(data, now); err != nil {
			c.fail(err)
			return
		}
	}
	c.sock.Keep(data)
}

// fail ends the connection after an error of the gateway or the network.
func (c *conn) fail(err error) {
	if c.state == stateClosed {
		return
	}
	was := c.state
	c.shut(false)
	c.w.onDown(c, was, err)
}

// shut closes the socket and frees the connection's memory.
func (c *conn) shut(reset bool) {
	if c.state == stateClosed {
		return
	}
	c.state = stateClosed
	if fd := c.sock.FD(); fd >= 0 {
		c.w.conns[fd] = nil
	}
	c.sock.Close(reset)
	c.partial, c.partialOp, c.blocked = nil, 0, nil
}

// sendClose starts the close handshake, which the gateway then completes.
func (c *conn) sendClose() {
	if c.state != stateOpen && c.state != stateGreeting {
		c.shut(true)
		return
	}
	c.state = stateClosing
	c.write(closeFrame)
}
