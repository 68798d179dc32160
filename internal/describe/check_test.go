package describe

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

const testerInput = `{"type":"object","properties":{"speed_mm_min":{"type":"number","minimum":0.01,"maximum":1000,"description":"crosshead speed in mm/min"}},"required":["speed_mm_min"],"additionalProperties":false}`

func TestCheck(t *testing.T) {
	for _, c := range []struct{ schema, payload, want string }{
		{testerInput, `{"speed_mm_min":50}`, ``},
		{testerInput, `{"speed_mm_min":5e1}`, ``},
		{testerInput, ``, `at "/speed_mm_min": is missing; allowed: crosshead speed in mm/min`},
		{testerInput, `{"speed_mm_min":5000}`, `at "/speed_mm_min": 5000 is too large; allowed: at most 1000 (crosshead speed in mm/min)`},
		{testerInput, `{"speed_mm_min":"5"}`, `at "/speed_mm_min": is a string; allowed: a number (crosshead speed in mm/min)`},
		{testerInput, `{"speed":5}`, `at "/speed": is not known here; allowed: speed_mm_min`},
		{testerInput, `null`, `is null; allowed: an object`},
		{testerInput, `{"speed_mm_min":5,"speed_mm_min":6}`, `at "/speed_mm_min": a second member of this name; each name is allowed once`},
		{testerInput, `{"speed_mm_min":5,"speed_mm_min":6}`, `at "/speed_mm_min": a second member of this name; each name is allowed once`},
		{testerInput, `{"speed_mm_min":1e999}`, `at "/speed_mm_min": the number does not fit into 64 bits (IEEE 754); use a smaller one`},
		{`{"type":"object"}`, ``, ``},
		{`{"type":"null"}`, `null`, ``},
		{`false`, `1`, `is not allowed here; allowed: nothing`},
		{`{"multipleOf":0.01}`, `0.07`, ``},
		{`{"multipleOf":0.01}`, `0.075`, `0.075 lies between the steps; allowed: a multiple of 0.01`},
		{`{"type":"integer"}`, `1.0`, ``},
		{`{"type":"integer"}`, `1.5`, `is a number; allowed: an integer`},
		{`{"exclusiveMinimum":0}`, `0`, `0 is too small; allowed: more than 0`},
		{`{"exclusiveMaximum":0}`, `0`, `0 is too large; allowed: less than 0`},
		{`{"minimum":1}`, `0`, `0 is too small; allowed: at least 1`},
		{`{"enum":["fast","slow"]}`, `"medium"`, `"medium" is not one of the values; allowed: "fast", "slow"`},
		{`{"const":true}`, `false`, `false is another value; allowed: true`},
		{`{"pattern":"^[a-z]+$"}`, `"A"`, `"A" does not match; allowed: a text that matches ^[a-z]+$`},
		{`{"minLength":2}`, `"é"`, `1 characters; allowed: at least 2`},
		{`{"minItems":2}`, `[1]`, `1 items; allowed: at least 2`},
		{`{"maxItems":1}`, `[1,2]`, `2 items; allowed: at most 1`},
		{`{"minProperties":1}`, `{}`, `0 members; allowed: at least 1`},
		{`{"maxProperties":0}`, `{"a":1}`, `1 members; allowed: at most 0`},
		{`{"contains":{"type":"string"}}`, `[1]`, `no item fits; allowed: at least one item that fits contains`},
		{`{"dependentRequired":{"a":["b"]}}`, `{"a":1}`, `has "a" without "b"; allowed: both or neither`},
		{`{"not":{"type":"string"}}`, `"a"`, `is excluded; allowed: {"not":{"type":"string"}}`},
		{`{"anyOf":[{"type":"string"},{"type":"null"}]}`, `1`, `fits none of the alternatives; allowed: {"anyOf":[{"type":"string"},{"type":"null"}]}`},
		{`{"oneOf":[{"minimum":1},{"maximum":5}]}`, `3`, `fits more than one of the alternatives; allowed: exactly one of them`},
		{`{"propertyNames":{"pattern":"^[a-z]$"}}`, `{"B":1}`, `at "/B": the name is not allowed here; allowed: {"pattern":"^[a-z]$"}`},
		{`{"if":{"required":["a"]},"then":{"required":["b"]}}`, `{"a":1}`, `at "/b": is missing; allowed: {}`},
		{`{"items":{"$ref":"#/$defs/x~1"},"$defs":{"x~1":{"type":"string"}}}`, ``, `refused`},
		{`{"items":{"$ref":"#/$defs/x"},"$defs":{"x":{"type":"string","description":"a name"}}}`, `["a",1]`, `at "/1": is a number; allowed: a string (a name)`},
		{`{"properties":{"a/b~":{"type":"string"}}}`, `{"a/b~":1}`, `at "/a~1b~0": is a number; allowed: a string`},
		{`{"properties":{"a%b é":{"type":"string","description":"d"}}}`, `{"a%b é":1}`, `at "/a%b é": is a number; allowed: a string (d)`},
		{`{"properties":{"a":{"type":"string"}},"unevaluatedProperties":false}`, `{"b":1}`, `at "/b": is not allowed here; allowed: nothing`},
		{`{"prefixItems":[{"type":"string"}],"unevaluatedItems":false}`, `["a",1]`, `at "/1": is not allowed here; allowed: nothing`},
		{`{"format":"date-time"}`, `"not a date"`, ``},
	} {
		d, err := Parse([]byte(`{"actions":{"a":{"input":` + c.schema + `}}}`))
		if err != nil {
			if c.want != "refused" {
				t.Errorf("%s: %v", c.schema, err)
			}
			continue
		}
		var payload []byte
		if c.payload != "" {
			payload = []byte(c.payload)
		}
		got := ""
		if p := d.Check([]byte("a"), payload); p != nil {
			got = p.Error()
		}
		if got != c.want {
			t.Errorf("%s with %s:\n got %s\nwant %s", c.schema, c.payload, got, c.want)
		}
		if p := d.Check([]byte("b"), payload); p != nil {
			t.Errorf("an action that is not described: %v", p)
		}
	}
}

