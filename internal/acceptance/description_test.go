package acceptance

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

// thingCheck is what wot/check.js prints.
type thingCheck struct {
	Status          int
	Type            string
	Log             []string
	Report          map[string]*string
	Actions, Events []string
	TooFast, Twice  outcomeOfAction
	Started         outcomeOfAction
	Stopped         outcomeOfAction
}

type outcomeOfAction struct {
	Output struct {
		OK    bool
		State string
	}
	Error string
}

// checkThing validates a Thing Description, and invokes the actions of a tester.
func checkThing(t *testing.T, argv ...string) thingCheck {
	t.Helper()
	p := gatewaytest.Start(t, append([]string{"node", "internal/acceptance/wot/check.js"}, argv...)...)
	code := p.Wait(60 * time.Second)
	var found thingCheck
	out := p.Stdout.Tail(1)
	if err := json.Unmarshal([]byte(out), &found); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s\n%s", code, err, out, p.Stderr.Tail(20))
	}
	if found.Status != http.StatusOK || found.Type != "application/td+json" {
		t.Errorf("%d %s", found.Status, found.Type)
	}
	for _, check := range []string{"json", "schema", "additional"} {
		if result := found.Report[check]; result == nil || *result != "passed" {
			t.Errorf("the validator's check %s: %s", check, out)
		}
	}
	return found
}

// A client of the Web of Things, which knows nothing of Labgate, starts and stops a
// test of a simulated tester.
func TestThingDescriptionOfATester(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	startTester(t, g, "tensile-1")
	awaitDescription(t, g.Addr, "tensile-1")
	checkTester(t, checkThing(t, "http://"+g.Addr+"/v1/devices/tensile-1/td"))
}

