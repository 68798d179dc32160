package wire

import (
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
)

// Hub is the protocol of the melody hub of this comparison: a message is a
// frame, the path says where it goes, and the server greets each connection
// with a text once it is registered.
type Hub struct{}

// Greeting is that text.
const Greeting = "ready"

// Request joins the hub, or one side of a pair.
func (Hub) Request(s Spec) Request {
	if s.Shape != Unicast {
		return Request{Path: "/hub"}
	}
	side := "receive"
	if s.Sender {
		side = "send"
	}
	return Request{Path: fmt.Sprintf("/pair/%d/%s", s.Index, side)}
}

// Client waits for the greeting.
func (Hub) Client(s Spec) Client { return &plain{text: s.Text, greeting: Greeting} }

// TextOnly is false.
func (Hub) TextOnly() bool { return false }

// Relay is the protocol of bench/limit: /relay/K pairs two connections, and
// idle takes any path.
type Relay struct{}

// Request joins a pair.
func (Relay) Request(s Spec) Request { return Request{Path: fmt.Sprintf("/relay/%d", s.Index)} }

// Client is ready at once: the relay has registered a connection before it
// reads from any.
func (Relay) Client(s Spec) Client { return &plain{text: s.Text, ready: true} }

// TextOnly is false.
func (Relay) TextOnly() bool { return false }

// plain has one message in each frame and nothing around it.
type plain struct {
	text     bool
	ready    bool
	greeting string
}

func (c *plain) Hello() []byte { return nil }
func (c *plain) Ready() bool   { return c.ready }

func (c *plain) Receive(_ wsframe.Opcode, chunk []byte, last bool, to Endpoint) (int, error) {
	switch {
	case !last:
		return 0, nil
	case c.ready:
		to.Deliver(chunk)
	case string(chunk) == c.greeting:
		c.ready = true
	default:
		return 0, refused("greeting expected", chunk)
	}
	return len(chunk), nil
}

func (c *plain) Frame(payload []byte) ([]byte, int) {
	op := wsframe.OpBinary
	if c.text {
		op = wsframe.OpText
	}
	frame := masked(op, payload)
	return frame, len(frame) - len(payload)
}
