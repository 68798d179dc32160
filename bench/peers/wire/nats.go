package wire

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/labgate/labgate/internal/wsframe"
)

// NATS is the client protocol of nats-server in binary WebSocket frames: lines
// that end with CR LF, and payloads of announced length. A frame holds any
// number of them.
type NATS struct{}

// Request is the same for all.
func (NATS) Request(Spec) Request { return Request{Path: "/"} }

// Client is ready with PONG.
func (NATS) Client(s Spec) Client { return &nats{spec: s} }

// TextOnly is false.
func (NATS) TextOnly() bool { return false }

type nats struct {
	spec  Spec
	ready bool
	head  []byte // of the last message, up to its payload
	size  int    // of that payload
}

const (
	natsConnect = `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"bench","version":"1","protocol":1,"echo":false,"headers":false,"no_responders":false}` + "\r\n"
	natsEnd     = 2 // CR LF after a payload
)

var crlf = []byte("\r\n")

func (c *nats) topic() string { return topic(c.spec, ".") }

func (c *nats) Hello() []byte {
	hello := natsConnect
	if !c.spec.Sender {
		hello += "SUB " + c.topic() + " 1\r\n"
	}
	return masked(wsframe.OpBinary, []byte(hello+"PING\r\n"))
}

func (c *nats) Ready() bool { return c.ready }

func (c *nats) Receive(_ wsframe.Opcode, chunk []byte, last bool, to Endpoint) (int, error) {
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

// one takes one protocol element and returns its size; 0: it is not complete.
func (c *nats) one(b []byte, to Endpoint) (int, error) {
	if len(c.head) > 0 && bytes.HasPrefix(b, c.head) {
		// Same subject, same size as before.
		end := len(c.head) + c.size
		if len(b) < end+natsEnd {
			return 0, nil
		}
		to.Deliver(b[len(c.head):end])
		return end + natsEnd, nil
	}
	eol := bytes.Index(b, crlf)
	if eol < 0 {
		return 0, nil
	}
	line := b[:eol]
	switch {
	case bytes.HasPrefix(line, []byte("MSG ")):
		size, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
		if err != nil || size < 0 {
			return 0, refused("MSG without a size", line)
		}
		c.head, c.size = append(c.head[:0], b[:eol+len(crlf)]...), size
		return c.one(b, to)
	case bytes.HasPrefix(line, []byte("PING")):
		to.Send(masked(wsframe.OpBinary, []byte("PONG\r\n")))
	case bytes.HasPrefix(line, []byte("PONG")):
		c.ready = true
	case bytes.HasPrefix(line, []byte("INFO ")), bytes.HasPrefix(line, []byte("+OK")):
	default:
		return 0, refused("nats-server", line) // -ERR
	}
	return eol + len(crlf), nil
}

func (c *nats) Frame(payload []byte) ([]byte, int) {
	pub := fmt.Appendf(nil, "PUB %s %d\r\n%s\r\n", c.topic(), len(payload), payload)
	frame := masked(wsframe.OpBinary, pub)
	return frame, len(frame) - len(payload) - natsEnd
}
