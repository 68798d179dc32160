package bench

import (
	"errors"
	"fmt"
)

// errEOF is the end of the stream without a close frame.
var errEOF = errors.New("connection closed by the gateway without a close frame")

// role says what a connection does in the run.
type role uint8

const (
	roleDevice   role = iota // sends telemetry, answers commands, receives unicast
	roleFrontend             // receives telemetry, sends commands and unicast
	roleExtra                // idle and storm: is there
)

type connState uint8

const (
	stateDialing  connState = iota // TCP connect under way
	stateUpgrade                   // request sent, answer awaited
	stateGreeting                  // upgraded, gateway.welcome awaited
	stateOpen
	stateClosing // our close frame is out
	stateClosed
)

// maxUnsent bounds what a connection holds for a gateway that does not read.
// Senders stop at the first unsent byte; answers, pongs and the like go on.
const maxUnsent = 16 << 20

// conn is one connection. It belongs to the run's goroutine.
type conn struct {
	w     *world
	poll  *poller // watches fd
	fd    int
	index int // within its role
	role  role
	state connState
	armed bool // EPOLLOUT wanted

	carry   []byte    // start of an unfinished frame, or of the HTTP answer
	out     []byte    // accepted by write, not taken by the kernel
	outDone int       // of out, already taken
	blocked []*sender // wait for out to empty

	partialOp byte   // opcode of a fragmented message under way; 0: none
	partial   []byte // its fragments so far

	hs      *handshake // until the connection is open
	session string     // from gateway.welcome

	receiver // what it got, front ends and unicast devices
}

// write sends b or keeps what the kernel does not take.
func (c *conn) write(b []byte) {
	if c.state == stateClosed {
		return
	}
	if c.outDone < len(c.out) {
		if len(c.out)-c.outDone+len(b) > maxUnsent {
			c.fail(fmt.Errorf("gateway does not read: %d bytes unsent", len(c.out)-c.outDone))
			return
		}
		c.out = append(c.out, b...)
		return
	}
	n, err := sockWrite(c.fd, b)
	if err != nil {
		c.fail(err)
		return
	}
	if n < len(b) {
		c.out, c.outDone = append(c.out[:0], b[n:]...), 0
		c.arm(true)
	}
}

// full says whether unsent bytes wait; senders then hold back.
func (c *conn) full() bool { return c.outDone < len(c.out) }

func (c *conn) arm(on bool) {
	if c.armed == on {
		return
	}
	c.armed = on
	if err := c.poll.modify(c.fd, on); err != nil {
		c.fail(err)
	}
}

// onWritable goes on with what waits.
func (c *conn) onWritable(now int64) {
	if c.state == stateDialing {
		c.onConnected(now)
		return
	}
	if c.full() {
		n, err := sockWrite(c.fd, c.out[c.outDone:])
		if err != nil {
			c.fail(err)
			return
		}
		if c.outDone += n; c.full() {
			return
		}
		c.out, c.outDone = c.out[:0], 0
		if cap(c.out) > 64<<10 {
			c.out = nil
		}
	}
	c.arm(false)
	blocked := c.blocked
	c.blocked = nil
	for _, s := range blocked {
		s.blocked = false
		s.flush(now)
	}
}

// onReadable makes one read and takes the frames out of it.
func (c *conn) onReadable() {
	w := c.w
	n := copy(w.buf, c.carry)
	if n == len(w.buf) {
		// One frame larger than the buffer: maxIncoming bounds it.
		w.buf = append(w.buf, make([]byte, len(w.buf))...)
	}
	m, err := sockRead(c.fd, w.buf[n:])
	if err != nil {
		c.fail(err)
		return
	}
	if m == 0 {
		return
	}
	now := w.clock.now()
	w.now = now
	w.bytesIn += int64(m)
	data := w.buf[:n+m]
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
	c.keep(data)
}

// keep stores the rest of a read until the next one.
func (c *conn) keep(rest []byte) {
	if len(rest) == 0 {
		if cap(c.carry) > 4<<10 {
			c.carry = nil // an idle connection holds nothing big
		}
		c.carry = c.carry[:0]
		return
	}
	c.carry = append(c.carry[:0], rest...)
}

// fail ends the connection for a reason that is not ours.
func (c *conn) fail(err error) {
	if c.state == stateClosed {
		return
	}
	was := c.state
	c.shut(false)
	c.w.onDown(c, was, err)
}

// shut frees the socket and what the connection held.
func (c *conn) shut(reset bool) {
	if c.state == stateClosed {
		return
	}
	c.state = stateClosed
	c.w.conns[c.fd] = nil
	if reset {
		sockReset(c.fd)
	} else {
		sockClose(c.fd)
	}
	c.carry, c.out, c.outDone, c.partial, c.partialOp, c.blocked = nil, nil, 0, nil, 0, nil
}

// sendClose starts the close handshake; the gateway is to end it.
func (c *conn) sendClose() {
	if c.state != stateOpen && c.state != stateGreeting {
		c.shut(true)
		return
	}
	c.state = stateClosing
	c.write(closeFrame)
}
