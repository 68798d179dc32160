// Package protocol is the wire format labgate.v1: bytes to messages and back.
//
// A text frame carries one JSON object, the envelope. The gateway does not decode
// and encode the envelope: [Envelope.Parse] checks the whole text and finds the
// fields that routing needs, and [Envelope.AppendSpliced] copies the text with the
// true sender in "src". Programs that build messages use [Message].
//
// A binary frame carries telemetry: a 32-byte [TelemetryHeader] and the sample
// values, little-endian.
//
// The package also has the names on which both ends must agree: the gateway's own
// messages, the error codes and the close codes. It imports only the standard
// library.
package protocol

// Subprotocol is the WebSocket sub-protocol (RFC 6455 section 1.9) of this
// wire format.
const Subprotocol = "labgate.v1"

// Limits of the text envelope. A message that exceeds one of them is refused with
// an error that names the field; nothing is truncated.
const (
	MaxNameLen = 128 // bytes of a device or user name
	MaxTypeLen = 128 // bytes of "type"
	MaxIDLen   = 64  // bytes of "id" and of "re"
	MaxDstLen  = 200 // bytes of "dst"
	MaxDepth   = 64  // objects and arrays inside each other, the envelope included

	// MaxTS is the largest absolute value of "ts", in microseconds since 1970: up
	// to here a JavaScript number holds every integer exactly.
	MaxTS = 1 << 53

	DefaultTimeoutMS = 10_000  // milliseconds a command waits when "timeout_ms" is absent
	MaxTimeoutMS     = 600_000 // largest "timeout_ms", ten minutes
)
