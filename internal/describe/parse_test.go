package describe

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol/description"
)

// complete has every field of a description.
const complete = `{
  "title": "Furnace 3", "description": "d", "manufacturer": "m", "model": "mo", "serial": "s", "rate_hz": 10,
  "channels": [
    {"name": "temperature", "title": "Temperature", "unit": "Cel", "minimum": 0, "maximum": 1200, "scale": 0.1, "offset": -20,
     "limits": {"low_alarm": -10, "low_warning": 0, "high_warning": 1100, "high_alarm": 1150, "hysteresis": 2, "hold_ms": 500}},
    {"name": "power", "unit": "kW"}
  ],
  "actions": {
    "furnace.set": {"title": "Set", "description": "d", "confirm": "Sure?", "timeout_ms": 5000, "urgent": false, "always": false,
      "input": {"type": "object", "properties": {"setpoint": {"$ref": "#/$defs/t"}}, "required": ["setpoint"], "$defs": {"t": {"type": "number", "unit": "Cel"}}},
      "output": {"type": "object"}},
    "furnace.stop": {"urgent": true, "always": true}
  },
  "events": {"furnace.state": {"title": "State", "retain": true, "data": {"type": "object"}}},
  "state": {"event": "furnace.state", "pointer": "/state"},
  "runs": {"start": {"event": "furnace.state", "pointer": "/state", "equals": "heating"},
           "stop": {"event": "furnace.state", "pointer": "/state", "equals": "idle"}, "before_ms": 1000, "after_ms": 2000},
  "x-vendor": {"anything": [1, 2]}
}`

func TestParseComplete(t *testing.T) {
	d, err := Parse([]byte(" " + complete + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Text) != complete || d.Version != description.Version([]byte(complete)) || len(d.Version) != 16 {
		t.Errorf("version %s of %q", d.Version, d.Text)
	}
	furnace := d.Channels[0]
	if got := furnace.Engineering(1000); got != 80 || furnace.Label() != "Temperature" || d.Channels[1].Label() != "power" || d.Channels[1].Engineering(7) != 7 {
		t.Errorf("%v, %+v", got, d.Channels)
	}
	if d.Weight() < len(complete) {
		t.Error(d.Weight())
	}
}

// Every field of the Go types is in the published schema, and the other way round.
func TestTypesMatchThePublishedSchema(t *testing.T) {
	var document map[string]any
	if err := json.Unmarshal(description.Schema, &document); err != nil {
		t.Fatal(err)
	}
	for def, typ := range map[string]reflect.Type{
		"":               reflect.TypeFor[description.Description](),
		"/$defs/channel": reflect.TypeFor[description.Channel](), "/$defs/limits": reflect.TypeFor[description.Limits](),
		"/$defs/action": reflect.TypeFor[description.Action](), "/$defs/event": reflect.TypeFor[description.Event](),
		"/$defs/state": reflect.TypeFor[description.State](), "/$defs/runs": reflect.TypeFor[description.Runs](),
		"/$defs/condition": reflect.TypeFor[description.Condition](),
	} {
		var fields []string
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			fields = append(fields, name)
		}
		slices.Sort(fields)
		properties := lookUp(document, def+"/properties").(map[string]any)
		if names := sortedNames(properties); !slices.Equal(names, fields) {
			t.Errorf("%s: the schema has %v, the type %v", def, names, fields)
		}
		if lookUp(document, def+"/additionalProperties") != false {
			t.Errorf("%s allows unknown names", def)
		}
	}
}

