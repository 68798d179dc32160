// Package wire has the client side of every product that is compared: what a
// connection sends to become a receiver or a sender, how it sends a message and
// how it finds messages in what arrives. It knows nothing of sockets and, but
// for the labgate envelope, nothing of what is in a message.
//
// The codecs are as small as the comparison allows, and alike: each finds the
// messages of its topic by comparing a prefix, so that the load program costs
// about the same for each product.
package wire

import (
	"errors"
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
)

// Shape is who sends to whom.
type Shape string

// The shapes of the comparison.
const (
	FanOut  Shape = "fan-out" // one sender, every receiver gets each message
	Unicast Shape = "unicast" // as many senders as receivers, in pairs
	Idle    Shape = "idle"    // receivers as in FanOut to whom nothing is sent
)

// Spec describes a connection.
type Spec struct {
	Shape  Shape
	Sender bool // else a receiver
	Text   bool // payloads are JSON text, else anything
	Index  int  // of the pair (Unicast) or of the receiver; also makes names unique
}

// Request is the request of the WebSocket handshake.
type Request struct {
	Path        string
	Subprotocol string // "": none is offered
}

// Endpoint is the connection that a Client works for.
type Endpoint interface {
	// Deliver takes a message of the topic; it is valid during the call.
	Deliver(payload []byte)
	// Send sends a masked frame beside the load: the answer to a ping.
	Send(frame []byte)
}

// Client is one connection's protocol state. It belongs to the goroutine that
// owns the connection.
type Client interface {
	// Hello returns the frames to send once the WebSocket is open; nil: none.
	Hello() []byte
	// Ready says whether the server has confirmed what Hello asked for: from
	// then on a receiver misses nothing, and a sender may send.
	Ready() bool
	// Receive takes the unread part of a data frame; last says that the frame
	// ends with it. It returns how many bytes it has used: a message that is
	// not complete stays for the next call, which begins with it.
	Receive(op wsframe.Opcode, chunk []byte, last bool, to Endpoint) (used int, err error)
	// Frame returns the masked frame that sends payload to the topic, and where
	// in it the payload's first byte is. The masking key is 0, so the payload
	// can be changed in place, all but the first byte (see Labgate).
	Frame(payload []byte) (frame []byte, at int)
}

// Protocol makes the connections of a product.
type Protocol interface {
	// Request is the handshake of a connection.
	Request(s Spec) Request
	// Client is its protocol after the handshake.
	Client(s Spec) Client
	// TextOnly says that payloads must be JSON text.
	TextOnly() bool
}

// errAcross is a message that begins in one frame and ends in another. MQTT
// and NATS allow it; the servers compared here do not do it.
var errAcross = errors.New("message goes on in the next WebSocket frame")

// refused is an error that the server reported.
func refused(what string, b []byte) error {
	return fmt.Errorf("%s: %.200q", what, b)
}

// leftover checks that a frame that has ended was used up.
func leftover(used, size int, last bool) (int, error) {
	if last && used < size {
		return used, errAcross
	}
	return used, nil
}

// topic is the name of a fan-out or of a pair, with the product's separator.
func topic(s Spec, separator string) string {
	if s.Shape == Unicast {
		return fmt.Sprintf("lab%sd%d", separator, s.Index)
	}
	return "lab" + separator + "t1"
}

// masked is a client's frame; see Client.Frame for its key.
func masked(op wsframe.Opcode, payload []byte) []byte {
	return wsframe.AppendMaskedFrame(nil, op, 0, payload)
}
