package wire

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/labgate/labgate/internal/wsframe"
)

// CentrifugeProtobuf is the protobuf form of centrifuge's client protocol:
// commands and replies, each after its length, in binary frames. Numbers of
// fields are those of github.com/centrifugal/protocol, definitions/client.proto.
type CentrifugeProtobuf struct{}

// Request asks for protobuf.
func (CentrifugeProtobuf) Request(Spec) Request {
	return Request{Path: centrifugePath + "?cf_protocol=protobuf", Subprotocol: "centrifuge-protobuf"}
}

// Client is ready with the answer to connect as a sender, to subscribe as a
// receiver.
func (CentrifugeProtobuf) Client(s Spec) Client { return &centrifugeProto{spec: s} }

// TextOnly is false.
func (CentrifugeProtobuf) TextOnly() bool { return false }

// Field numbers.
const (
	fieldID        = 1 // of Command and Reply
	fieldError     = 2 // of Reply
	fieldPush      = 4 // of Reply
	fieldConnect   = 4 // of Command
	fieldSubscribe = 5 // of Command
	fieldPublish   = 7 // of Command
	fieldChannel   = 1 // of SubscribeRequest and PublishRequest
	fieldData      = 2 // of PublishRequest
	fieldPub       = 4 // of Push
	fieldPubData   = 4 // of Publication
)

var errProtobuf = errors.New("malformed protobuf message")

type centrifugeProto struct {
	spec  Spec
	ready bool
	head  []byte // of the last publication, length included, up to its payload
	size  int    // of that payload, with which the reply ended
}

func (c *centrifugeProto) channel() []byte { return []byte(topic(c.spec, ".")) }

func (c *centrifugeProto) Hello() []byte {
	connect := appendField(appendVarint(nil, fieldID, connectID), fieldConnect, nil)
	hello := appendSized(nil, connect)
	if !c.spec.Sender {
		request := appendField(nil, fieldChannel, c.channel())
		hello = appendSized(hello, appendField(appendVarint(nil, fieldID, subscribeID), fieldSubscribe, request))
	}
	return masked(wsframe.OpBinary, hello)
}

func (c *centrifugeProto) Ready() bool { return c.ready }

func (c *centrifugeProto) Receive(_ wsframe.Opcode, chunk []byte, last bool, to Endpoint) (int, error) {
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

// one takes one reply and returns its size; 0: it is not complete.
func (c *centrifugeProto) one(b []byte, to Endpoint) (int, error) {
	if len(c.head) > 0 && bytes.HasPrefix(b, c.head) {
		// Same channel, same size as before.
		end := len(c.head) + c.size
		if len(b) < end {
			return 0, nil
		}
		to.Deliver(b[len(c.head):end])
		return end, nil
	}
	size, n := binary.Uvarint(b)
	switch {
	case n < 0 || size > 1<<30:
		return 0, errProtobuf
	case n == 0 || uint64(len(b)-n) < size:
		return 0, nil
	}
	end := n + int(size)
	if size == 0 {
		to.Send(masked(wsframe.OpBinary, []byte{0})) // ping
		return end, nil
	}
	return end, c.reply(b[:end], b[n:end], to)
}

// reply takes a reply; whole begins with its length.
func (c *centrifugeProto) reply(whole, reply []byte, to Endpoint) error {
	id, err := varintField(reply, fieldID)
	if err != nil {
		return err
	}
	if e, err := bytesField(reply, fieldError); e != nil || err != nil {
		return errors.Join(err, refused("centrifuge", e))
	}
	push, err := bytesField(reply, fieldPush)
	if err != nil {
		return err
	}
	if push == nil {
		c.ready = c.ready || id == connectID && c.spec.Sender || id == subscribeID
		return nil
	}
	pub, err := bytesField(push, fieldPub)
	if err != nil {
		return err
	}
	data, err := bytesField(pub, fieldPubData)
	switch {
	case err != nil:
		return err
	case data == nil:
		return refused("push not expected", push)
	case bytes.HasSuffix(whole, data):
		c.head, c.size = append(c.head[:0], whole[:len(whole)-len(data)]...), len(data)
	}
	to.Deliver(data)
	return nil
}

func (c *centrifugeProto) Frame(payload []byte) ([]byte, int) {
	request := appendField(appendField(nil, fieldChannel, c.channel()), fieldData, payload)
	command := appendField(appendVarint(nil, fieldID, publishID), fieldPublish, request)
	frame := masked(wsframe.OpBinary, appendSized(nil, command))
	return frame, len(frame) - len(payload)
}

// Wire types of protobuf.
const (
	typeVarint = 0
	typeBytes  = 2
)

func appendVarint(dst []byte, field int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field<<3|typeVarint)), v)
}

func appendField(dst []byte, field int, b []byte) []byte {
	return appendSized(binary.AppendUvarint(dst, uint64(field<<3|typeBytes)), b)
}

func appendSized(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// varintField is the value of a field; 0 when it is not there.
func varintField(msg []byte, field int) (value uint64, err error) {
	err = eachField(msg, func(f int, v uint64, b []byte) {
		if f == field && b == nil {
			value = v
		}
	})
	return value, err
}

// bytesField is the content of a field; nil when it is not there.
func bytesField(msg []byte, field int) (content []byte, err error) {
	err = eachField(msg, func(f int, _ uint64, b []byte) {
		if f == field && b != nil {
			content = b
		}
	})
	return content, err
}

// eachField visits the fields of a message; b is nil for a varint. Other wire
// types do not occur in the protocol.
func eachField(msg []byte, visit func(field int, v uint64, b []byte)) error {
	for len(msg) > 0 {
		key, n := binary.Uvarint(msg)
		if n <= 0 {
			return errProtobuf
		}
		v, m := binary.Uvarint(msg[n:])
		if m <= 0 {
			return errProtobuf
		}
		msg = msg[n+m:]
		switch key & 7 {
		case typeVarint:
			visit(int(key>>3), v, nil)
		case typeBytes:
			if v > uint64(len(msg)) {
				return errProtobuf
			}
			visit(int(key>>3), v, msg[:v:v])
			msg = msg[v:]
		default:
			return errProtobuf
		}
	}
	return nil
}
