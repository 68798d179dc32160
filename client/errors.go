package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labgate/labgate/protocol"
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("client: closed")

	// ErrNotConnected is returned by methods that need a connection while there
	// is none. The client is reconnecting; nothing was sent.
	ErrNotConnected = errors.New("client: not connected to the gateway")

	// ErrConnectionLost is returned for a request whose connection ended before
	// the answer came. The request may or may not have been carried out, and is
	// not repeated.
	ErrConnectionLost = errors.New("client: connection lost before the answer came")

	// ErrNoAnswer is returned when the gateway itself did not answer a request
	// in time. The request may or may not have been carried out.
	ErrNoAnswer = errors.New("client: no answer from the gateway in time")

	// ErrQueueFull is returned when SendBuffer.Text is used up. Nothing was
	// sent.
	ErrQueueFull = errors.New("client: send buffer full")

	// ErrTooLarge is returned for a message beyond the gateway's size limit.
	// Nothing was sent.
	ErrTooLarge = errors.New("client: message too large")

	// ErrStreamOpen is returned by NewStream while the device has another
	// stream; a device has one stream number.
	ErrStreamOpen = errors.New("client: the device has an open stream; close it first")

	// errSilent ends a connection whose peer sends nothing any more.
	errSilent = errors.New("client: nothing heard from the gateway, not even an answer to a ping")
)

// RefusedError is the gateway's answer to a refused handshake.
type RefusedError struct {
	Status     int                // HTTP status
	Code       protocol.ErrorCode // from the JSON body, may be empty
	Message    string             // from the JSON body, else the start of the body unchanged
	RetryAfter time.Duration      // from the header Retry-After, 0 if absent
}

// Error names the status and the gateway's message.
func (e *RefusedError) Error() string {
	s := fmt.Sprintf("client: gateway refused the connection: %d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Code != "" {
		s += " (" + string(e.Code) + ")"
	}
	return s
}

// Temporary reports whether a later attempt may be accepted: the gateway is
// overloaded or restarting, or the device's old connection still exists.
func (e *RefusedError) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500
}

// DisconnectError reports why the gateway closed the connection.
type DisconnectError struct {
	Code   protocol.CloseCode
	Reason string
}

// Error names the close code, its name and the gateway's reason.
func (e *DisconnectError) Error() string {
	s := fmt.Sprintf("client: gateway closed the connection: %d %s", uint16(e.Code), e.Code.Name())
	if e.Reason != "" && e.Reason != e.Code.Name() {
		s += ": " + e.Reason
	}
	return s
}

// GatewayError is a gateway.error that answers a request.
type GatewayError struct {
	Code    protocol.ErrorCode
	Message string // for people
}

// Error returns the message and the code.
func (e *GatewayError) Error() string {
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message + " (" + string(e.Code) + ")"
}

// CommandRefusedError is the answer of a device that refused a command, or failed to
// carry it out: the answer's payload has "ok": false.
type CommandRefusedError struct {
	Device string
	Type   string // of the command
	Reason string // the payload's "error", for people
}

// Error returns the device's reason.
func (e *CommandRefusedError) Error() string {
	return "device " + e.Device + " refused " + e.Type + ": " + e.Reason
}

// worthRetrying reports whether a reconnect can succeed after err.
func worthRetrying(err error) bool {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Temporary()
	}
	if closed, ok := errors.AsType[*DisconnectError](err); ok {
		return closed.Code.Reconnect()
	}
	return true
}
