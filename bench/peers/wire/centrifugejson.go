package wire

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/labgate/labgate/internal/wsframe"
)

// CentrifugeJSON is the JSON form of centrifuge's client protocol: commands and
// replies, one a line, in text frames.
type CentrifugeJSON struct{}

// centrifugePath is where the server of this comparison has its handler.
const centrifugePath = "/connection/websocket"

// Request asks for nothing special: JSON is the default.
func (CentrifugeJSON) Request(Spec) Request { return Request{Path: centrifugePath} }

// Client is ready with the answer to connect as a sender, to subscribe as a
// receiver.
func (CentrifugeJSON) Client(s Spec) Client { return newCentrifugeJSON(s) }

// TextOnly is true: a payload is a JSON value.
func (CentrifugeJSON) TextOnly() bool { return true }

// Ids of the commands of a connection. Publications share one: the answers are
// only looked at for errors.
const (
	connectID   = 1
	subscribeID = 2
	publishID   = 3
)

type centrifugeJSON struct {
	spec  Spec
	ready bool
	head  []byte // of a publication, up to its payload
}

// centrifugeTail follows the payload of a publication, centrifugeEnd that of a
// publish command.
const (
	centrifugeTail = "}}}"
	centrifugeEnd  = "}}"
)

func newCentrifugeJSON(s Spec) *centrifugeJSON {
	return &centrifugeJSON{spec: s, head: fmt.Appendf(nil, `{"push":{"channel":%q,"pub":{"data":`, topic(s, "."))}
}

func (c *centrifugeJSON) Hello() []byte {
	hello := fmt.Sprintf(`{"id":%d,"connect":{}}`, connectID)
	if !c.spec.Sender {
		hello += fmt.Sprintf("\n"+`{"id":%d,"subscribe":{"channel":%q}}`, subscribeID, topic(c.spec, "."))
	}
	return masked(wsframe.OpText, []byte(hello))
}

func (c *centrifugeJSON) Ready() bool { return c.ready }

func (c *centrifugeJSON) Receive(_ wsframe.Opcode, chunk []byte, last bool, to Endpoint) (int, error) {
	used := 0
	for used < len(chunk) {
		line, next := chunk[used:], len(chunk)
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], used+i+1
		} else if !last {
			break // the last line of a frame may lack its end
		}
		if err := c.line(line, to); err != nil {
			return used, err
		}
		used = next
	}
	return used, nil
}

func (c *centrifugeJSON) line(line []byte, to Endpoint) error {
	if bytes.HasPrefix(line, c.head) && bytes.HasSuffix(line, []byte(centrifugeTail)) {
		to.Deliver(line[len(c.head) : len(line)-len(centrifugeTail)])
		return nil
	}
	if string(line) == "{}" {
		to.Send(masked(wsframe.OpText, []byte("{}"))) // ping
		return nil
	}
	var reply struct {
		ID    uint32
		Error json.RawMessage
		Push  json.RawMessage
	}
	if err := json.Unmarshal(line, &reply); err != nil {
		return fmt.Errorf("reply %.100q: %w", line, err)
	}
	switch {
	case reply.Error != nil:
		return refused("centrifuge", line)
	case reply.Push != nil:
		return refused("push not expected", line)
	case reply.ID == connectID && c.spec.Sender, reply.ID == subscribeID:
		c.ready = true
	}
	return nil
}

func (c *centrifugeJSON) Frame(payload []byte) ([]byte, int) {
	command := fmt.Appendf(nil, `{"id":%d,"publish":{"channel":%q,"data":%s`+centrifugeEnd, publishID, topic(c.spec, "."), payload)
	frame := masked(wsframe.OpText, command)
	return frame, len(frame) - len(payload) - len(centrifugeEnd)
}
