package server

import (
	"net/http"

	"github.com/labgate/labgate/protocol"
)

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
