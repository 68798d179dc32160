package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// GatewayPrefix is the prefix of the gateway's own types. A peer may send only
// TypeSubscribe, TypeUnsubscribe, TypeRenew and TypeDescribe of them.
const GatewayPrefix = "gateway."

// Types of the gateway's own messages, with the payload each carries.
const (
	TypeWelcome       = "gateway.welcome"        // Welcome: the first message on every connection
	TypeDeviceOnline  = "gateway.device_online"  // DeviceNotice
	TypeDeviceOffline = "gateway.device_offline" // DeviceNotice
	TypeError         = "gateway.error"          // Error; "re" names the message it answers
	TypeLost          = "gateway.lost"           // Lost
	TypeClosing       = "gateway.closing"        // Closing
	TypeSubscribe     = "gateway.subscribe"      // Subscription, from a front end
	TypeUnsubscribe   = "gateway.unsubscribe"    // Subscription, from a front end
	TypeSubscribed    = "gateway.subscribed"     // Subscription: what holds after a (un)subscribe
	TypeTokenExpiring = "gateway.token_expiring" // Expiry: renew, or be closed with CloseUnauthorized
	TypeRenew         = "gateway.renew"          // Renewal, to the gateway
	TypeRenewed       = "gateway.renewed"        // Expiry: answers a TypeRenew that was accepted

	TypeDescribe        = "gateway.describe"         // a description (package protocol/description), from a device
	TypeDescribed       = "gateway.described"        // Described: answers a TypeDescribe that was accepted
	TypeDeviceDescribed = "gateway.device_described" // DeviceDescribed
)

// Welcome is the first message on every connection. It names the session and, for
// a front end, the devices that are online.
type Welcome struct {
	Session      string       `json:"session"`             // session id, a UUID
	Role         string       `json:"role"`                // "device" or "frontend"
	DeviceID     string       `json:"device_id,omitempty"` // devices only
	Node         string       `json:"node"`                // the node connected to
	Stream       *uint32      `json:"stream,omitempty"`    // devices only: the number in its telemetry
	ServerTimeUS int64        `json:"server_time_us"`      // the gateway's clock, microseconds since 1970
	HeartbeatMS  int64        `json:"heartbeat_ms"`        // milliseconds between the gateway's pings
	MaxMessage   int          `json:"max_message"`         // bytes of the largest message accepted
	Devices      []DeviceInfo `json:"devices,omitempty"`   // front ends only: who is online
}

// DeviceInfo describes a device that is online.
type DeviceInfo struct {
	DeviceID string            `json:"device_id"`
	Stream   uint32            `json:"stream"` // number in its telemetry frames, valid on the node connected to
	Node     string            `json:"node"`   // the node that holds the device
	Type     string            `json:"type,omitempty"`
	Customer string            `json:"customer,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	// DescriptionVersion is the version of the device's description; "" without
	// one.
	DescriptionVersion string `json:"description_version,omitempty"`
}

// DeviceNotice says that a device connected or disconnected.
type DeviceNotice struct {
	DeviceID string            `json:"device_id"`
	Stream   uint32            `json:"stream"`
	Node     string            `json:"node"`
	Reason   string            `json:"reason"` // why; a close code's name when it disconnected
	Type     string            `json:"type,omitempty"`
	Customer string            `json:"customer,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	// DescriptionVersion is the version of the device's description; "" without
	// one.
	DescriptionVersion string `json:"description_version,omitempty"`
}

// Described is the answer to a description that the gateway accepted.
type Described struct {
	// Version is the version of the device's description from now on; nil
	// without one.
	Version *string `json:"version"`
}

// DeviceDescribed says that the description of a device that is online has
// changed.
type DeviceDescribed struct {
	DeviceID string  `json:"device_id"`
	Version  *string `json:"version"` // nil: the device has no description any more
}

// Closing announces that the gateway is about to close the connection.
type Closing struct {
	RetryAfterMS int64 `json:"retry_after_ms"` // milliseconds to wait before connecting again
}

// Values of Subscription.Telemetry.
const (
	TelemetryAll  = "all"
	TelemetryNone = "none"
)

// MaxSubscriptionDevices is the largest number of device ids in one
// Subscription.
const MaxSubscriptionDevices = 1024

// Subscription asks for the telemetry of all devices, of none, or, with
// Telemetry empty, of those listed.
type Subscription struct {
	Devices   []string `json:"devices,omitempty"`
	Telemetry string   `json:"telemetry,omitempty"` // TelemetryAll, TelemetryNone or ""
}

// ParseSubscription reads and checks the payload of gateway.subscribe and
// gateway.unsubscribe. The error is a *FieldError.
func ParseSubscription(payload []byte) (Subscription, error) {
	var s Subscription
	if payload = bytes.TrimSpace(payload); len(payload) == 0 || payload[0] != '{' {
		return s, &FieldError{"payload", `is not an object; send {"devices":[...]} or {"telemetry":"all"}`}
	}
	if err := json.Unmarshal(payload, &s); err != nil {
		return Subscription{}, &FieldError{"payload", `does not fit; send {"devices":["id",...]} or {"telemetry":"all"}`}
	}
	if len(s.Devices) > MaxSubscriptionDevices {
		return Subscription{}, &FieldError{"payload.devices", strconv.Itoa(len(s.Devices)) + " device ids, at most " +
			strconv.Itoa(MaxSubscriptionDevices) + ` allowed; split the request or use "telemetry":"all"`}
	}
	for _, id := range s.Devices {
		if !ValidName(id) {
			return Subscription{}, &FieldError{"payload.devices", quoteShort([]byte(id)) + " is not a device id; take it out"}
		}
	}
	switch s.Telemetry {
	case "", TelemetryAll, TelemetryNone:
	default:
		return Subscription{}, &FieldError{"payload.telemetry", quoteShort([]byte(s.Telemetry)) + ` is unknown; use "all", "none" or leave it out`}
	}
	if s.Telemetry == "" && len(s.Devices) == 0 {
		return Subscription{}, &FieldError{"payload", `names nothing; send "devices" or "telemetry"`}
	}
	return s, nil
}
