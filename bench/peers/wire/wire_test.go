package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
)

var protocols = map[string]Protocol{
	"labgate": Labgate{}, "nats": NATS{}, "mqtt": MQTT{}, "centrifuge json": CentrifugeJSON{}, "centrifuge protobuf": CentrifugeProtobuf{},
	"hub": Hub{}, "relay": Relay{},
}

// sink is an endpoint that stores all messages.
type sink struct {
	delivered []string
	sent      [][]byte
}

func (s *sink) Deliver(p []byte) { s.delivered = append(s.delivered, string(p)) }
func (s *sink) Send(f []byte)    { s.sent = append(s.sent, f) }

// feed passes the payload of one frame to c in reads of the given size. Unused
// bytes are passed again, together with the next read.
func feed(c Client, op wsframe.Opcode, payload []byte, size int, to Endpoint) error {
	for have, done := 0, 0; done < len(payload); {
		have = min(have+size, len(payload))
		n, err := c.Receive(op, payload[done:have], have == len(payload), to)
		if err != nil {
			return err
		}
		done += n
	}
	return nil
}

// unframe takes a client's frame apart; its masking key must be 0.
func unframe(t *testing.T, frame []byte) (op wsframe.Opcode, payload []byte) {
	t.Helper()
	if len(frame) < 6 || frame[0]&0x80 == 0 || frame[1]&0x80 == 0 {
		t.Fatalf("not a masked frame: %x", frame)
	}
	size, n := int(frame[1]&0x7f), 2
	if size == 126 {
		size, n = int(binary.BigEndian.Uint16(frame[2:])), 4
	}
	if key := binary.BigEndian.Uint32(frame[n:]); key != 0 || len(frame) != n+4+size {
		t.Fatalf("key %x, size %d of %d", key, size, len(frame))
	}
	return wsframe.Opcode(frame[0] & 0xf), frame[n+4:]
}

func TestFrameHoldsThePayloadWhereItSays(t *testing.T) {
	payload := []byte(`{"a":"` + strings.Repeat("x", 120) + `"}`)
	for name, p := range protocols {
		for _, shape := range []Shape{FanOut, Unicast} {
			frame, at := p.Client(Spec{Shape: shape, Sender: true, Index: 7, Text: true}).Frame(payload)
			_, got := unframe(t, frame)
			if !bytes.Equal(frame[at+1:at+len(payload)], payload[1:]) {
				t.Errorf("%s, %s: at %d stands %q", name, shape, at, frame[at:])
			}
			if shape == Unicast && name == "labgate" {
				if want := `{"dst":"d7","a":"` + string(payload[6:]); string(got) != want {
					t.Errorf("labgate: envelope %q, want %q", got, want)
				}
			} else if !bytes.Equal(frame[at:at+len(payload)], payload) {
				t.Errorf("%s, %s: payload %q", name, shape, frame[at:])
			}
		}
	}
}

func TestOpcodes(t *testing.T) {
	for name, want := range map[string]wsframe.Opcode{
		"labgate": wsframe.OpText, "nats": wsframe.OpBinary, "mqtt": wsframe.OpBinary, "centrifuge json": wsframe.OpText,
		"centrifuge protobuf": wsframe.OpBinary, "hub": wsframe.OpText, "relay": wsframe.OpText,
	} {
		frame, _ := protocols[name].Client(Spec{Shape: Unicast, Sender: true, Text: true}).Frame([]byte("{}"))
		if op, _ := unframe(t, frame); op != want {
			t.Errorf("%s sends %v", name, op)
		}
	}
	for _, name := range []string{"labgate", "hub", "relay"} {
		frame, _ := protocols[name].Client(Spec{Shape: FanOut, Sender: true}).Frame([]byte("x"))
		if op, _ := unframe(t, frame); op != wsframe.OpBinary {
			t.Errorf("%s sends telemetry as %v", name, op)
		}
	}
}

// dialogue is what a server sends to one connection, frame by frame.
type dialogue struct {
	name     string
	protocol string
	spec     Spec
	frames   []string
	readyAt  int // frames after which it is ready
	want     []string
	answers  int
}

