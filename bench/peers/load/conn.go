//go:build linux

package load

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/bench/peers/wire"
	"github.com/labgate/labgate/internal/wsframe"
)

type connState uint8

const (
	stateDialing   connState = iota // TCP connect under way
	stateUpgrading                  // WebSocket handshake sent
	stateJoining                    // the product's own handshake sent
	stateOpen
	stateClosed
)

// maxUnsent bounds what a connection holds for a server that does not read:
// what is beside the load. Senders hold back at the first unsent byte.
const maxUnsent = 1 << 20

// conn is one connection. It belongs to its population's goroutine.
type conn struct {
	p      *Population
	fd     int
	spec   wire.Spec
	client wire.Client
	state  connState
	key    string // of the WebSocket handshake

	// Reading.
	rest   []byte // the end of the last read that was not used
	opcode wsframe.Opcode
	left   int  // of its payload
	inside bool // a frame is under way

	// Writing.
	out     []byte // not taken by the kernel
	outDone int    // of out, taken
	armed   bool   // EPOLLOUT wanted
	sender  *sender

	check checker
}

// write sends b or keeps what the kernel does not take.
func (c *conn) write(b []byte) {
	if c.state == stateClosed {
		return
	}
	if c.full() {
		if len(c.out)-c.outDone+len(b) > maxUnsent {
			c.fail(fmt.Errorf("server does not read: %d bytes unsent", len(c.out)-c.outDone))
			return
		}
		c.out = append(c.out, b...)
		return
	}
	n, err := send(c.fd, b)
	if err != nil {
		c.fail(err)
		return
	}
	if n < len(b) {
		c.out, c.outDone = append(c.out[:0], b[n:]...), 0
		c.arm(true)
	}
}

// full says whether unsent bytes wait.
func (c *conn) full() bool { return c.outDone < len(c.out) }

func (c *conn) arm(on bool) {
	if c.armed == on {
		return
	}
	c.armed = on
	if err := c.p.poll.control(unix.EPOLL_CTL_MOD, c.fd, on); err != nil {
		c.fail(err)
	}
}

// onWritable goes on with what waits.
func (c *conn) onWritable() {
	if c.state == stateDialing {
		if err := dialled(c.fd); err != nil {
			c.fail(err)
			return
		}
		c.state = stateUpgrading
		c.arm(false)
		c.write(c.request())
		return
	}
	if c.full() {
		n, err := send(c.fd, c.out[c.outDone:])
		if err != nil {
			c.fail(err)
			return
		}
		if c.outDone += n; c.full() {
			return
		}
		c.out, c.outDone = c.out[:0], 0
	}
	c.arm(false)
	if c.sender != nil && c.state == stateOpen {
		c.sender.blocked = false
		c.sender.flush()
	}
}

// onReadable makes one read and uses what it brought.
func (c *conn) onReadable() {
	p := c.p
	n := copy(p.buf, c.rest)
	if n == len(p.buf) {
		c.fail(fmt.Errorf("message of more than %d bytes", n))
		return
	}
	m, err := receive(c.fd, p.buf[n:])
	if err != nil {
		c.fail(err)
		return
	}
	if m == 0 {
		return
	}
	p.now = p.clock.now()
	rest := p.buf[:n+m]
	if c.state == stateUpgrading {
		rest, err = c.upgraded(rest)
	}
	if err == nil && c.state != stateUpgrading {
		rest, err = c.frames(rest)
	}
	if err != nil {
		c.fail(err)
		return
	}
	if c.state == stateClosed {
		return
	}
	if c.state == stateJoining && c.client.Ready() {
		c.state = stateOpen
		p.opened(c)
	}
	c.rest = append(c.rest[:0], rest...)
	if cap(c.rest) > 4<<10 && len(c.rest) < 1<<10 {
		c.rest = append([]byte(nil), c.rest...) // an idle connection keeps nothing big
	}
}

// Deliver takes a message of the topic.
func (c *conn) Deliver(payload []byte) {
	p := c.p
	seq, due, pair, ok := p.payload.read(payload)
	switch {
	case !ok:
		p.tally.corrupt++
		p.notes.add("message is not as it was sent: %q", payload)
	case c.spec.Shape == wire.Unicast && pair != c.spec.Index:
		p.tally.misrouted++
		p.notes.add("receiver %d got a message for %d", c.spec.Index, pair)
	default:
		if c.check.take(seq, &p.tally) && due >= p.measureFrom {
			p.latency.record(p.now - due)
		}
	}
}

// Send sends a frame beside the load.
func (c *conn) Send(frame []byte) { c.write(frame) }

// fail ends the connection for a reason that is not ours.
func (c *conn) fail(err error) {
	if c.state == stateClosed {
		return
	}
	opening := c.state != stateOpen
	c.shut()
	c.p.down(c, opening, err)
}

func (c *conn) shut() {
	if c.state == stateClosed {
		return
	}
	c.state = stateClosed
	c.p.conns[c.fd] = nil
	reset(c.fd)
	c.rest, c.out, c.outDone = nil, nil, 0
}

func (c *conn) String() string {
	role := "receiver"
	if c.spec.Sender {
		role = "sender"
	}
	return fmt.Sprintf("%s %d", role, c.spec.Index)
}
