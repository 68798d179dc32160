package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestMessageRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		m := randomMessage(rnd)
		text, err := m.Append([]byte("prefix"))
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		text = bytes.TrimPrefix(text, []byte("prefix"))
		var e Envelope
		if err := e.Parse(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		sameMessage(t, e.Message(), m)
		var decoded Message
		if err := json.Unmarshal(text, &decoded); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		decoded.Payload = m.Payload // encoding/json drops the space around it; Parse compared the bytes
		sameMessage(t, decoded, m)
		checkEnvelope(t, text)
		if t.Failed() {
			t.Fatalf("message %s", text)
		}
	}
}

func TestMessageAppend(t *testing.T) {
	m := Message{Type: "a.b", ID: "i<&>", Re: "r", Src: "s", Dst: "@user/u", TS: -1, Urgent: true, TimeoutMS: 9, Payload: []byte(`{"x": "<é>"}`)}
	got, err := m.Append(nil)
	want := `{"type":"a.b","id":"i<&>","re":"r","src":"s","dst":"@user/u","ts":-1,"urgent":true,"timeout_ms":9,"payload":{"x": "<é>"}}`
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	m = Message{Type: "a"}
	if got, err := m.Append(nil); err != nil || string(got) != `{"type":"a"}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestMessageAppendRefuses(t *testing.T) {
	for _, tc := range []struct {
		m              Message
		field, problem string
	}{
		{Message{}, "type", "dotted"},
		{Message{Type: `a","src":"x`}, "type", "dotted"},
		{Message{Type: strings.Repeat("a", 129)}, "type", "at most 128"},
		{Message{Type: "a", ID: `x","src":"y`}, "id", "quote"},
		{Message{Type: "a", ID: "x\\"}, "id", "escape"},
		{Message{Type: "a", ID: "x\n"}, "id", "not printable"},
		{Message{Type: "a", ID: "\xef\xbf"}, "id", "UTF-8"},
		{Message{Type: "a", ID: strings.Repeat("é", 33)}, "id", "66 bytes"},
		{Message{Type: "a", Re: `é"`}, "re", "quote"},
		{Message{Type: "a", Src: `"`}, "src", "quote"},
		{Message{Type: "a", Src: strings.Repeat("s", 129)}, "src", "129 bytes"},
		{Message{Type: "a", Dst: "a\x00"}, "dst", "not printable"},
		{Message{Type: "a", Dst: strings.Repeat("d", 201)}, "dst", "201 bytes"},
		{Message{Type: "a", TS: MaxTS + 1}, "ts", "out of range"},
		{Message{Type: "a", TS: -MaxTS - 1}, "ts", "out of range"},
		{Message{Type: "a", TimeoutMS: -1}, "timeout_ms", "out of range"},
		{Message{Type: "a", TimeoutMS: MaxTimeoutMS + 1}, "timeout_ms", "out of range"},
		{Message{Type: "a", Payload: []byte(`1,"src":"x"`)}, "payload", "at byte 1"},
		{Message{Type: "a", Payload: []byte(`1}`)}, "payload", "at byte 1"},
		{Message{Type: "a", Payload: []byte(` `)}, "payload", "at byte 1"},
		{Message{Type: "a", Payload: []byte(`{"a":tru}`)}, "payload", "at byte 5"},
		{Message{Type: "a", Payload: []byte("\"\xff\"")}, "payload", "UTF-8"},
		{Message{Type: "a", Payload: []byte(strings.Repeat("[", 64) + strings.Repeat("]", 64))}, "payload", "deeper than 64"},
	} {
		got, err := tc.m.Append([]byte("kept"))
		fe, isField := errors.AsType[*FieldError](err)
		if !isField || fe.Field != tc.field || !strings.Contains(fe.Problem, tc.problem) || string(got) != "kept" {
			t.Errorf("%+v: %q, %v", tc.m, got, err)
		}
	}
}

