//go:build linux

package load

import (
	"fmt"
	"net/netip"

	"github.com/labgate/labgate/bench/internal/wsconn"
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

// maxUnsent bounds the unsent bytes of a connection whose server does not read:
// frames beside the load. Senders stop at the first unsent byte.
const maxUnsent = 1 << 20

// conn is one connection. It belongs to its population's goroutine.
type conn struct {
	p         *Population
	sock      wsconn.Conn
	spec      wire.Spec
	client    wire.Client
	state     connState
	handshake wsconn.Handshake

	// The frame under way.
	opcode wsframe.Opcode
	left   int  // of its payload, in bytes
	inside bool // its header was read

	sender *sender
	check  checker
}

// open begins to connect; the poller's events then drive the connection.
func (c *conn) open(to netip.AddrPort) error {
	p := c.p
	if err := c.sock.Open(p.poll, to, netip.Addr{}); err != nil {
		return err
	}
	fd := c.sock.FD()
	for len(p.conns) <= fd {
		p.conns = append(p.conns, nil)
	}
	p.conns[fd] = c
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

// onWritable sends unsent bytes, then resumes the blocked sender.
func (c *conn) onWritable() {
	if c.state == stateDialing {
		if err := c.sock.Dialled(); err != nil {
			c.fail(err)
			return
		}
		c.state = stateUpgrading
		c.write(c.handshake.Request())
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
	if c.sender != nil && c.state == stateOpen {
		c.sender.blocked = false
		c.sender.flush()
	}
}

// onReadable makes one read and processes its frames.
func (c *conn) onReadable() {
	p := c.p
	rest, n, err := c.sock.Read(&p.buf)
	if err != nil {
		c.fail(err)
		return
	}
	if n == 0 {
		return
	}
	p.now = p.clock.now()
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
	c.sock.Keep(rest)
}

// Deliver processes a message of the topic.
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
			p.latency.Record(p.now - due)
		}
	}
}

// Send sends a frame that is not part of the load.
func (c *conn) Send(frame []byte) { c.write(frame) }

// fail ends the connection after an error of the server or the network.
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
	if fd := c.sock.FD(); fd >= 0 {
		c.p.conns[fd] = nil
	}
	c.sock.Close(true)
}

func (c *conn) String() string {
	role := "receiver"
	if c.spec.Sender {
		role = "sender"
	}
	return fmt.Sprintf("%s %d", role, c.spec.Index)
}