// The same with a token.
func TestThingDescriptionWithAToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "tokens")
	const token = "a-token-for-everybody-1234"
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := gatewaytest.StartGateway(t, "--frontend-token-file", file)
	startTester(t, g, "tensile-1")
	url := "http://" + g.Addr + "/v1/devices/tensile-1/td"
	gatewaytest.EventuallyWithin(t, 10*time.Second, "tensile-1 is described", func() bool {
		req, err := http.NewRequest(http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	checkTester(t, checkThing(t, url, token))
}

func checkTester(t *testing.T, found thingCheck) {
	t.Helper()
	if want := []string{"test.reset", "test.start", "test.stop"}; !slices.Equal(found.Actions, want) {
		t.Errorf("actions %v", found.Actions)
	}
	if want := []string{"gateway.telemetry", "test.state", "test.state_changed"}; !slices.Equal(found.Events, want) {
		t.Errorf("events %v", found.Events)
	}
	if o := found.Started.Output; !o.OK || o.State != "running" {
		t.Errorf("started: %+v", found.Started)
	}
	if o := found.Stopped.Output; !o.OK || o.State != "stopped" {
		t.Errorf("stopped: %+v", found.Stopped)
	}
	if found.TooFast.Error == "" || found.Twice.Error == "" {
		t.Errorf("no error: %+v %+v", found.TooFast, found.Twice)
	}
}

// A description with every keyword gives a valid Thing Description, too.
func TestThingDescriptionOfEveryKeyword(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	device := gatewaytest.Connect(t, g.Addr, "/ws/device/a.b:c-1_2")
	device.Text(`{"type":"gateway.describe","id":"1","payload":%s}`, `{
		"title": "Every \"keyword\"", "description": "d", "rate_hz": 0.5, "x-vendor": {"a": 1},
		"channels": [{"name": "raw", "scale": 0.5, "offset": -1, "unit": "[in_i]"}, {"name": "b", "title": "B", "minimum": -1e30, "maximum": 1}],
		"actions": {
			"a.none": {},
			"a.any": {"input": true, "output": false},
			"a.all": {"title": "t", "description": "d", "urgent": true, "timeout_ms": 600000, "always": true, "confirm": "?", "input": {
				"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": "c", "title": "t", "type": ["object", "null"],
				"$defs": {"unit": {"type": "string", "enum": ["a", "b", "a"], "readOnly": true}, "unused": {}},
				"properties": {
					"ref": {"$ref": "#/$defs/unit", "description": "more"},
					"number": {"type": "number", "minimum": 1, "exclusiveMaximum": 2, "multipleOf": 0.1, "default": 1.5, "unit": "mm"},
					"text": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^a", "format": "date-time", "contentEncoding": "base64", "contentMediaType": "image/png"},
					"list": {"type": "array", "items": {"type": ["integer"]}, "minItems": 1, "maxItems": 2, "contains": {"const": 1}, "minContains": 1, "maxContains": 2},
					"tuple": {"prefixItems": [{"type": "boolean"}, {"const": null}], "items": false},
					"one": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
					"other": {"anyOf": [{"type": "string"}, {"not": {"type": "null"}}], "allOf": [true], "if": {}, "then": {}, "else": {}, "deprecated": true, "examples": [1]}
				},
				"patternProperties": {"^x": {}}, "additionalProperties": {"type": "string"}, "propertyNames": {"minLength": 1},
				"required": ["number"], "dependentRequired": {"text": ["number"]}, "dependentSchemas": {"text": {}},
				"minProperties": 1, "maxProperties": 9, "unevaluatedProperties": false, "unevaluatedItems": false
			}}
		},
		"events": {"e.one": {"title": "t", "retain": true, "data": {"type": "array"}}, "e.two": {}}
	}`)
	if m := device.Await(protocol.TypeDescribed); m.Re != "1" {
		t.Fatalf("%+v", m)
	}
	checkThing(t, "http://"+g.Addr+"/v1/devices/a.b:c-1_2/td")
}

// awaitDescription waits until a device is described, and returns the description
// and its entity tag.
func awaitDescription(t *testing.T, addr, device string) (d description.Description, tag string) {
	t.Helper()
	gatewaytest.EventuallyWithin(t, 10*time.Second, device+" is described", func() bool {
		res, err := http.Get("http://" + addr + "/v1/devices/" + device + "/description")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		tag = res.Header.Get("ETag")
		return res.StatusCode == http.StatusOK && json.NewDecoder(res.Body).Decode(&d) == nil
	})
	return d, tag
}

// A front end learns what a tester is, without knowing it beforehand, and the gateway
// refuses what the description does not allow.
func TestDescriptionOfATester(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	fe := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
	startTester(t, g, "tensile-1")
	notice := gatewaytest.Decode[protocol.DeviceDescribed](t, fe.Await(protocol.TypeDeviceDescribed).Payload)
	d, tag := awaitDescription(t, g.Addr, "tensile-1")
	if notice.DeviceID != "tensile-1" || notice.Version == nil || tag != `"`+*notice.Version+`"` {
		t.Errorf("%+v, tag %s", notice, tag)
	}
	var units []string
	for _, c := range d.Channels {
		units = append(units, c.Unit)
	}
	if !slices.Equal(units, []string{"N", "mm", "Cel"}) || !d.Actions["test.stop"].Urgent || !d.Actions["test.stop"].Always || d.State == nil || d.Runs == nil {
		t.Errorf("%+v", d)
	}
	late := gatewaytest.Decode[protocol.Welcome](t, gatewaytest.Connect(t, g.Addr, "/ws/frontend").Await(protocol.TypeWelcome).Payload)
	if len(late.Devices) != 1 || late.Devices[0].DescriptionVersion != *notice.Version {
		t.Errorf("%+v", late.Devices)
	}
	req, err := http.NewRequest(http.MethodGet, "http://"+g.Addr+"/v1/devices/tensile-1/description", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-None-Match", tag)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNotModified {
		t.Errorf("%d for a version that the client has", res.StatusCode)
	}

	fe.Text(`{"type":"test.start","id":"1","dst":"tensile-1","payload":{"speed_mm_min":"fast"}}`)
	refusal := gatewaytest.Decode[protocol.Error](t, fe.Await(protocol.TypeError).Payload)
	if refusal.Code != protocol.ErrBadMessage || !strings.Contains(refusal.Message, `at "/speed_mm_min": is a string; allowed: a number (crosshead speed in mm/min)`) {
		t.Errorf("%+v", refusal)
	}
	send := func(args ...string) (code int, out, errors string) {
		p := gatewaytest.Start(t, append([]string{gatewaytest.Labgate(t), "send", "--url", "ws://" + g.Addr, "tensile-1"}, args...)...)
		code = p.Wait(20 * time.Second)
		return code, p.Stdout.Tail(3), p.Stderr.Tail(3)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"test.start", `{"speed_mm_min":1001}`}, 1, `at "/speed_mm_min": 1001 is too large; allowed: at most 1000`},
		{[]string{"test.stop"}, 3, "device tensile-1 refused test.stop: cannot stop while idle"},
		{[]string{"test.start", `{"speed_mm_min":10}`}, 0, `"ok":true`},
	} {
		if code, out, errors := send(c.args...); code != c.code || !strings.Contains(out+errors, c.want) {
			t.Errorf("send %v: exit code %d: %s%s", c.args, code, out, errors)
		}
	}
}

