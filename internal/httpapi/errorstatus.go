package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// writeFailure answers with what the router said.
func writeFailure(w http.ResponseWriter, err error) {
	var known *protocol.Error
	var field *protocol.FieldError
	switch {
	case errors.As(err, &known):
		httpresponse.WriteError(w, statusOf(known.Code), known.Code, known.Message)
	case errors.As(err, &field):
		httpresponse.WriteError(w, http.StatusBadRequest, protocol.ErrBadMessage, field.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		httpresponse.WriteError(w, http.StatusServiceUnavailable, protocol.ErrUnavailable, "the request ended before the answer came")
	default:
		httpresponse.WriteError(w, http.StatusInternalServerError, protocol.ErrUnavailable, err.Error())
	}
}

// statusOf returns the HTTP status that goes with an error code, 500 for a code
// that labgate.v1 does not define.
func statusOf(code protocol.ErrorCode) int {
	switch code {
	case protocol.ErrBadMessage:
		return http.StatusBadRequest
	case protocol.ErrNotAllowed:
		return http.StatusForbidden
	case protocol.ErrDeviceOffline, protocol.ErrNotFound:
		return http.StatusNotFound
	case protocol.ErrDeviceDisconnected:
		return http.StatusBadGateway
	case protocol.ErrTimeout:
		return http.StatusGatewayTimeout
	case protocol.ErrOverloaded, protocol.ErrUnavailable:
		return http.StatusServiceUnavailable
	case protocol.ErrTooLarge:
		return http.StatusRequestEntityTooLarge
	case protocol.ErrRateLimited:
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}
