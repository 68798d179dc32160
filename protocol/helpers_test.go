package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// validEnvelopes are accepted by Parse; other tests cut, change and fuzz them.
var validEnvelopes = []string{
	`{"type":"a"}`,
	`{"type":"test.start","id":"c-1","re":"q","src":"me","dst":"@frontends","ts":1763720000123456,"urgent":true,"timeout_ms":5000,"payload":{"a":[1,{"b":null}]}}`,
	`{"src":"first","type":"a","id":"1"}`,
	`{"type":"a","id":"1","src":"last"}`,
	`{"id":"1","src":{"any":["thing",1,null]},"type":"a","re":"2"}`,
	"\t{ \"src\" : \"x\" , \"type\" : \"a\" , \"re\" : \"r\" }\n",
	"{\"type\":\"a\"\n,\n\"src\"\n:\nnull\n,\n\"id\":\"7\"}",
	`{"re":"answer","type":"test.start","payload":"text \u00e9\ud83d\ude00\ud800 \"\\\/\b\f\n\r\t"}`,
	`{"type":"a","payload":[-0.5e-10,0,1E+5,123456789,true,false,null,"",{},[],[[{}]]],"unknown":"é€😀"}`,
	`{"type":"a","id":"mérés 7/€ü 😀 and some more to be long","dst":"dev:é"}`,
	`{"id":null,"type":"a","re" : null ,"dst":null,"ts":null,"urgent":null,"timeout_ms":null}`,
	`{"x\u0041y":1,"type":"a","":{"src":"inner","src":"again"}}`,
	`{"type":"a","ts":-1,"urgent":false,"timeout_ms":1,"payload":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
	`{"type":"long.text","payload":"` + strings.Repeat("0123456789 äöü ", 40) + `"}`,
}

// jsonEnvelope is what encoding/json makes of a message; pointers tell absent
// from zero.
type jsonEnvelope struct {
	Type      *string         `json:"type"`
	ID        *string         `json:"id"`
	Re        *string         `json:"re"`
	Src       json.RawMessage `json:"src"`
	Dst       *string         `json:"dst"`
	TS        *int64          `json:"ts"`
	Urgent    *bool           `json:"urgent"`
	TimeoutMS *int            `json:"timeout_ms"`
	Payload   json.RawMessage `json:"payload"`
}

// checkEnvelope is the differential test of Parse and AppendSpliced against
// encoding/json. It reports whether Parse accepted raw.
func checkEnvelope(t *testing.T, raw []byte) bool {
	t.Helper()
	original := bytes.Clone(raw)
	var e Envelope
	if err := e.Parse(raw); err != nil {
		if len(err.Error()) > 300 {
			t.Fatalf("error of %d bytes: %v", len(err.Error()), err)
		}
		if harmless(raw) {
			t.Fatalf("refused %q: %v", raw, err)
		}
		return false
	}
	if !json.Valid(raw) || !utf8.Valid(raw) {
		t.Fatalf("accepted %q", raw)
	}
	var j jsonEnvelope
	if err := json.Unmarshal(raw, &j); err != nil {
		t.Fatalf("accepted %q, encoding/json says %v", raw, err)
	}
	sameString(t, "type", e.Type, j.Type)
	sameString(t, "id", e.ID, j.ID)
	sameString(t, "re", e.Re, j.Re)
	sameString(t, "dst", e.Dst, j.Dst)
	if e.Src != nil && string(j.Src) != `"`+string(e.Src)+`"` {
		t.Fatalf("src %q, encoding/json %q", e.Src, j.Src)
	}
	if !bytes.Equal(e.Payload, j.Payload) || (e.Payload == nil) != (j.Payload == nil) {
		t.Fatalf("payload %q, encoding/json %q", e.Payload, j.Payload)
	}
	if e.TS != orZero(j.TS) || e.Urgent != orZero(j.Urgent) || e.TimeoutMS != orZero(j.TimeoutMS) {
		t.Fatalf("numbers of %q: %+v", raw, e)
	}
	for _, s := range []Splice{{Src: "ut-01"}, {Src: "ut-01", ID: "new"}, {Src: "u", Re: "n"}, {Src: "0a7e8f52-5b3c-4a94-9d42-8c1a7a6b3f10", ID: "x y", Re: "123456789"}} {
		checkSplice(t, &e, raw, s)
	}
	if !bytes.Equal(raw, original) {
		t.Fatalf("input changed: %q, was %q", raw, original)
	}
	return true
}

// checkSplice compares all members of the spliced message with the original's.
func checkSplice(t *testing.T, e *Envelope, raw []byte, s Splice) {
	t.Helper()
	prefix := []byte("prefix")
	out := e.AppendSpliced(bytes.Clone(prefix), s)
	if !bytes.HasPrefix(out, prefix) || len(out)-len(prefix) != e.SplicedSize(s) {
		t.Fatalf("%d bytes after the prefix, SplicedSize says %d: %q", len(out)-len(prefix), e.SplicedSize(s), out)
	}
	out = out[len(prefix):]
	if !bytes.HasPrefix(out, []byte(`{"src":"`+s.Src+`",`)) {
		t.Fatalf("src is not first: %q", out)
	}
	want, got := members(t, raw), members(t, out)
	want["src"] = []string{quote(s.Src)}
	if s.ID != "" {
		want["id"] = []string{quote(s.ID)}
	}
	if s.Re != "" {
		want["re"] = []string{quote(s.Re)}
	}
	if len(got) != len(want) {
		t.Fatalf("members of %q: got %q, want %q", out, got, want)
	}
	for name, values := range want {
		if strings.Join(got[name], "\x00") != strings.Join(values, "\x00") {
			t.Fatalf("member %q of %q: got %q, want %q", name, out, got[name], values)
		}
	}
	var again Envelope
	if err := again.Parse(out); err != nil {
		t.Fatalf("spliced %q: %v", out, err)
	}
	if string(again.Src) != s.Src || !bytes.Equal(again.Payload, e.Payload) {
		t.Fatalf("src %q, payload %q after the splice", again.Src, again.Payload)
	}
}

// members decodes the top level of an object, each value as its exact bytes,
// all values of a repeated name in order.
func members(t *testing.T, raw []byte) map[string][]string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		m[name.(string)] = append(m[name.(string)], string(v))
	}
	return m
}

// harmless reports whether Parse has to accept raw: valid JSON of one object
// with a good type, and beside it only names that resemble no known one.
func harmless(raw []byte) bool {
	if !json.Valid(raw) || !utf8.Valid(raw) || bytes.ContainsFunc(raw, func(r rune) bool { return r == '\\' }) ||
		bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) > MaxDepth {
		return false
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil || string(all["type"]) != `"a"` || bytes.Count(raw, []byte(`"type"`)) != 1 {
		return false
	}
	for name := range all {
		if name == "type" {
			continue
		}
		if len(name) > 10 { // longer than every known name
			continue
		}
		for _, r := range name {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= utf8.RuneSelf {
				return false
			}
		}
	}
	return true
}

func sameString(t *testing.T, field string, got []byte, want *string) {
	t.Helper()
	if (got == nil) != (want == nil) || want != nil && string(got) != *want {
		t.Fatalf("%s: %q, encoding/json has %v", field, got, want)
	}
}

func sameMessage(t *testing.T, got, want Message) {
	t.Helper()
	if string(got.Payload) != string(want.Payload) {
		t.Errorf("payload %s, want %s", got.Payload, want.Payload)
	}
	got.Payload, want.Payload = nil, nil
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if !bytes.Equal(a, b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

func orZero[T any](p *T) T {
	if p == nil {
		return *new(T)
	}
	return *p
}

func quote(s string) string { return `"` + s + `"` }