// A device that sends hostile descriptions harms nobody: each is refused or
// accepted, the gateway stays alive, and a tester is commanded meanwhile.
func TestHostileDescriptions(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	startTester(t, g, "tensile-1")
	awaitDescription(t, g.Addr, "tensile-1")
	fe := gatewaytest.Connect(t, g.Addr, "/ws/frontend?telemetry=none")
	input := func(schema string) string { return `{"actions":{"a":{"input":` + schema + `}}}` }
	for name, c := range map[string]struct{ text, want string }{
		"recursion":        {input(`{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/a"},{"items":{"$ref":"#/$defs/a"}}]}},"$ref":"#/$defs/a"}`), "contains itself"},
		"doubling":         {input(doubling(60)), "subschemas"},
		"remote reference": {input(`{"$ref":"http://` + g.Addr + `/v1/devices"}`), "a reference within this schema"},
		"local file":       {input(`{"$ref":"file:///etc/passwd"}`), "a reference within this schema"},
		"levels":           {input(strings.Repeat(`{"items":`, 10_000) + `{}` + strings.Repeat(`}`, 10_000)), "64 levels"},
		"pattern":          {input(`{"pattern":"((a{30}){30}){30}"}`), "regular expression"},
		"wide enum":        {input(`{"enum":[` + strings.TrimSuffix(strings.Repeat("1,", 9_000), ",") + `]}`), "at most 160 are allowed"},
		"too large":        {`{"title":"` + strings.Repeat("x", 70_000) + `"}`, "at most 65536"},
	} {
		device := gatewaytest.Connect(t, g.Addr, "/ws/device/hostile-"+strings.ReplaceAll(name, " ", "-"))
		device.Text(`{"type":"gateway.describe","id":"1","payload":%s}`, c.text)
		if e := gatewaytest.Decode[protocol.Error](t, device.Await(protocol.TypeError).Payload); e.Code != protocol.ErrBadMessage || !strings.Contains(e.Message, c.want) {
			t.Errorf("%s: %+v", name, e)
		}
	}
	// A schema at the limits, and a payload that is as slow as possible.
	device := gatewaytest.Connect(t, g.Addr, "/ws/device/slow-1")
	device.Text(`{"type":"gateway.describe","id":"1","payload":%s}`, input(`{"items":{"anyOf":[`+strings.TrimSuffix(strings.Repeat(`{"type":"string","pattern":"x"},`, 120), ",")+`]}}`))
	device.Await(protocol.TypeDescribed)
	slow := `[` + strings.TrimSuffix(strings.Repeat("1,", 60), ",") + `]`
	for range 50 {
		fe.Text(`{"type":"a","id":"slow","dst":"slow-1","payload":%s}`, slow)
	}
	fe.Text(`{"type":"test.start","id":"start","dst":"tensile-1","payload":{"speed_mm_min":10}}`)
	if m := fe.Await("test.start.result"); m.Re != "start" {
		t.Errorf("%+v", m)
	}
	if !g.Alive() {
		t.Error("the gateway has ended")
	}
}

// doubling returns schemas each of which refers twice to the next.
func doubling(n int) string {
	var b strings.Builder
	for i := range n {
		next := string(rune('A'+(i+1)/26)) + string(rune('a'+(i+1)%26))
		this := string(rune('A'+i/26)) + string(rune('a'+i%26))
		b.WriteString(`"` + this + `":{"anyOf":[{"$ref":"#/$defs/` + next + `"},{"$ref":"#/$defs/` + next + `"}]},`)
	}
	last := string(rune('A'+n/26)) + string(rune('a'+n%26))
	return `{"$ref":"#/$defs/Aa","$defs":{` + b.String() + `"` + last + `":{"type":"null"}}}`
}

// Files describe devices that do not describe themselves, and are read again when
// they change, and after SIGHUP.
func TestDescriptionFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("scale.json", `{"title":"A scale"}`)
	g := gatewaytest.StartGateway(t, "--descriptions", dir)
	gatewaytest.Connect(t, g.Addr, "/ws/device/scale-1?type=scale")
	if d, _ := awaitDescription(t, g.Addr, "scale-1"); d.Title != "A scale" {
		t.Errorf("%+v", d)
	}
	fe := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
	write("scale-1.json", `{"title":"The scale","actions":{"tare":{"input":{"type":"null"}}}}`)
	fe.Await(protocol.TypeDeviceDescribed)
	g.Stderr.AwaitWithin(t, 10*time.Second, "--descriptions", "scale-1.json", `"changed":true`)
	fe.Text(`{"type":"tare","id":"1","dst":"scale-1","payload":5}`)
	if e := gatewaytest.Decode[protocol.Error](t, fe.Await(protocol.TypeError).Payload); !strings.Contains(e.Message, "is a number; allowed: null") {
		t.Errorf("%+v", e)
	}
	write("scale-1.json", `{"titel":"typing error"}`)
	g.Stderr.AwaitWithin(t, 10*time.Second, "--descriptions", "scale-1.json", `/titel`, "stays in force")
	g.Signal(syscall.SIGHUP)
	g.Stderr.AwaitWithin(t, 10*time.Second, "SIGHUP", `"files":2`, `"failed":1`)

	check := gatewaytest.Start(t, gatewaytest.Labgate(t), "serve", "--check-config", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--descriptions", dir)
	if code := check.Wait(10 * time.Second); code != 1 || !strings.Contains(check.Stderr.Tail(3), `scale-1.json: at "/titel"`) {
		t.Errorf("exit code %d: %s", code, check.Stderr.Tail(3))
	}
}
