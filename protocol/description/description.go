package description

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
)

// MaxSize is the largest description in bytes.
const MaxSize = 64 << 10

// Schema is the JSON Schema (2020-12) of a description. The gateway serves it as
// /v1/schemas/description.json. Callers must not change it.
//
//go:embed description.schema.json
var Schema []byte

// Version returns the version of a description: the first 16 hexadecimal digits
// of the SHA-256 of the JSON text, byte for byte as the device sent it.
func Version(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Description says what a device is. All fields may be absent.
type Description struct {
	Title        string `json:"title,omitempty"`
	Description  string `json:"description,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Serial       string `json:"serial,omitempty"`
	// RateHz is the nominal number of samples per second; 0: not known.
	RateHz float64 `json:"rate_hz,omitempty"`
	// Channels are the values of one sample, in the order of the values in a
	// telemetry frame.
	Channels []Channel `json:"channels,omitempty"`
	// Actions are the commands that the device takes, by message type.
	Actions map[string]Action `json:"actions,omitempty"`
	// Events are the messages that the device sends by itself, by message type.
	Events map[string]Event `json:"events,omitempty"`
	// State says where the device's state is; nil: the device has none.
	State *State `json:"state,omitempty"`
	// Runs says what begins and ends a run; nil: nothing does.
	Runs *Runs `json:"runs,omitempty"`
}

// Channel is one value of each sample.
type Channel struct {
	// Name is an identifier, unique among the device's channels.
	Name  string `json:"name"`
	Title string `json:"title,omitempty"` // for people; the name if absent
	// Unit is the UCUM code of the engineering value, such as "N", "mm/min" or
	// "Cel"; "" and "1" mean that the value has no unit.
	Unit string `json:"unit,omitempty"`
	// Minimum and Maximum bound the display, in engineering values; nil: not
	// given.
	Minimum *float64 `json:"minimum,omitempty"`
	Maximum *float64 `json:"maximum,omitempty"`
	// Scale and Offset make the engineering value of a raw one, see
	// [Channel.Engineering]. Nil means 1 and 0.
	Scale  *float64 `json:"scale,omitempty"`
	Offset *float64 `json:"offset,omitempty"`
	// Limits are the values at which the channel is to be watched; nil for none.
	Limits *Limits `json:"limits,omitempty"`
}

// Engineering returns the engineering value of a raw value: raw × Scale + Offset.
func (c *Channel) Engineering(raw float64) float64 {
	if c.Scale != nil {
		raw *= *c.Scale
	}
	if c.Offset != nil {
		raw += *c.Offset
	}
	return raw
}

// Label returns the title, or the name if there is no title.
func (c *Channel) Label() string {
	if c.Title != "" {
		return c.Title
	}
	return c.Name
}

// Limits are limits of a channel's engineering value; a nil limit is not watched.
// Those that are given are in the order LowAlarm ≤ LowWarning ≤ HighWarning ≤
// HighAlarm.
type Limits struct {
	LowAlarm    *float64 `json:"low_alarm,omitempty"`
	LowWarning  *float64 `json:"low_warning,omitempty"`
	HighWarning *float64 `json:"high_warning,omitempty"`
	HighAlarm   *float64 `json:"high_alarm,omitempty"`
	// Hysteresis is how far the value must return within a limit before the
	// limit counts as kept again, at least 0.
	Hysteresis float64 `json:"hysteresis,omitempty"`
	// HoldMS is how long the value must stay beyond a limit before the limit
	// counts as exceeded, in milliseconds.
	HoldMS int `json:"hold_ms,omitempty"`
}

// Action is a command that the device takes.
type Action struct {
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	// Input is the JSON Schema of the command's payload; nil: any payload. The
	// gateway checks each command against Input before it delivers the command.
	Input json.RawMessage `json:"input,omitempty"`
	// Output is the JSON Schema of the answer's payload; nil: not said. The
	// gateway does not check answers.
	Output json.RawMessage `json:"output,omitempty"`
	// Urgent: front ends send the command as urgent.
	Urgent bool `json:"urgent,omitempty"`
	// Confirm is a question that a front end asks its user before it sends the
	// command; "" for none.
	Confirm string `json:"confirm,omitempty"`
	// TimeoutMS is how long the answer may take, in milliseconds; 0:
	// protocol.DefaultTimeoutMS.
	TimeoutMS int `json:"timeout_ms,omitempty"`
	// Always marks a stop: no lease of another front end holds the command back.
	Always bool `json:"always,omitempty"`
}

// Event is a message that the device sends by itself.
type Event struct {
	Title string `json:"title,omitempty"`
	// Data is the JSON Schema of the payload; nil: not said.
	Data json.RawMessage `json:"data,omitempty"`
	// Retain: the device sends the message with "retain", so that the gateway
	// keeps the latest one.
	Retain bool `json:"retain,omitempty"`
}

// State says where the device's state is: in the payload of each message Event,
// at Pointer (a JSON Pointer, RFC 6901).
type State struct {
	Event   string `json:"event"`
	Pointer string `json:"pointer"`
}

// Runs says what begins and ends a run by itself.
type Runs struct {
	Start Condition `json:"start"`
	Stop  Condition `json:"stop"`
	// BeforeMS and AfterMS add time before the start and after the stop to the
	// run, in milliseconds.
	BeforeMS int `json:"before_ms,omitempty"`
	AfterMS  int `json:"after_ms,omitempty"`
}

// Condition is met by a message Event whose payload has the value Equals at
// Pointer (a JSON Pointer, RFC 6901).
type Condition struct {
	Event   string `json:"event"`
	Pointer string `json:"pointer"`
	// Equals is a string, a number, a boolean or null.
	Equals json.RawMessage `json:"equals"`
}
