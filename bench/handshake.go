package bench

import (
	"github.com/labgate/labgate/bench/internal/wsconn"
	"github.com/labgate/labgate/protocol"
)

// handshake is the state of a connection until it is open.
type handshake struct {
	wsconn.Handshake
	ramp  *ramp
	peer  peer
	from  int64 // connect latency counts from here
	begun int64 // the attempt's own start, for its timeout
}

// onConnected follows the end of the TCP connect.
func (c *conn) onConnected() {
	if err := c.sock.Dialled(); err != nil {
		c.fail(err)
		return
	}
	c.state = stateUpgrade
	c.write(c.hs.Request())
}

// subprotocol is what a connection offers and the gateway must choose.
func (o *Options) subprotocol() string {
	if o.Bare != "" {
		return ""
	}
	return protocol.Subprotocol
}

// readUpgrade parses the HTTP response at the beginning of data and returns the
// bytes after it; the state stays stateUpgrade while the response is
// incomplete.
func (c *conn) readUpgrade(data []byte) (rest []byte, err error) {
	rest, done, err := c.hs.Response(data)
	if err != nil || !done {
		return rest, err
	}
	c.state = stateGreeting
	if c.w.o.Bare != "" {
		c.state = stateOpen // a bare server sends no greeting
		c.hs.ramp.opened(c, c.w.now)
	}
	return rest, nil
}