func TestNewMessage(t *testing.T) {
	for _, tc := range []struct {
		payload any
		want    string
	}{
		{nil, `{"type":"a"}`},
		{json.RawMessage(`{"kept" : 1}`), `{"type":"a","payload":{"kept" : 1}}`},
		{Closing{RetryAfterMS: 5}, `{"type":"a","payload":{"retry_after_ms":5}}`},
		{"<b>", `{"type":"a","payload":"<b>"}`},
		{[]int(nil), `{"type":"a","payload":null}`},
	} {
		m, err := NewMessage("a", tc.payload)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Append(nil); err != nil || string(got) != tc.want {
			t.Errorf("got %s, %v, want %s", got, err, tc.want)
		}
	}
	if _, err := NewMessage("Not a type", nil); err == nil {
		t.Error("a malformed type was accepted")
	}
	fe, _ := errors.AsType[*FieldError](func() error { _, err := NewMessage("a", make(chan int)); return err }())
	if fe == nil || fe.Field != "payload" {
		t.Errorf("a channel as payload: %v", fe)
	}
}

func TestMessageAppendDoesNotAllocate(t *testing.T) {
	m := Message{Type: "test.start", ID: "mérés", Dst: "ut-01", TS: 1763720000123456, Payload: []byte(`{"speed":12.5}`)}
	dst := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { dst, _ = m.Append(dst[:0]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEnvelopeMessageOwnsItsMemory: the scanned bytes are used again.
func TestEnvelopeMessageOwnsItsMemory(t *testing.T) {
	raw := []byte(`{"type":"a","id":"1","payload":[1]}`)
	var e Envelope
	if err := e.Parse(raw); err != nil {
		t.Fatal(err)
	}
	m := e.Message()
	clear(raw)
	if m.Type != "a" || m.ID != "1" || string(m.Payload) != "[1]" {
		t.Errorf("%+v changed with the bytes it was read from", m)
	}
}

func randomMessage(rnd *rand.Rand) Message {
	m := Message{Type: randomString(rnd, "abz019_", 1, 20)}
	for range rnd.IntN(3) {
		m.Type += "." + randomString(rnd, "abz019_", 1, 20)
	}
	const printable = "abcXYZ 019.,:;!?<>&'/[]{}-_@#~"
	if rnd.IntN(2) == 0 {
		m.ID = randomString(rnd, printable+"éű€😀", 1, 16)
	}
	if rnd.IntN(2) == 0 {
		m.Re = randomString(rnd, printable, 1, 64)
	}
	if rnd.IntN(2) == 0 {
		m.Src = randomString(rnd, printable, 1, 128)
	}
	if rnd.IntN(2) == 0 {
		m.Dst = randomString(rnd, printable, 1, 200)
	}
	if rnd.IntN(2) == 0 {
		m.TS = rnd.Int64N(2*MaxTS+1) - MaxTS
	}
	m.Urgent = rnd.IntN(2) == 0
	if rnd.IntN(2) == 0 {
		m.TimeoutMS = 1 + rnd.IntN(MaxTimeoutMS)
	}
	if rnd.IntN(4) != 0 {
		m.Payload = randomJSON(rnd, 6)
	}
	return m
}

func randomString(rnd *rand.Rand, from string, least, most int) string {
	letters := []rune(from)
	var s strings.Builder
	for range least + rnd.IntN(most-least+1) {
		s.WriteRune(letters[rnd.IntN(len(letters))])
	}
	return s.String()
}

// randomJSON makes a value by encoding/json, at most depth levels deep.
func randomJSON(rnd *rand.Rand, depth int) json.RawMessage {
	var value func(depth int) any
	value = func(depth int) any {
		kind := rnd.IntN(7)
		if depth == 0 {
			kind = rnd.IntN(5)
		}
		switch kind {
		case 0:
			return nil
		case 1:
			return rnd.IntN(2) == 0
		case 2:
			return rnd.NormFloat64() * 1e10
		case 3:
			return rnd.Int64() - rnd.Int64()
		case 4:
			return randomString(rnd, "abc\"\\/\b\f\n\r\t\x00\x1f<é€😀\u2028", 0, 30)
		case 5:
			list := make([]any, rnd.IntN(5))
			for i := range list {
				list[i] = value(depth - 1)
			}
			return list
		}
		object := map[string]any{}
		for range rnd.IntN(5) {
			object[randomString(rnd, "abc\"\\é\n", 0, 12)] = value(depth - 1)
		}
		return object
	}
	text, err := json.Marshal(value(depth))
	if err == nil && rnd.IntN(2) == 0 {
		var spaced bytes.Buffer
		err = json.Indent(&spaced, text, "", "\t")
		text = spaced.Bytes()
	}
	if err != nil {
		panic(err)
	}
	return text
}