// Each refusal names the place and what is allowed there.
func TestRefusals(t *testing.T) {
	input := func(schema string) string { return `{"actions":{"a":{"input":` + schema + `}}}` }
	for _, c := range []struct{ text, pointer, problem string }{
		{``, "", "empty"},
		{`[]`, "", "is an array; allowed: an object"},
		{`{`, "", "at byte 1"},
		{`{} {}`, "", "something follows"},
		{"{\"title\":\"\xff\"}", "", "UTF-8"},
		{`{"title":"` + strings.Repeat("a", 64<<10) + `"}`, "", "65548 bytes; a description of at most 65536"},
		{`{"x-a":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, "", "64 levels"},
		{`{"x-a":[` + list("0", 10_000) + `]}`, "/x-a/9997", "more than 10000 values"},
		{`{"titel":"x"}`, "/titel", "is not known here; allowed: actions, channels, description"},
		{`{"title":"a","title":"b"}`, "/title", "a second member of this name"},
		{`{"title":5}`, "/title", "is a number; allowed: a string"},
		{`{"title":""}`, "/title", "at least 1"},
		{`{"title":"` + strings.Repeat("é", 257) + `"}`, "/title", "257 characters; allowed: at most 256"},
		{`{"manufacturer":"` + strings.Repeat("a", 257) + `"}`, "/manufacturer", "at most 256"},
		{`{"model":"` + strings.Repeat("a", 257) + `"}`, "/model", "at most 256"},
		{`{"serial":"` + strings.Repeat("a", 257) + `"}`, "/serial", "at most 256"},
		{`{"description":"` + strings.Repeat("a", 4097) + `"}`, "/description", "at most 4096"},
		{`{"rate_hz":0}`, "/rate_hz", "0 is too small; allowed: more than 0"},
		{`{"rate_hz":1e10}`, "/rate_hz", "at most 1e+09"},
		{`{"rate_hz":1e999}`, "/rate_hz", "does not fit into 64 bits"},
		{`{"channels":{}}`, "/channels", "is an object; allowed: an array"},
		{`{"channels":[` + list(`{"name":"a"}`, 1025) + `]}`, "/channels", "1025 items; allowed: at most 1024"},
		{`{"channels":[{}]}`, "/channels/0/name", "is missing; allowed: an identifier"},
		{`{"channels":[{"name":"a b"}]}`, "/channels/0/name", `"a b" does not match`},
		{`{"channels":[{"name":"` + strings.Repeat("a", 65) + `"}]}`, "/channels/0/name", "at most 64"},
		{`{"channels":[{"name":"a"},{"name":"b"},{"name":"a"}]}`, "/channels/2/name", "the name of channel 0 already"},
		{`{"channels":[{"name":"a","unit":"m m"}]}`, "/channels/0/unit", "UCUM"},
		{`{"channels":[{"name":"a","unit":"°C"}]}`, "/channels/0/unit", "UCUM"},
		{`{"channels":[{"name":"a","unit":"` + strings.Repeat("m", 33) + `"}]}`, "/channels/0/unit", "1 to 32"},
		{`{"channels":[{"name":"a","scale":0}]}`, "/channels/0/scale", "not 0"},
		{`{"channels":[{"name":"a","minimum":2,"maximum":2}]}`, "/channels/0/maximum", "not above minimum"},
		{`{"channels":[{"name":"a","limits":{"low_alarm":3,"high_alarm":2}}]}`, "/channels/0/limits/high_alarm", "out of order"},
		{`{"channels":[{"name":"a","limits":{"high_warning":3,"high_alarm":2}}]}`, "/channels/0/limits/high_alarm", "out of order"},
		{`{"channels":[{"name":"a","limits":{"hysteresis":-1}}]}`, "/channels/0/limits/hysteresis", "at least 0"},
		{`{"channels":[{"name":"a","limits":{"hold_ms":3600001}}]}`, "/channels/0/limits/hold_ms", "at most 3.6e+06"},
		{`{"channels":[{"name":"a","limits":{"hold_ms":1.5}}]}`, "/channels/0/limits/hold_ms", "an integer"},
		{`{"actions":{"Start":{}}}`, "/actions/Start", "the name is not allowed here; allowed: a message type"},
		{`{"actions":{"gateway.x":{}}}`, "/actions/gateway.x", "a message type"},
		{`{"actions":{"` + strings.Repeat("a", 129) + `":{}}}`, "/actions/" + strings.Repeat("a", 129), "a message type"},
		{`{"actions":{"a/b~c":{}}}`, "/actions/a~1b~0c", "a message type"},
		{`{"actions":{` + many(`"a%d":{}`, 257) + `}}`, "/actions", "257 members; allowed: at most 256"},
		{`{"events":{` + many(`"a%d":{}`, 257) + `}}`, "/events", "257 members; allowed: at most 256"},
		{`{"actions":{"a":{"timeout_ms":0}}}`, "/actions/a/timeout_ms", "at least 1"},
		{`{"actions":{"a":{"timeout_ms":600001}}}`, "/actions/a/timeout_ms", "at most 600000"},
		{`{"actions":{"a":{"confirm":"` + strings.Repeat("a", 513) + `"}}}`, "/actions/a/confirm", "at most 512"},
		{`{"actions":{"a":{"urgent":1}}}`, "/actions/a/urgent", "a boolean"},
		{`{"state":{"event":"a","pointer":""}}`, "/state/event", `"a" is not in events; a type that is there is allowed: none`},
		{`{"state":{"event":"a","pointer":"x"},"events":{"a":{}}}`, "/state/pointer", "JSON Pointer"},
		{`{"state":{"event":"a","pointer":"/~2"},"events":{"a":{}}}`, "/state/pointer", "JSON Pointer"},
		{`{"state":{"event":"a","pointer":"/` + strings.Repeat("x", 256) + `"},"events":{"a":{}}}`, "/state/pointer", "at most 256"},
		{`{"runs":{"start":{"event":"a","pointer":"","equals":1}},"events":{"a":{}}}`, "/runs/stop", "is missing"},
		{`{"runs":{"start":{"event":"a","pointer":"","equals":[]},"stop":{"event":"a","pointer":"","equals":1}},"events":{"a":{}}}`, "/runs/start/equals", "a string"},
		{`{"runs":{"start":{"event":"a","pointer":"","equals":1},"stop":{"event":"b","pointer":"","equals":1}},"events":{"a":{}}}`, "/runs/stop/event", `"b" is not in events`},
		{`{"runs":{"start":{"event":"a","pointer":"","equals":1},"stop":{"event":"a","pointer":"","equals":1},"before_ms":3600001},"events":{"a":{}}}`, "/runs/before_ms", "at most"},

		// Schemas.
		{input(`5`), "/actions/a/input", "a boolean or an object"},
		{input(`{"typ":"object"}`), "/actions/a/input/typ", "is not known here"},
		{input(`{"type":"objekt"}`), "/actions/a/input/type", `"objekt" is not one of`},
		{input(`{"type":["string","x"]}`), "/actions/a/input/type/1", `"x" is not one of`},
		{input(`{"uniqueItems":true}`), "/actions/a/input/uniqueItems", "is not known here"},
		{input(`{"$id":"http://example.org/"}`), "/actions/a/input/$id", "is not known here"},
		{input(`{"$dynamicRef":"#a"}`), "/actions/a/input/$dynamicRef", "is not known here"},
		{input(`{"$schema":"http://json-schema.org/draft-07/schema#"}`), "/actions/a/input/$schema", "2020-12"},
		{input(`{"$ref":"http://127.0.0.1/x"}`), "/actions/a/input/$ref", "a reference within this schema"},
		{input(`{"$ref":"file:///etc/passwd"}`), "/actions/a/input/$ref", "a reference within this schema"},
		{input(`{"$ref":"#/$defs/b","$defs":{"c":{}}}`), "/actions/a/input/$ref", "allowed: c"},
		{input(`{"$ref":"#"}`), "/actions/a/input/$ref", "a reference within this schema"},
		{input(`{"items":{"$defs":{}}}`), "/actions/a/input/items/$defs", "at the top of a schema only"},
		{input(`{"$defs":{"b":{"items":{"$ref":"#/$defs/b"}}}}`), "/actions/a/input/$defs/b/items/$ref", "contains itself"},
		{input(`{"$defs":{"b":{"$ref":"#/$defs/c"},"c":{"$ref":"#/$defs/b"}},"$ref":"#/$defs/b"}`), "/actions/a/input/$defs/c/$ref", "contains itself"},
		{input(`{"pattern":"("}`), "/actions/a/input/pattern", "is no regular expression"},
		{input(`{"pattern":"(?=a)"}`), "/actions/a/input/pattern", "no look-around"},
		{input(`{"pattern":"\\pL"}`), "/actions/a/input/pattern", "Unicode class"},
		{input(`{"pattern":"` + strings.Repeat("a", 257) + `"}`), "/actions/a/input/pattern", "at most 256"},
		{input(`{"pattern":"(a{20}){20}"}`), "/actions/a/input/pattern", "at most 400 are allowed"},
		{input(`{"pattern":"((a{10}){10}){10}"}`), "/actions/a/input/pattern", "at most 400 are allowed"},
		{input(`{"patternProperties":{"(":{}}}`), "/actions/a/input/patternProperties/(", "is no regular expression"},
		{input(`{"allOf":[` + list(`{"pattern":"(abc){60}"}`, 3) + `]}`), "/actions/a/input", "at most 800 are allowed"},
		{input(`{"anyOf":[` + list(`{"type":"string"}`, 200) + `]}`), "/actions/a/input", "at most 160 are allowed"},
		{input(`{"enum":[` + numbers(100) + `]}`), "/actions/a/input", "at most 160 are allowed"},
		{input(`{"maximum":1e31}`), "/actions/a/input/maximum", "1e-30 to 1e30"},
		{input(`{"multipleOf":1e-31}`), "/actions/a/input/multipleOf", "1e-30 to 1e30"},
		{input(`{"multipleOf":0}`), "/actions/a/input/multipleOf", "more than 0"},
		{input(`{"properties":{` + many(`"a%d":{}`, 600) + `}}`), "/actions/a/input", "more than 512 subschemas"},
		{`{"actions":{` + many(`"a%d":{"output":{"items":{}}}`, 250) + `},"events":{` + many(`"a%d":{"data":{}}`, 20) + `}}`, "/events/a2/data", "more than 512 subschemas up to here"},
		{`{"actions":{` + many(`"a%d":{"output":{"pattern":"(abc){60}"}}`, 20) + `}}`, "/actions/a19/output", "at most 4000 are allowed in a description"},
	} {
		d, err := Parse([]byte(c.text))
		p, ok := err.(*PointerError)
		if d != nil || !ok || p.Pointer != c.pointer || !strings.Contains(p.Problem, c.problem) {
			t.Errorf("%.120s:\n got %v\nwant at %q: ...%s...", c.text, err, c.pointer, c.problem)
		}
		if ok && len(p.Error()) > 1500 {
			t.Errorf("%.120s: an error of %d bytes", c.text, len(p.Error()))
		}
	}
}

// many returns a list of parts with growing numbers in place of %d.
func many(part string, n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = strings.ReplaceAll(part, "%d", number0(i))
	}
	return strings.Join(parts, ",")
}

func number0(i int) string { text, _ := json.Marshal(i); return string(text) }

// FuzzParse: no text makes Parse panic, and what Parse accepts is accepted again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(complete))
	for _, text := range hostile() {
		if len(text) < 4<<10 {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if (d == nil) == (err == nil) {
			t.Fatal(d, err)
		}
		if err != nil {
			if _, ok := err.(*PointerError); !ok {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		again, err := Parse(d.Text)
		if err != nil || again.Version != d.Version {
			t.Fatal(err)
		}
		for typ := range d.Actions {
			d.Check([]byte(typ), nil)
			d.Check([]byte(typ), []byte(`{"speed":[1,"a",null,{"b":true}]}`))
		}
	})
}