var dialogues = []dialogue{
	{
		name: "labgate front end", protocol: "labgate", spec: Spec{Shape: FanOut}, readyAt: 1,
		frames: []string{`{"type":"gateway.welcome","payload":{}}`, "telemetry", `{"type":"gateway.device_online","payload":{}}`, "more"},
		want:   []string{"telemetry", "more"},
	},
	{
		name: "labgate device", protocol: "labgate", spec: Spec{Shape: Unicast, Text: true}, readyAt: 1,
		frames: []string{`{"type":"gateway.welcome"}`, `{"src":"f1","dst":"d1","x":1}`},
		want:   []string{`{"src":"f1","dst":"d1","x":1}`},
	},
	{
		name: "nats receiver", protocol: "nats", spec: Spec{Shape: FanOut}, readyAt: 2, answers: 1,
		frames: []string{
			"INFO {\"a\":1}\r\n", "PONG\r\n",
			"MSG lab.t1 1 5\r\nhello\r\nMSG lab.t1 1 5\r\nworld\r\nPING\r\nMSG lab.t1 1 3\r\nend\r\n",
			"MSG lab.t1 1 0\r\n\r\n+OK\r\n", "MSG lab.t1 1 3\r\nMSG\r\n",
		},
		want: []string{"hello", "world", "end", "", "MSG"},
	},
	{
		name: "mqtt receiver", protocol: "mqtt", spec: Spec{Shape: FanOut}, readyAt: 2,
		frames: []string{
			"\x20\x02\x00\x00", "\x90\x03\x00\x01\x00",
			"\x30\x0d\x00\x06lab/t1hello\x30\x0d\x00\x06lab/t1world", "\x30\x08\x00\x06lab/t1",
			"\x30\x88\x01\x00\x06lab/t1" + strings.Repeat("x", 128) + "\xd0\x00",
		},
		want: []string{"hello", "world", "", strings.Repeat("x", 128)},
	},
	{
		name: "mqtt sender", protocol: "mqtt", spec: Spec{Shape: FanOut, Sender: true}, readyAt: 1,
		frames: []string{"\x20\x02\x00\x00"},
	},
	{
		name: "centrifuge json receiver", protocol: "centrifuge json", spec: Spec{Shape: FanOut}, readyAt: 2, answers: 1,
		frames: []string{
			`{"id":1,"connect":{"client":"x","ping":25,"pong":true}}`, `{"id":2,"subscribe":{}}`,
			`{"push":{"channel":"lab.t1","pub":{"data":{"a":1}}}}` + "\n" + `{"push":{"channel":"lab.t1","pub":{"data":{"a":2}}}}`, `{}`,
		},
		want: []string{`{"a":1}`, `{"a":2}`},
	},
	{
		name: "centrifuge json sender", protocol: "centrifuge json", spec: Spec{Shape: FanOut, Sender: true}, readyAt: 1,
		frames: []string{`{"id":1,"connect":{}}`, `{"id":3,"publish":{}}` + "\n"},
	},
	{
		name: "centrifuge protobuf receiver", protocol: "centrifuge protobuf", spec: Spec{Shape: FanOut}, readyAt: 2, answers: 1,
		frames: []string{
			"\x04\x08\x01\x2a\x00", "\x04\x08\x02\x32\x00",
			// Reply{push: {channel: "lab.t1", pub: {data: "hello"}}}, twice, and a ping.
			"\x13\x22\x11\x12\x06lab.t1\x22\x07\x22\x05hello\x13\x22\x11\x12\x06lab.t1\x22\x07\x22\x05world\x00",
			// The same with another size, and with a field after the data.
			"\x11\x22\x0f\x12\x06lab.t1\x22\x05\x22\x03end", "\x13\x22\x11\x12\x06lab.t1\x22\x07\x22\x03eod\x30\x01",
		},
		want: []string{"hello", "world", "end", "eod"},
	},
	{
		name: "hub receiver", protocol: "hub", spec: Spec{Shape: FanOut}, readyAt: 1,
		frames: []string{Greeting, "one", Greeting}, want: []string{"one", Greeting},
	},
	{name: "relay receiver", protocol: "relay", spec: Spec{Shape: Unicast}, frames: []string{"one"}, want: []string{"one"}},
}

func TestReceiveInReadsOfEverySize(t *testing.T) {
	for _, d := range dialogues {
		for size := 1; size < 200; size++ {
			c, to := protocols[d.protocol].Client(d.spec), &sink{}
			for i, f := range d.frames {
				if c.Ready() != (i >= d.readyAt) {
					t.Fatalf("%s: ready is %v after %d frames", d.name, c.Ready(), i)
				}
				op := wsframe.OpBinary
				if strings.HasPrefix(f, "{") || f == Greeting {
					op = wsframe.OpText
				}
				if err := feed(c, op, []byte(f), size, to); err != nil {
					t.Fatalf("%s, frame %d in reads of %d: %v", d.name, i, size, err)
				}
			}
			if got, want := strings.Join(to.delivered, "|"), strings.Join(d.want, "|"); got != want || !c.Ready() || len(to.sent) != d.answers {
				t.Fatalf("%s in reads of %d: %q, want %q; ready %v, %d answers", d.name, size, got, want, c.Ready(), len(to.sent))
			}
		}
	}
}

