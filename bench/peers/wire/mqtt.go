package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
)

// MQTT is MQTT 3.1.1 with quality of service 0 in binary WebSocket frames
// (section 6 of the standard).
type MQTT struct{}

// Request offers the sub-protocol that the standard asks for.
func (MQTT) Request(Spec) Request { return Request{Path: "/mqtt", Subprotocol: "mqtt"} }

// Client is ready with CONNACK as a sender, with SUBACK as a receiver.
func (MQTT) Client(s Spec) Client { return &mqtt{spec: s} }

// TextOnly is false.
func (MQTT) TextOnly() bool { return false }

type mqtt struct {
	spec  Spec
	ready bool
	head  []byte // of the last PUBLISH, up to its payload
	size  int    // of that payload
}

// First bytes of packets (section 2.2).
const (
	mqttConnect   = 0x10
	mqttConnack   = 0x20
	mqttPublish   = 0x30 // QoS 0, not retained
	mqttSubscribe = 0x82
	mqttSuback    = 0x90
	mqttPingresp  = 0xd0
)

var (
	errMQTTPacket = errors.New("malformed MQTT packet")
	errMQTTLength = errors.New("remaining length of an MQTT packet takes more than 4 bytes (section 2.2.3)")
)

func (c *mqtt) topic() string { return topic(c.spec, "/") }

func (c *mqtt) Hello() []byte {
	side := 'r'
	if c.spec.Sender {
		side = 's'
	}
	// Protocol name and level, clean session, no keep-alive, client id.
	body := mqttString(nil, "MQTT")
	body = append(body, 4, 0x02, 0, 0)
	body = mqttString(body, fmt.Sprintf("bench-%c%d", side, c.spec.Index))
	packets := mqttPacket(nil, mqttConnect, body)
	if !c.spec.Sender {
		body = mqttString([]byte{0, 1}, c.topic()) // packet id 1
		packets = mqttPacket(packets, mqttSubscribe, append(body, 0))
	}
	return masked(wsframe.OpBinary, packets)
}

func (c *mqtt) Ready() bool { return c.ready }

func (c *mqtt) Receive(_ wsframe.Opcode, chunk []byte, last bool, to Endpoint) (int, error) {
	used := 0
	for used < len(chunk) {
		n, err := c.one(chunk[used:], to)
		if err != nil {
			return used, err
		}
		if n == 0 {
			break
		}
		used += n
	}
	return leftover(used, len(chunk), last)
}

// one takes one packet and returns its size; 0: it is not complete.
func (c *mqtt) one(b []byte, to Endpoint) (int, error) {
	if len(c.head) > 0 && bytes.HasPrefix(b, c.head) {
		end := len(c.head) + c.size
		if len(b) < end {
			return 0, nil
		}
		to.Deliver(b[len(c.head):end])
		return end, nil
	}
	size, n, err := mqttLength(b[1:])
	if err != nil || n == 0 || len(b) < 1+n+size {
		return 0, err
	}
	body := b[1+n : 1+n+size]
	switch b[0] {
	case mqttConnack:
		if len(body) != 2 || body[1] != 0 {
			return 0, refused("CONNACK", body)
		}
		c.ready = c.spec.Sender
	case mqttSuback:
		if len(body) != 3 || body[2] != 0 {
			return 0, refused("SUBACK", body)
		}
		c.ready = true
	case mqttPublish:
		if size < 2 || size < 2+int(binary.BigEndian.Uint16(body)) {
			return 0, errMQTTPacket
		}
		skip := 2 + int(binary.BigEndian.Uint16(body))
		c.head, c.size = append(c.head[:0], b[:1+n+skip]...), size-skip
		to.Deliver(body[skip:])
	case mqttPingresp:
	default:
		return 0, refused("MQTT packet not expected", b[:1+n])
	}
	return 1 + n + size, nil
}

func (c *mqtt) Frame(payload []byte) ([]byte, int) {
	packet := mqttPacket(nil, mqttPublish, append(mqttString(nil, c.topic()), payload...))
	frame := masked(wsframe.OpBinary, packet)
	return frame, len(frame) - len(payload)
}

func mqttString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func mqttPacket(dst []byte, first byte, body []byte) []byte {
	// The remaining length has the form of protobuf's varint (section 2.2.3).
	return append(binary.AppendUvarint(append(dst, first), uint64(len(body))), body...)
}

// mqttLength reads a remaining length and how many bytes it takes; 0: it is
// not complete.
func mqttLength(b []byte) (size, n int, err error) {
	for i := 0; i < len(b) && i < 4; i++ {
		size |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return size, i + 1, nil
		}
	}
	if len(b) >= 4 {
		return 0, 0, errMQTTLength
	}
	return 0, 0, nil
}
