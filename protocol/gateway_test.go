package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestPayloadFieldNames pins the wire names: they may not change.
func TestPayloadFieldNames(t *testing.T) {
	stream := uint32(3)
	for _, tc := range []struct {
		value any
		want  string
	}{
		{Welcome{Session: "s", Role: "device", DeviceID: "d", Node: "n", Stream: &stream, ServerTimeUS: 1, HeartbeatMS: 2, MaxMessage: 3},
			`{"session":"s","role":"device","device_id":"d","node":"n","stream":3,"server_time_us":1,"heartbeat_ms":2,"max_message":3}`},
		{Welcome{Role: "frontend", Devices: []DeviceInfo{{DeviceID: "d", Stream: 0, Node: "n", Type: "t", Customer: "c", Meta: map[string]string{"k": "v"}}}},
			`{"session":"","role":"frontend","node":"","server_time_us":0,"heartbeat_ms":0,"max_message":0,"devices":[{"device_id":"d","stream":0,"node":"n","type":"t","customer":"c","meta":{"k":"v"}}]}`},
		{DeviceNotice{DeviceID: "d", Stream: 1, Node: "n", Reason: "idle"}, `{"device_id":"d","stream":1,"node":"n","reason":"idle"}`},
		{Error{Code: ErrTimeout, Message: "m"}, `{"code":"timeout","message":"m"}`},
		{Lost{Stream: 1, From: 2, To: 3, Cause: "slow_consumer"}, `{"stream":1,"from":2,"to":3,"cause":"slow_consumer"}`},
		{Closing{}, `{"retry_after_ms":0}`},
		{Subscription{Devices: []string{"d"}}, `{"devices":["d"]}`},
		{Subscription{Telemetry: TelemetryAll}, `{"telemetry":"all"}`},
	} {
		if got, err := json.Marshal(tc.value); err != nil || string(got) != tc.want {
			t.Errorf("%T: %v\ngot  %s\nwant %s", tc.value, err, got, tc.want)
		}
	}
}

func TestParseSubscription(t *testing.T) {
	for _, text := range []string{`{"devices":["a","b"]}`, ` {"telemetry":"all"} `, `{"telemetry":"none","devices":[]}`, `{"devices":["a"],"telemetry":"","more":1}`} {
		if _, err := ParseSubscription([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if s, err := ParseSubscription([]byte(`{"devices":["a","b"]}`)); err != nil || len(s.Devices) != 2 || s.Devices[1] != "b" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, tc := range []struct{ text, field string }{
		{``, "payload"}, {`null`, "payload"}, {`[]`, "payload"}, {`"all"`, "payload"}, {`{}`, "payload"}, {`{"devices":[]}`, "payload"},
		{`{"devices":"a"}`, "payload"}, {`{"devices":[1]}`, "payload"}, {`{"telemetry":true}`, "payload"}, {`{"telemetry":"all"`, "payload"},
		{`{"devices":[""]}`, "payload.devices"}, {`{"devices":[null]}`, "payload.devices"}, {`{"devices":["a b"]}`, "payload.devices"},
		{`{"devices":["a"` + strings.Repeat(`,"a"`, MaxSubscriptionDevices) + `]}`, "payload.devices"},
		{`{"telemetry":"some"}`, "payload.telemetry"},
	} {
		s, err := ParseSubscription([]byte(tc.text))
		fe, isField := errors.AsType[*FieldError](err)
		if !isField || fe.Field != tc.field || s.Devices != nil || s.Telemetry != "" {
			t.Errorf("%.60s: %+v, %v", tc.text, s, err)
		}
	}
}

func TestCloseCodes(t *testing.T) {
	for _, tc := range []struct {
		code      CloseCode
		name      string
		reconnect bool
	}{
		{1000, "normal", false}, {1001, "going_away", true}, {1002, "protocol_error", false}, {1003, "unsupported_data", false}, {1005, "no_status", true},
		{1006, "abnormal", true}, {1007, "invalid_data", false}, {1009, "too_large", false}, {1011, "internal_error", true},
		{4000, "replaced", false}, {4001, "unauthorized", false}, {4002, "heartbeat_timeout", true}, {4003, "idle", true}, {4004, "slow_consumer", true},
		{4005, "bad_message", false}, {4006, "rate_limited", true}, {4007, "duplicate_device", true}, {4008, "kicked", false},
	} {
		if tc.code.Name() != tc.name || tc.code.String() != tc.name || tc.code.Reconnect() != tc.reconnect {
			t.Errorf("%d: %q, reconnect %v", tc.code, tc.code.Name(), tc.code.Reconnect())
		}
	}
	label := regexp.MustCompile(`^[a-z_]+$`)
	names := map[string]bool{}
	for c := range 1 << 16 {
		name := CloseCode(c).Name()
		if !label.MatchString(name) || name != "other" && names[name] {
			t.Errorf("%d is named %q", c, name)
		}
		names[name] = true
	}
	if len(names) != 19 {
		t.Errorf("%d names: %v", len(names), names)
	}
}

func TestErrorTexts(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{&FieldError{Field: "id", Problem: "65 bytes, at most 64 allowed; shorten it"}, `field "id": 65 bytes, at most 64 allowed; shorten it`},
		{&SyntaxError{Offset: 17, Problem: "a JSON value is expected here"}, "message at byte 17: a JSON value is expected here"},
	} {
		if got := fmt.Sprint(tc.err); got != tc.want {
			t.Errorf("got %s\nwant %s", got, tc.want)
		}
	}
}
