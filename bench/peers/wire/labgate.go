package wire

import (
	"bytes"
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Labgate is labgate.v1 (docs/protocol.md): in a fan-out a device sends
// telemetry to front ends, in unicast each front end sends to its device.
type Labgate struct{}

// Request connects a device or a front end.
func (Labgate) Request(s Spec) Request {
	r := Request{Subprotocol: protocol.Subprotocol}
	switch {
	case s.Shape == Unicast && s.Sender:
		r.Path = fmt.Sprintf("/ws/frontend/f%d?telemetry=none", s.Index)
	case s.Shape == Unicast:
		r.Path = fmt.Sprintf("/ws/device/d%d", s.Index)
	case s.Sender:
		r.Path = "/ws/device/t1"
	default:
		r.Path = fmt.Sprintf("/ws/frontend/f%d?telemetry=all", s.Index)
	}
	return r
}

// Client is ready with gateway.welcome.
func (Labgate) Client(s Spec) Client { return &labgate{spec: s} }

// TextOnly is false: telemetry is binary.
func (Labgate) TextOnly() bool { return false }

type labgate struct {
	spec  Spec
	ready bool
}

var (
	ownMessage = []byte(`{"type":"gateway.`) // of the gateway itself
	welcome    = []byte(`{"type":"` + protocol.TypeWelcome + `"`)
	gwError    = []byte(`{"type":"` + protocol.TypeError + `"`)
)

func (c *labgate) Hello() []byte { return nil }
func (c *labgate) Ready() bool   { return c.ready }

func (c *labgate) Receive(op wsframe.Opcode, chunk []byte, last bool, to Endpoint) (int, error) {
	switch {
	case !last:
		return 0, nil
	case op == wsframe.OpBinary:
		to.Deliver(chunk)
	case !bytes.HasPrefix(chunk, ownMessage):
		to.Deliver(chunk)
	case bytes.HasPrefix(chunk, welcome):
		c.ready = true
	case bytes.HasPrefix(chunk, gwError):
		return 0, refused("gateway.error", chunk)
	}
	// Presence is ignored; a lost message shows as a missing number.
	return len(chunk), nil
}

// Frame sends telemetry as it is. A text message is an envelope already; its
// destination comes right after the brace, so all but its first byte stays
// together, at the end of the frame and of what the receiver gets.
func (c *labgate) Frame(payload []byte) ([]byte, int) {
	if c.spec.Shape != Unicast {
		frame := masked(wsframe.OpBinary, payload)
		return frame, len(frame) - len(payload)
	}
	envelope := fmt.Appendf(nil, `{"dst":"d%d",%s`, c.spec.Index, payload[1:])
	frame := masked(wsframe.OpText, envelope)
	return frame, len(frame) - len(payload)
}