// The same failure is told each time, although the library visits members in no
// order.
func TestCheckTellsTheFirstFailure(t *testing.T) {
	d := described(t, `{"additionalProperties":{"type":"number"}}`)
	for range 50 {
		if p := d.Check([]byte("a"), []byte(`{"d":"","c":"","b":"","e":""}`)); p == nil || p.Pointer != "/b" {
			t.Fatal(p)
		}
	}
}

// The limits of a check: values, bytes, and far numbers.
func TestCheckLimits(t *testing.T) {
	d := described(t, `{"items":{"type":"number","minimum":0}}`)
	in := d.inputs["a"]
	if p := d.Check([]byte("a"), []byte(array("1", in.maxValues-1))); p != nil {
		t.Error(p)
	}
	if p := d.Check([]byte("a"), []byte(array("1", in.maxValues))); p == nil || !strings.Contains(p.Problem, "values in all") {
		t.Error(p)
	}
	if p := d.Check([]byte("a"), []byte(array("1e300", in.maxValues/farWeight))); p == nil || !strings.Contains(p.Problem, "values in all") {
		t.Error(p)
	}
	long := []byte(`"` + strings.Repeat("x", maxPayload) + `"`)
	if p := d.Check([]byte("a"), long); p == nil || !strings.Contains(p.Problem, "at most 262144 are allowed for this command") {
		t.Error(p)
	}
	d = described(t, `{"pattern":"^(abc){60}$"}`)
	if most := d.inputs["a"].maxBytes; most >= 2000 || most < 500 {
		t.Errorf("%d bytes for a pattern of 400 steps", most)
	}
}

// FuzzCheck: no schema and no payload make Check panic, and what fits a schema is
// JSON that encoding/json reads as the same value.
func FuzzCheck(f *testing.F) {
	for _, a := range attacks {
		f.Add([]byte(a.schema), []byte(`[1,{"a":"b"},null]`))
	}
	f.Add([]byte(testerInput), []byte(`{"speed_mm_min":5}`))
	f.Fuzz(func(t *testing.T, schema, payload []byte) {
		if checkJSON(payload) != nil {
			return // the envelope was refused before
		}
		value, values, err := readValue(payload, 1<<20)
		if err == nil {
			var same any
			if json.Unmarshal(payload, &same) != nil || values < 1 {
				t.Fatalf("%q: %v", payload, value)
			}
			a, _ := json.Marshal(value)
			b, _ := json.Marshal(same)
			if !bytes.Equal(a, b) {
				t.Fatalf("%q is read as %s, not as %s", payload, a, b)
			}
		}
		if d, err := Parse(append(append([]byte(`{"actions":{"a":{"input":`), schema...), `}}}`...)); err == nil {
			_ = d.Check([]byte("a"), payload)
		}
	})
}

// A command of the tensile tester; the goal is at most 3 µs.
func BenchmarkCheck(b *testing.B) {
	d := described(b, testerInput)
	typ, payload := []byte("a"), []byte(`{"speed_mm_min": 50}`)
	b.ReportAllocs()
	for b.Loop() {
		if p := d.Check(typ, payload); p != nil {
			b.Fatal(p)
		}
	}
}
