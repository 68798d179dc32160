// Package thing makes the W3C Web of Things Thing Description 1.1
// (https://www.w3.org/TR/wot-thing-description11/) of a device from the device's
// own description.
package thing

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

// MediaType is the media type of a Thing Description.
const MediaType = "application/td+json"

// Telemetry is the name of the event that stands for the device's telemetry. No
// message type of a device begins with "gateway.".
const Telemetry = protocol.GatewayPrefix + "telemetry"

// Device is a device and where it is found.
type Device struct {
	ID string
	description.Description
	// Version is the version of the description.
	Version string
	// TLS: the gateway is reached through TLS, at Host ("lab.example:8080").
	TLS  bool
	Host string
	// Bearer: the gateway asks for a bearer token.
	Bearer bool

	copied int // see converter.copied
}

// Describe returns the Thing Description of a device.
func Describe(d *Device) ([]byte, error) {
	title := d.Title
	if title == "" {
		title = d.ID
	}
	td := map[string]any{
		"@context": "https://www.w3.org/2022/wot/td/v1.1",
		"id":       "urn:labgate:device:" + d.ID,
		"title":    title,
		"version":  map[string]any{"instance": d.Version},
		"base":     d.base("http") + "/",
		"links": []any{map[string]any{
			"rel": "alternate", "href": "v1/devices/" + url.PathEscape(d.ID) + "/description", "type": "application/json",
		}},
		"events": d.events(),
	}
	d.secure(td)
	if d.Description.Description != "" {
		td["description"] = d.Description.Description
	}
	if actions := d.actions(); len(actions) > 0 {
		td["actions"] = actions
	}
	return json.Marshal(td)
}

// base returns the address of the gateway, with the scheme http or ws, or with the
// same scheme over TLS.
func (d *Device) base(scheme string) string {
	if d.TLS {
		scheme += "s"
	}
	return scheme + "://" + d.Host
}

// secure says how to authenticate.
func (d *Device) secure(td map[string]any) {
	name, scheme := "none", map[string]any{"scheme": "nosec"}
	if d.Bearer {
		name, scheme = "token", map[string]any{"scheme": "bearer", "in": "header"}
	}
	td["securityDefinitions"] = map[string]any{name: scheme}
	td["security"] = name
}

// actions describes each action with a form for the HTTP API, whose body is the
// input alone, and a form for the WebSocket, whose messages docs/protocol.md
// describes.
func (d *Device) actions() map[string]any {
	all := map[string]any{}
	for _, typ := range slices.Sorted(maps.Keys(d.Actions)) {
		a := d.Actions[typ]
		action := map[string]any{
			"forms": []any{
				map[string]any{
					"op": "invokeaction", "href": d.actionPath(typ, &a), "htv:methodName": "POST", "contentType": "application/json",
				},
				d.socket("invokeaction"),
			},
			"synchronous": true,
		}
		set(action, "title", a.Title)
		set(action, "description", a.Description)
		d.setSchema(action, "input", a.Input)
		d.setSchema(action, "output", a.Output)
		all[typ] = action
	}
	return all
}

// actionPath returns the path of an action, relative to base.
func (d *Device) actionPath(typ string, a *description.Action) string {
	query := url.Values{}
	if a.Urgent {
		query.Set("urgent", "true")
	}
	if a.TimeoutMS > 0 {
		query.Set("timeout_ms", strconv.Itoa(a.TimeoutMS))
	}
	path := "v1/devices/" + url.PathEscape(d.ID) + "/actions/" + typ
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// events describes each event and the telemetry, with forms for the WebSocket.
func (d *Device) events() map[string]any {
	telemetry := map[string]any{
		"title":       "Telemetry",
		"description": "Binary frames of samples; each sample has the values of these channels.",
		"data":        map[string]any{"type": "array", "items": d.channels()},
		"forms":       []any{with(d.socket("subscribeevent", "unsubscribeevent"), "contentType", "application/octet-stream")},
	}
	all := map[string]any{Telemetry: telemetry}
	for _, typ := range slices.Sorted(maps.Keys(d.Events)) {
		e := d.Events[typ]
		event := map[string]any{"forms": []any{d.socket("subscribeevent", "unsubscribeevent")}}
		set(event, "title", e.Title)
		d.setSchema(event, "data", e.Data)
		all[typ] = event
	}
	return all
}

// channels describes the values of a sample.
func (d *Device) channels() []any {
	all := make([]any, 0, len(d.Channels))
	for i := range d.Channels {
		c := &d.Channels[i]
		channel := map[string]any{"type": "number", "title": c.Label()}
		set(channel, "unit", c.Unit)
		if c.Minimum != nil {
			channel["minimum"] = *c.Minimum
		}
		if c.Maximum != nil {
			channel["maximum"] = *c.Maximum
		}
		all = append(all, channel)
	}
	return all
}

// socket returns a form for a front end's WebSocket.
func (d *Device) socket(ops ...string) map[string]any {
	var op any = ops
	if len(ops) == 1 {
		op = ops[0]
	}
	return map[string]any{
		"op": op, "href": d.base("ws") + "/ws/frontend", "subprotocol": protocol.Subprotocol, "contentType": "application/json",
	}
}

func set(object map[string]any, name, value string) {
	if value != "" {
		object[name] = value
	}
}

func with(object map[string]any, name string, value any) map[string]any {
	object[name] = value
	return object
}

// setSchema sets a member to the data schema of a JSON Schema, if there is one.
func (d *Device) setSchema(object map[string]any, name string, schema json.RawMessage) {
	var v any
	if json.Unmarshal(schema, &v) == nil && v != nil {
		c := converter{copied: &d.copied}
		c.defs, _ = member(v, "$defs").(map[string]any)
		object[name] = c.convert(v)
	}
}
