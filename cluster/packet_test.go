package cluster

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// packetOf returns a packet with a header and the records given.
func packetOf(h header, records ...[]byte) string {
	b := make([]byte, headerSize)
	h.stamp(b)
	return string(append(b, bytes.Join(records, nil)...))
}

var someMessages = map[string]federation.Message{
	"command": {
		Kind: federation.KindCommand, Urgent: true, TimeoutMS: 1<<32 - 1, Corr: 1<<64 - 1, Session: uuid.UUID{1, 2}, Sender: uuid.UUID{15: 9},
		Name: "press-1", ID: "c-1", Device: "press-2", Text: []byte(`{"type":"start"}`),
	},
	"failure":    {Kind: federation.KindFailure, Corr: 7, Code: protocol.ErrTimeout, Text: []byte("too late")},
	"count":      {Kind: federation.KindCount, Count: 1<<32 - 1, Text: []byte{}},
	"longest id": {Kind: federation.KindQuery, ID: strings.Repeat("x", maxString), Text: []byte{}},
}

func TestMessagesSurviveTheirWay(t *testing.T) {
	for name, want := range someMessages {
		t.Run(name, func(t *testing.T) {
			b := appendMessage(nil, &want)
			if len(b) > messageSize(&want) {
				t.Errorf("%d bytes, messageSize says %d", len(b), messageSize(&want))
			}
			rs := records(b)
			kind, body, ok, err := rs.next()
			if kind != recordMessage || !ok || err != nil || rs != "" {
				t.Fatalf("record of kind %d, %t, %v, rest %q", kind, ok, err, rs)
			}
			got := federation.Message{Session: uuid.UUID{3}, Sender: uuid.UUID{4}, Urgent: true, Name: "left over"}
			if err := readMessage(body, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestChangesSurviveTheirWay(t *testing.T) {
	h := federation.Holding{Device: "press-1", Epoch: 1 << 60, Type: "tensile tester", Customer: "é", Meta: map[string]string{"room": "12", "empty": ""},
		At: federation.Range{First: 2, Chain: 3, Start: 4, From: 5, To: 5, Count: 10, Before: []federation.Chain{{End: 9}}}}
	rs := records(appendHold(nil, 42, &h))
	kind, body, _, _ := rs.next()
	if seq := body.uvarint(); kind != recordHold || seq != 42 {
		t.Errorf("kind %d, seq %d", kind, seq)
	}
	if got := cloned(body.holding()); body.bad || body.s != "" || !reflect.DeepEqual(got, h) {
		t.Errorf("got %+v, bad %t", got, body.bad)
	}
	r := federation.Release{Device: "press-1", Epoch: 7, Reason: "closed_by_peer", Begin: federation.Range{First: 1, Chain: 1}, End: federation.Range{First: 1, Chain: 2, To: 9, Count: 13, Before: []federation.Chain{{End: 4}}}}
	rs = records(appendRelease(nil, 0, &r))
	_, body, _, _ = rs.next()
	_ = body.uvarint()
	if got := body.release(); body.bad || body.s != "" || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, bad %t", got, body.bad)
	}
}

func TestMalformedPacketsAreRefused(t *testing.T) {
	good := packetOf(header{node: 1, number: 1, sent: 1}, appendMessage(nil, &federation.Message{Kind: federation.KindAnswer, Name: "n", Text: []byte("t")}))
	other := []byte(good)
	other[0] = packetVersion + 1
	message := func(change func(b []byte) []byte) string {
		b := appendMessage(nil, &federation.Message{Kind: federation.KindAnswer, Name: "n"})
		return packetOf(header{node: 1}, endRecord(change(b), 0))
	}
	for name, text := range map[string]string{
		"empty":                  "",
		"not a packet":           `{"dst":"press-1"}`,
		"another version":        string(other),
		"no node":                packetOf(header{}),
		"half a header":          good[:headerSize-1],
		"half a record's header": good[:headerSize+3],
		"half a record":          good[:len(good)-1],
		"a kind of 0":            message(func(b []byte) []byte { b[recordHeader] = 0; return b }),
		"unknown flags":          message(func(b []byte) []byte { b[recordHeader+1] = 0x80; return b }),
		"a long string":          packetOf(header{node: 1}, appendMessage(nil, &federation.Message{Kind: 1, Name: strings.Repeat("x", maxString+1)})),
		"a session cut off":      packetOf(header{node: 1}, []byte{byte(recordMessage), 0, 0, 0, 6, 1, flagSession, 0, 0, 0, 1}),
		"a number of 65 bits":    packetOf(header{node: 1}, append([]byte{byte(recordUser), 0, 0, 0, 10}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2)),
		"a timeout of 33 bits":   packetOf(header{node: 1}, []byte{byte(recordMessage), 0, 0, 0, 7, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x10}),
		"many entries":           packetOf(header{node: 1}, endRecord(append(beginRecord(nil, recordHold), append(append([]byte{1, 0, 0, 0, 0}, make([]byte, 7)...), maxMeta+1)...), 0)),
		"neither here nor away":  packetOf(header{node: 1}, endRecord(append(beginRecord(nil, recordUser), 1, 1, 'u', 2), 0)),
	} {
		t.Run(name, func(t *testing.T) {
			if err := readAll(text); err == nil {
				t.Errorf("%q was read", text)
			}
		})
	}
	if err := readAll(good); err != nil {
		t.Errorf("the good one: %v", err)
	}
}

func TestUnknownRecordsAreSkipped(t *testing.T) {
	b, m := testBus(t)
	p := known(b, 7)
	newer := endRecord(append(beginRecord(nil, 200), "news"...), 0)
	h := header{node: 7, number: 1, sent: b.now()}
	text := packetOf(h, newer, appendMessage(nil, &federation.Message{Kind: federation.KindAnswer, Corr: 3}))
	rs, err := h.parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b.receivePacket(b.self.channel, &h, rs)
	if len(m.messages) != 1 || m.messages[0].Corr != 3 {
		t.Errorf("messages %+v of %v", m.messages, p.name)
	}
}

// readAll reads a packet as a node does, whatever its records are.
func readAll(text string) error {
	var h header
	rs, err := h.parse(text)
	if err != nil {
		return err
	}
	for {
		kind, body, ok, err := rs.next()
		if !ok {
			return err
		}
		if err := readRecord(kind, body); err != nil {
			return err
		}
	}
}

func readRecord(kind recordKind, body reader) error {
	switch kind {
	case recordMessage:
		return readMessage(body, &federation.Message{})
	case recordTelemetry:
		return readTelemetry(body, &federation.Batch{})
	case recordHold, recordRelease, recordUser, recordInterest:
		if _ = body.uvarint(); body.bad {
			return errMalformed
		}
		switch kind {
		case recordHold:
			body.holding()
		case recordRelease:
			body.release()
		case recordUser:
			body.string()
			body.bool()
		default:
			body.string()
			body.uvarint()
		}
	}
	if body.bad {
		return errMalformed
	}
	return nil
}