func TestReceiveRefuses(t *testing.T) {
	for _, c := range []struct{ protocol, frame string }{
		{"nats", "-ERR 'Authorization Violation'\r\n"},
		{"nats", "MSG lab.t1 1 x\r\n"},
		{"nats", "MSG lab.t1 1 5\r\nhel"}, // and the frame ends
		{"mqtt", "\x20\x02\x00\x05"},
		{"mqtt", "\x90\x03\x00\x01\x80"},
		{"mqtt", "\x30\xff\xff\xff\xff\x01"},
		{"mqtt", "\x30\x03\x00\x06a"},
		{"mqtt", "\x30\x09\x00\x06lab"},
		{"mqtt", "\x40\x00"},
		{"centrifuge json", `{"id":2,"error":{"code":103,"message":"permission denied"}}`},
		{"centrifuge json", `{"push":{"channel":"other","pub":{"data":{}}}}`},
		{"centrifuge json", `nonsense`},
		{"centrifuge protobuf", "\x05\x08\x02\x12\x01x"},
		{"centrifuge protobuf", "\x02\x22\x00"},
		{"centrifuge protobuf", "\x02\x22\x05"},
		{"centrifuge protobuf", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		{"centrifuge protobuf", "\x01\x0d"},
		{"labgate", `{"type":"gateway.error","payload":{}}`},
		{"hub", "not the greeting"},
	} {
		p := protocols[c.protocol].Client(Spec{Shape: FanOut})
		if _, err := p.Receive(wsframe.OpText, []byte(c.frame), true, &sink{}); err == nil {
			t.Errorf("%s took %q", c.protocol, c.frame)
		}
	}
}

func TestMQTTHello(t *testing.T) {
	_, got := unframe(t, MQTT{}.Client(Spec{Shape: Unicast, Index: 5}).Hello())
	want := "\x10\x14\x00\x04MQTT\x04\x02\x00\x00\x00\x08bench-r5" + "\x82\x0b\x00\x01\x00\x06lab/d5\x00"
	if string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNATSHello(t *testing.T) {
	_, got := unframe(t, NATS{}.Client(Spec{Shape: Unicast, Index: 5}).Hello())
	if s := string(got); !strings.HasPrefix(s, "CONNECT {") || !strings.HasSuffix(s, "}\r\nSUB lab.d5 1\r\nPING\r\n") {
		t.Errorf("receiver: %q", s)
	}
	_, got = unframe(t, NATS{}.Client(Spec{Shape: Unicast, Index: 5, Sender: true}).Hello())
	if s := string(got); strings.Contains(s, "SUB ") || !strings.HasSuffix(s, "PING\r\n") {
		t.Errorf("sender: %q", s)
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		protocol Protocol
		spec     Spec
		want     Request
	}{
		{Labgate{}, Spec{Shape: FanOut, Sender: true}, Request{"/ws/device/t1", "labgate.v1"}},
		{Labgate{}, Spec{Shape: FanOut, Index: 3}, Request{"/ws/frontend/f3?telemetry=all", "labgate.v1"}},
		{Labgate{}, Spec{Shape: Unicast, Index: 3}, Request{"/ws/device/d3", "labgate.v1"}},
		{Labgate{}, Spec{Shape: Unicast, Index: 3, Sender: true}, Request{"/ws/frontend/f3?telemetry=none", "labgate.v1"}},
		{MQTT{}, Spec{}, Request{"/mqtt", "mqtt"}},
		{NATS{}, Spec{}, Request{"/", ""}},
		{CentrifugeJSON{}, Spec{}, Request{"/connection/websocket", ""}},
		{CentrifugeProtobuf{}, Spec{}, Request{"/connection/websocket?cf_protocol=protobuf", "centrifuge-protobuf"}},
		{Hub{}, Spec{Shape: FanOut, Index: 3}, Request{"/hub", ""}},
		{Hub{}, Spec{Shape: Unicast, Index: 3}, Request{"/pair/3/receive", ""}},
		{Hub{}, Spec{Shape: Unicast, Index: 3, Sender: true}, Request{"/pair/3/send", ""}},
		{Relay{}, Spec{Shape: Unicast, Index: 3}, Request{"/relay/3", ""}},
	} {
		if got := c.protocol.Request(c.spec); got != c.want {
			t.Errorf("%T %+v: %+v, want %+v", c.protocol, c.spec, got, c.want)
		}
	}
}
