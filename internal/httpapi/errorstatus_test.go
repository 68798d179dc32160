package httpapi

import (
	"net/http"
	"testing"

	"github.com/labgate/labgate/protocol"
)

func TestErrorStatus(t *testing.T) {
	for code, want := range map[protocol.ErrorCode]int{
		"bad_message": 400, "not_allowed": 403, "device_offline": 404, "device_disconnected": 502, "timeout": 504,
		"overloaded": 503, "unavailable": 503, "too_large": 413, "rate_limited": 429, "not_found": 404, "": 500, "unheard_of": 500,
	} {
		if got := statusOf(code); got != want || http.StatusText(got) == "" {
			t.Errorf("%q: %d, want %d", code, got, want)
		}
	}
}
