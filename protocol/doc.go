// Package protocol is the wire format labgate.v1: bytes to messages and back.
//
// A text frame carries one JSON object, the envelope. The gateway does not
// decode and encode it again: [Envelope.Parse] checks the whole text and finds
// the fields that routing needs, and [Envelope.AppendSpliced] copies it with
// the true sender in "src". Programs that build messages use [Message].
//
// A binary frame carries telemetry: a 32-byte [TelemetryHeader] and the sample
// values, little-endian.
//
// The package also holds the names both ends must agree on: the messages of
// the gateway itself, the error codes and the close codes. It imports nothing
// but the standard library.
package protocol

// Subprotocol is the WebSocket sub-protocol (RFC 6455 section 1.9) of this
// wire format.
const Subprotocol = "labgate.v1"

// Limits of the text envelope. What goes beyond one of them is refused with an
// error that names the field; nothing is cut short.
const (
	MaxNameLen = 128 // bytes of a device or user name
	MaxTypeLen = 128 // bytes of "type"
	MaxIDLen   = 64  // bytes of "id" and of "re"
	MaxDstLen  = 200 // bytes of "dst"
	MaxDepth   = 64  // objects and arrays inside each other, the envelope included

	// MaxTS is the largest distance of "ts" from 1970 either way, in
	// microseconds: up to here a browser's number holds every integer.
	MaxTS = 1 << 53

	DefaultTimeoutMS = 10_000  // milliseconds a command waits when "timeout_ms" is absent
	MaxTimeoutMS     = 600_000 // largest "timeout_ms", ten minutes
)
