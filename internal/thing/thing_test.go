package thing

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol/description"
)

func TestDataSchemas(t *testing.T) {
	for _, c := range []struct{ schema, want string }{
		{`true`, `{}`},
		{`false`, `{}`},
		{`{"type":["integer"]}`, `{"type":"integer"}`},
		{`{"type":["string","null"],"maxLength":5}`, `{"maxLength":5,"oneOf":[{"type":"string"},{"type":"null"}]}`},
		{`{"type":["string","null"],"oneOf":[{"const":1}]}`, `{"oneOf":[{"const":1}]}`},
		{`{"enum":["a","b","a"]}`, `{"enum":["a","b"]}`},
		{`{"$ref":"#/$defs/a","title":"mine","$defs":{"a":{"type":"number","title":"theirs","unit":"N"}}}`, `{"title":"mine","type":"number","unit":"N"}`},
		{`{"items":{"$ref":"#/$defs/a"},"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"type":"null"}}}`, `{"items":{"type":"null"}}`},
		{`{"prefixItems":[{"type":"string"},true],"items":false}`, `{"items":[{"type":"string"},{}]}`},
		{`{"properties":{"a":{"anyOf":[{}],"format":"uri"}},"required":["a"],"additionalProperties":false}`, `{"properties":{"a":{"format":"uri"}},"required":["a"]}`},
	} {
		object := map[string]any{}
		new(Device).setSchema(object, "input", json.RawMessage(c.schema))
		got, err := json.Marshal(object["input"])
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, want %s; %v", c.schema, got, c.want, err)
		}
	}
	object := map[string]any{}
	if new(Device).setSchema(object, "input", nil); len(object) != 0 {
		t.Errorf("%v without a schema", object)
	}
}

// Many references to one long target do not make an endless answer.
func TestManyReferences(t *testing.T) {
	refs := strings.TrimSuffix(strings.Repeat(`{"$ref":"#/$defs/a"},`, 500), ",")
	schema := `{"prefixItems":[` + refs + `],"$defs":{"a":{"description":"` + strings.Repeat("x", 50_000) + `"}}}`
	d := Device{ID: "a", Description: description.Description{Actions: map[string]description.Action{"b": {Input: json.RawMessage(schema)}}}}
	td, err := Describe(&d)
	if err != nil || len(td) > 2*maxCopied {
		t.Errorf("%d bytes, %v", len(td), err)
	}
}

// The addresses follow the request, and the names of devices are escaped.
func TestAddresses(t *testing.T) {
	d := Device{
		ID: "rig:1", Version: "v", Host: "lab.example", TLS: true, Bearer: true,
		Description: description.Description{Actions: map[string]description.Action{"test.stop": {Urgent: true, TimeoutMS: 500}}},
	}
	td, err := Describe(&d)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"base":"https://lab.example/"`, `"href":"v1/devices/rig:1/actions/test.stop?timeout_ms=500\u0026urgent=true"`,
		`"href":"wss://lab.example/ws/frontend"`, `"scheme":"bearer"`, `"title":"rig:1"`, `"id":"urn:labgate:device:rig:1"`, `"instance":"v"`,
	} {
		if !strings.Contains(string(td), part) {
			t.Errorf("no %s in %s", part, td)
		}
	}
	d.TLS, d.Bearer = false, false
	if td, err = Describe(&d); err != nil || !strings.Contains(string(td), `"base":"http://lab.example/"`) || !strings.Contains(string(td), `"scheme":"nosec"`) {
		t.Errorf("%s %v", td, err)
	}
}
