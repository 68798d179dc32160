package protocol

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       Message
	}{
		{"only type", `{"type":"a"}`, Message{Type: "a"}},
		{"space everywhere", " \t\r\n{ \"type\" : \"a.b_2\" , \"id\"\n:\t\"1\" }\r\n ", Message{Type: "a.b_2", ID: "1"}},
		{"every field", `{"type":"test.start","id":"c-1","re":"q","src":"me","dst":"@frontends","ts":1763720000123456,"urgent":true,"timeout_ms":5000,"payload":{"a":[1,{"b":null}]}}`,
			Message{Type: "test.start", ID: "c-1", Re: "q", Src: "me", Dst: "@frontends", TS: 1763720000123456, Urgent: true, TimeoutMS: 5000, Payload: []byte(`{"a":[1,{"b":null}]}`)}},
		{"unknown fields", `{"x":1,"type":"a","typ":{},"types":"","id2":[[]],"":0,"x":2}`, Message{Type: "a"}},
		{"unknown name with escapes", `{"type":"a","caf\u00e9\n\"\\":1,"sr\nc":1,"urge\nt":1}`, Message{Type: "a"}},
		{"payload null", `{"type":"a","payload":null}`, Message{Type: "a", Payload: []byte(`null`)}},
		{"payload string", `{"type":"a","payload":"\ud800 lone \/"}`, Message{Type: "a", Payload: []byte(`"\ud800 lone \/"`)}},
		{"payload with inner src", `{"type":"a","payload":{"src":"x","src":"y","SRC":1}}`, Message{Type: "a", Payload: []byte(`{"src":"x","src":"y","SRC":1}`)}},
		{"payload space kept", `{"type":"a","payload": [ 1 , 2 ] }`, Message{Type: "a", Payload: []byte(`[ 1 , 2 ]`)}},
		{"numbers", `{"type":"a","payload":[0,-0,1.5,-1.25e+10,1E-7,0.0,12345678901234567890e400]}`, Message{Type: "a", Payload: []byte(`[0,-0,1.5,-1.25e+10,1E-7,0.0,12345678901234567890e400]`)}},
		{"src of any type", `{"type":"a","src":{"x":[1]}}`, Message{Type: "a"}},
		{"src null", `{"src":null,"type":"a"}`, Message{Type: "a"}},
		{"src with escapes", `{"src":"\u0061","type":"a"}`, Message{Type: "a"}},
		{"ts negative", `{"type":"a","ts":-9007199254740992}`, Message{Type: "a", TS: -MaxTS}},
		{"ts largest", `{"type":"a","ts":9007199254740992}`, Message{Type: "a", TS: MaxTS}},
		{"ts minus zero", `{"type":"a","ts":-0}`, Message{Type: "a"}},
		{"null is absent", `{"type":"a","id":null,"re":null,"dst": null ,"ts":null,"urgent":null,"timeout_ms":null,"payload":1}`, Message{Type: "a", Payload: []byte(`1`)}},
		{"urgent false", `{"type":"a","urgent":false}`, Message{Type: "a"}},
		{"timeout limits", `{"type":"a","timeout_ms":600000}`, Message{Type: "a", TimeoutMS: MaxTimeoutMS}},
		{"longest id", `{"type":"a","id":"` + strings.Repeat("i", 64) + `"}`, Message{Type: "a", ID: strings.Repeat("i", 64)}},
		{"longest type", `{"type":"` + strings.Repeat("t", 128) + `"}`, Message{Type: strings.Repeat("t", 128)}},
		{"longest dst", `{"type":"a","dst":"` + strings.Repeat("d", 200) + `"}`, Message{Type: "a", Dst: strings.Repeat("d", 200)}},
		{"id beyond ASCII", `{"type":"a","id":"mérés 7/€ü"}`, Message{Type: "a", ID: "mérés 7/€ü"}},
		{"deepest", `{"type":"a","payload":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
			Message{Type: "a", Payload: []byte(strings.Repeat("[", 63) + strings.Repeat("]", 63))}},
		{"alternating depth", `{"type":"a","x":` + strings.Repeat(`{"":[`, 31) + `{}` + strings.Repeat("]}", 31) + `}`, Message{Type: "a"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var e Envelope
			if err := e.Parse([]byte(tc.text)); err != nil {
				t.Fatal(err)
			}
			sameMessage(t, e.Message(), tc.want)
		})
	}
}

func TestParseRefusesField(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tc := range []struct{ text, field, problem string }{
		{`{}`, "type", "missing"},
		{`{"src":"a"}`, "type", "missing"},
		{`{"type":""}`, "type", "dotted lower-case words"},
		{`{"type":"Test"}`, "type", "dotted lower-case words"},
		{`{"type":"a..b"}`, "type", "dotted lower-case words"},
		{`{"type":".a"}`, "type", "dotted lower-case words"},
		{`{"type":"a."}`, "type", "dotted lower-case words"},
		{`{"type":"a-b"}`, "type", "dotted lower-case words"},
		{`{"type":"\u0061"}`, "type", "dotted lower-case words"},
		{`{"type":"` + long(129) + `"}`, "type", "129 bytes, at most 128 allowed"},
		{`{"type":1}`, "type", "a number where a string is expected"},
		{`{"type":null}`, "type", "null where a string is expected"},
		{`{"type":"a","type":"a"}`, "type", "twice"},
		{`{"type":"a","id":""}`, "id", "empty"},
		{`{"type":"a","id":"` + long(65) + `"}`, "id", "65 bytes, at most 64 allowed"},
		{`{"type":"a","id":"a\u0062"}`, "id", "escape"},
		{`{"type":"a","id":"a\\"}`, "id", "escape"},
		{`{"type":"a","id":"é\n"}`, "id", "escape"},
		{"{\"type\":\"a\",\"id\":\"\x7f\"}", "id", "not printable"},
		{"{\"type\":\"a\",\"id\":\"x\u0085\"}", "id", "not printable"},
		{"{\"type\":\"a\",\"id\":\"\u202ex\"}", "id", `'\u202e', which is not printable`},
		{`{"type":"a","id":7}`, "id", "a number where a string is expected"},
		{`{"type":"a","id":-}`, "id", "a number where a string is expected"},
		{`{"type":"a","id":}`, "id", "no JSON value where a string is expected"},
		{`{"type":"a","id":"1","id":"2"}`, "id", "twice"},
		{`{"type":"a","re":["x"]}`, "re", "an array where a string is expected"},
		{`{"type":"a","re":""}`, "re", "empty"},
		{`{"type":"a","dst":""}`, "dst", "empty"},
		{`{"type":"a","dst":{}}`, "dst", "an object where a string is expected"},
		{`{"type":"a","dst":"` + long(201) + `"}`, "dst", "201 bytes, at most 200 allowed"},
		{`{"type":"a","dst":"@user\/x"}`, "dst", "escape"},
		{`{"type":"a","src":1,"src":2}`, "src", "twice"},
		{`{"type":"a","payload":1,"payload":1}`, "payload", "twice"},
		{`{"type":"a","ts":"1"}`, "ts", "a string where an integer (microseconds since 1970) is expected"},
		{`{"type":"a","ts":1.0}`, "ts", "not written as an integer"},
		{`{"type":"a","ts":1e3}`, "ts", "not written as an integer"},
		{`{"type":"a","ts":9007199254740993}`, "ts", "out of range"},
		{`{"type":"a","ts":-9007199254740993}`, "ts", "out of range"},
		{`{"type":"a","ts":99999999999999999999999999999999999999}`, "ts", "out of range"},
		{`{"type":"a","timeout_ms":0}`, "timeout_ms", "from 1 to 600000"},
		{`{"type":"a","timeout_ms":-1}`, "timeout_ms", "from 1 to 600000"},
		{`{"type":"a","timeout_ms":600001}`, "timeout_ms", "from 1 to 600000"},
		{`{"type":"a","timeout_ms":true}`, "timeout_ms", "a boolean where an integer"},
		{`{"type":"a","urgent":1}`, "urgent", "a number where true or false is expected"},
		{`{"type":"a","urgent":"true"}`, "urgent", "a string where true or false is expected"},
		{`{"type":"a","urgent":[]}`, "urgent", "an array where true or false is expected"},
		{`{"type":"a","id":null,"id":"1"}`, "id", "twice"},
		// Names a lenient receiver takes for a known one.
		{`{"type":"a","SRC":"b"}`, "src", `spelled "SRC"`},
		{`{"type":"a","Src":"b"}`, "src", `spelled "Src"`},
		{`{"type":"a","\u0073rc":"b"}`, "src", `spelled "\\u0073rc"`},
		{`{"type":"a","s\u0052c":"b"}`, "src", "spelled"},
		{`{"type":"a","ſrc":"b"}`, "src", `spelled "\u017frc"`},
		{`{"type":"a","\u017Frc":"b"}`, "src", "spelled"},
		{`{"type":"a","src\u0000":"b"}`, "src", "spelled"},
		{`{"type":"a","src\u0000tail":"b"}`, "src", "spelled"},
		{`{"type":"a","İd":"b"}`, "id", "spelled"},
		{`{"type":"a","ıd":"b"}`, "id", "spelled"},
		{`{"type":"a","tıMEout_ms":1}`, "timeout_ms", "spelled"},
		{`{"type":"a","\u0074\u0069\u006d\u0065\u006f\u0075\u0074\u005f\u006d\u0073":1}`, "timeout_ms", "spelled"},
		{`{"Type":"a"}`, "type", "spelled"},
		{`{"type":"a","PAYLOAD":"a"}`, "payload", "spelled"},
	} {
		t.Run(tc.text[:min(len(tc.text), 60)], func(t *testing.T) {
			var e Envelope
			err := e.Parse([]byte(tc.text))
			fe, isField := errors.AsType[*FieldError](err)
			if !isField || fe.Field != tc.field || !strings.Contains(fe.Problem, tc.problem) {
				t.Fatalf("got %v, want field %q: %s", err, tc.field, tc.problem)
			}
			if len(err.Error()) > 300 {
				t.Errorf("error of %d bytes: %v", len(err.Error()), err)
			}
			if got := e.AppendSpliced(nil, Splice{Src: "x"}); got != nil || e.SplicedSize(Splice{Src: "x"}) != 0 {
				t.Errorf("a refused message was spliced: %s", got)
			}
		})
	}
}

func TestParseRefusesSyntax(t *testing.T) {
	for _, tc := range []struct {
		text   string
		offset int
	}{
		{``, 0}, {` `, 1}, {`null`, 0}, {`[]`, 0}, {`"type"`, 0}, {"\ufeff{}", 0},
		{`{"type":"a"}x`, 12}, {`{"type":"a"}{}`, 12}, {"{\"type\":\"a\"}\x00", 12}, {`{"type":"a"},`, 12},
		{`{"type":"a",}`, 12}, {`{,"type":"a"}`, 1}, {`{"type":"a",,"id":"1"}`, 12}, {`{"type" "a"}`, 8}, {`{"type":"a" "id":"1"}`, 12},
		{`{type:"a"}`, 1}, {`{'type':"a"}`, 1}, {`{"type":"a","x":'b'}`, 16}, {`{"type":"a"/**/}`, 11}, {`{"type":"a"]`, 11},
		{"{\"type\":\"a\",\"x\":\"\n\"}", 17}, {"{\"type\":\"a\",\"x\ty\":1}", 14}, {"{\"type\":\"a\",\"x\":\"0123456789\x1f\"}", 27},
		{`{"type":"a","x":"\x"}`, 18}, {`{"type":"a","x":"\u12g4"}`, 21}, {`{"type":"a","x":"\U0041"}`, 18},
		{`{"type":"a","x":01}`, 17}, {`{"type":"a","x":-}`, 17}, {`{"type":"a","x":+1}`, 16}, {`{"type":"a","x":.5}`, 16}, {`{"type":"a","x":1.}`, 18},
		{`{"type":"a","x":1e}`, 18}, {`{"type":"a","x":1e+}`, 19}, {`{"type":"a","x":0x1}`, 17}, {`{"type":"a","x":1_0}`, 17}, {`{"type":"a","x":NaN}`, 16}, {`{"type":"a","x":-Infinity}`, 17},
		{`{"type":"a","x":True}`, 16}, {`{"type":"a","x":tru}`, 16}, {`{"type":"a","x":n}`, 16}, {`{"type":"a","x":nulll}`, 20}, {`{"type":"a","x":undefined}`, 16},
		{`{"type":"a","id":nul}`, 17}, {`{"type":"a","id":nulll}`, 21}, {`{"type":"a","ts":n}`, 17}, {`{"type":"a","urgent":nil}`, 21},
		{`{"type":"a","ts":01}`, 18}, {`{"type":"a","ts":-}`, 18}, {`{"type":"a","ts":1.}`, 19}, {`{"type":"a","ts":-x}`, 18},
		{`{"type":"a","x":[1,]}`, 19}, {`{"type":"a","x":[,1]}`, 17}, {`{"type":"a","x":[1 2]}`, 19}, {`{"type":"a","x":[1}}`, 18}, {`{"type":"a","x":{"a":1]}`, 22},
		{`{"type":"a","x":{"a"}}`, 20}, {`{"type":"a","x":{"a":}}`, 21}, {`{"type":"a","x":{"a":1,}}`, 23}, {`{"type":"a","x":{1:1}}`, 17}, {`{"type":"a","x":{,}}`, 17},
		{"{\"type\":\"a\",\"x\":\"\xff\"}", 17}, {"{\"type\":\"a\",\"x\":\"\xed\xa0\x80\"}", 17}, {"{\"type\":\"a\",\"x\":\"\xc0\x80\"}", 17}, {"{\"type\":\"a\",\"x\":\"\ufffd\xf4\x90\x80\x80\"}", 20},
		{`{"type":"a","x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, 16 + 63},
		{`{"type":"a","x":` + strings.Repeat(`{"":`, 63) + `{}` + strings.Repeat("}", 63) + `}`, 16 + 63*4},
		{`{"type":"a","x":` + strings.Repeat(`[`, 1<<20), 16 + 63},
	} {
		t.Run(tc.text[:min(len(tc.text), 60)], func(t *testing.T) {
			var e Envelope
			err := e.Parse([]byte(tc.text))
			se, isSyntax := errors.AsType[*SyntaxError](err)
			if !isSyntax || se.Offset != tc.offset || se.Problem == "" {
				t.Fatalf("got %v, want a fault at byte %d", err, tc.offset)
			}
		})
	}
}

// TestParseKeepsIDForTheAnswer: an error answer needs the id of the message.
func TestParseKeepsIDForTheAnswer(t *testing.T) {
	var e Envelope
	if err := e.Parse([]byte(`{"type":"a","id":"c-1","timeout_ms":0}`)); err == nil || string(e.ID) != "c-1" {
		t.Errorf("id %q, error %v", e.ID, err)
	}
	if err := e.Parse([]byte(`[]`)); err == nil || e.ID != nil || e.Type != nil {
		t.Errorf("id %q of an older message, error %v", e.ID, err)
	}
}

// TestParseTruncated cuts messages at every byte: each time an error, no panic.
func TestParseTruncated(t *testing.T) {
	for _, text := range validEnvelopes {
		text = strings.TrimRight(text, " \r\n\t")
		for n := range len(text) {
			// A copy with no spare capacity: reading beyond it would panic.
			cut := append(make([]byte, 0, n), text[:n]...)
			var e Envelope
			if err := e.Parse(cut[:n:n]); err == nil {
				t.Errorf("accepted the first %d bytes of %s", n, text)
			}
		}
	}
}

// TestParseEveryByteChanged replaces each byte of valid messages by others, in
// short ones by all: what is accepted must be what encoding/json accepts.
func TestParseEveryByteChanged(t *testing.T) {
	for _, text := range validEnvelopes {
		if len(text) > 200 {
			continue
		}
		others := "\"\\{}[]:,019-+.eE tnuaS_\x00\x1f\x80\xff"
		if len(text) < 40 {
			others = ""
			for c := range 256 {
				others += string([]byte{byte(c)})
			}
		}
		b := []byte(text)
		for i := range b {
			old := b[i]
			for _, c := range []byte(others) {
				b[i] = c
				checkEnvelope(t, b)
			}
			b[i] = old
		}
	}
}

func TestFieldAlikeFoldsEveryLetter(t *testing.T) {
	for f, name := range fieldNames {
		for i := range name {
			for r := rune(1); r <= math.MaxUint16; r++ {
				other := name[:i] + string(r) + name[i+1:]
				if other != name && strings.EqualFold(other, name) && fieldAlike([]byte(other)) != field(f) {
					t.Errorf("%q is not taken for %s", other, name)
				}
			}
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, text := range append(validEnvelopes, benchEnvelope) {
		raw := []byte(text)
		var e Envelope
		if n := testing.AllocsPerRun(100, func() {
			if err := e.Parse(raw); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations for %s", n, text)
		}
	}
}
