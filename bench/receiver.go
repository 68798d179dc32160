package bench

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/labgate/labgate/protocol"
)

// receiver counts what a connection received.
type receiver struct {
	tally  tally
	frames uint64 // telemetry frames or text messages, as sent

	// Telemetry at a front end.
	table      *streamTable // of the node it is connected to
	known      []bool       // devices whose stream number is known
	knows      int          // number of known devices
	streams    []streamState
	lastStream uint32 // of the last frame, and its device: a cache, as frames arrive in runs
	lastDevice int
	lastValid  bool

	text streamState // unicast at a device
}

// streamTable maps stream numbers of one node to device indexes.
type streamTable struct {
	dense  []int32 // index+1; 0: unknown
	sparse map[uint32]int
}

// denseStreams bounds the slice of a streamTable.
const denseStreams = 1 << 20

func (t *streamTable) set(stream uint32, device int) {
	if stream >= denseStreams {
		if t.sparse == nil {
			t.sparse = map[uint32]int{}
		}
		t.sparse[stream] = device
		return
	}
	for uint32(len(t.dense)) <= stream {
		t.dense = append(t.dense, 0)
	}
	t.dense[stream] = int32(device + 1)
}

func (t *streamTable) device(stream uint32) (int, bool) {
	if t == nil {
		return 0, false
	}
	if uint32(len(t.dense)) > stream {
		d := t.dense[stream]
		return int(d) - 1, d != 0
	}
	d, ok := t.sparse[stream]
	return d, ok
}

// onBinary processes a whole binary message.
func (c *conn) onBinary(payload []byte, now int64) {
	if c.role == roleFrontend && c.w.telemetry != nil && c.state == stateOpen {
		c.w.telemetry.receive(c, payload, now)
	}
}

// noticePrefix is the start of the presence messages. A run receives many of
// them and needs few.
var noticePrefix = []byte(`{"type":"gateway.device_`)

// onText processes a whole text message.
func (c *conn) onText(payload []byte, now int64) error {
	if i := bytes.Index(payload, []byte(checkMarker)); i >= 0 {
		c.onCheckedText(payload, payload[i+len(checkMarker):], now)
		return nil
	}
	if c.state == stateOpen && c.knows == len(c.known) && bytes.HasPrefix(payload, noticePrefix) {
		return nil
	}
	var e protocol.Envelope
	if err := e.Parse(payload); err != nil {
		c.w.problems.add(problemCorrupt, "%s: message from the gateway: %v", c, err)
		return nil
	}
	switch string(e.Type) {
	case protocol.TypeWelcome:
		c.onWelcome(&e, now)
	case protocol.TypeDeviceOnline:
		var n protocol.DeviceNotice
		if c.decode(&e, &n) {
			c.learn(n.DeviceID, n.Stream)
		}
	case protocol.TypeLost:
		var l protocol.Lost
		if c.decode(&e, &l) && c.w.telemetry != nil && c.role == roleFrontend {
			c.w.telemetry.lost(c, &l)
		}
	case protocol.TypeError:
		var p protocol.Error
		if c.decode(&e, &p) {
			c.onError(&e, &p)
		}
	}
	return nil
}

func (c *conn) decode(e *protocol.Envelope, into any) bool {
	if err := json.Unmarshal(e.Payload, into); err != nil {
		c.w.problems.add(problemCorrupt, "%s: payload of %s: %v", c, e.Type, err)
		return false
	}
	return true
}

// onWelcome processes gateway.welcome: the connection is open.
func (c *conn) onWelcome(e *protocol.Envelope, now int64) {
	var p protocol.Welcome
	if c.state != stateGreeting || c.hs == nil {
		c.w.problems.add(problemCorrupt, "%s: a second gateway.welcome", c)
		return
	}
	if !c.decode(e, &p) {
		return
	}
	c.state, c.session = stateOpen, p.Session
	if c.role == roleFrontend {
		if c.table = c.w.tables[p.Node]; c.table == nil {
			c.table = &streamTable{}
			c.w.tables[p.Node] = c.table
		}
		if c.w.o.fansOut() {
			c.known = make([]bool, c.w.o.allDevices())
		}
		for i := range p.Devices {
			c.learn(p.Devices[i].DeviceID, p.Devices[i].Stream)
		}
	}
	c.hs.ramp.opened(c, now)
}

// learn stores the stream number of a device of this run.
func (c *conn) learn(id string, stream uint32) {
	digits, ok := strings.CutPrefix(id, c.w.prefix+devicePart)
	i, err := strconv.Atoi(digits)
	if !ok || err != nil || i < 0 || i >= len(c.known) {
		return
	}
	c.table.set(stream, i)
	c.lastValid = false
	if !c.known[i] {
		c.known[i] = true
		c.knows++
	}
}

// onError processes gateway.error, which concerns a command or the run itself.
func (c *conn) onError(e *protocol.Envelope, p *protocol.Error) {
	if e.Re != nil && c.role == roleFrontend && c.w.commands != nil && c.w.commands.failed(c, e.Re, p) {
		return
	}
	c.w.problems.add(problemRefused, "%s: gateway.error %s: %s", c, p.Code, p.Message)
}
