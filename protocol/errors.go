package protocol

import "strconv"

// FieldError says which field of a message or of a telemetry header is wrong, and
// why. The problem ends with what to do.
type FieldError struct {
	Field   string // name on the wire: "id", "timeout_ms", "channels"
	Problem string // "65 bytes, at most 64 allowed; shorten it"
}

// Error returns `field "id": 65 bytes, at most 64 allowed; shorten it`.
func (e *FieldError) Error() string {
	return "field " + strconv.Quote(e.Field) + ": " + e.Problem
}

// SyntaxError says where a text message is not acceptable JSON (RFC 8259).
type SyntaxError struct {
	Offset  int    // bytes before the fault, from the start of the message
	Problem string // what is wrong there and what was expected
}

// Error returns `message at byte 17: a value is expected here`.
func (e *SyntaxError) Error() string {
	return "message at byte " + strconv.Itoa(e.Offset) + ": " + e.Problem
}

// ErrorCode is the machine-readable part of a gateway.error message and of an
// error answer of the HTTP API.
type ErrorCode string

// The error codes of labgate.v1.
const (
	ErrBadMessage         ErrorCode = "bad_message"         // the message breaks the format or a limit
	ErrNotAllowed         ErrorCode = "not_allowed"         // this peer may not send that, or not there
	ErrDeviceOffline      ErrorCode = "device_offline"      // no such device is connected; the command was not sent
	ErrDeviceDisconnected ErrorCode = "device_disconnected" // the device disconnected while the command was pending
	ErrTimeout            ErrorCode = "timeout"             // the device did not answer in time
	ErrOverloaded         ErrorCode = "overloaded"          // a queue is full; try again later
	ErrUnavailable        ErrorCode = "unavailable"         // the other nodes cannot be reached now
	ErrTooLarge           ErrorCode = "too_large"           // the message exceeds the size limit
	ErrRateLimited        ErrorCode = "rate_limited"        // too many messages; slow down
	ErrNotFound           ErrorCode = "not_found"           // the user or session named in dst is not there
)

// Error is a refusal or failure that is reported to a peer: the payload of
// gateway.error, and of an error answer of the HTTP API.
type Error struct {
	Code    ErrorCode `json:"code"`
	Message string    `json:"message"` // for people; may change
}

// NewError returns an Error.
func NewError(code ErrorCode, message string) *Error { return &Error{Code: code, Message: message} }

// Error returns the code and the message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }
