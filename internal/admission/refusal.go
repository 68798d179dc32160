package admission

import (
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/labgate/labgate/internal/httpresponse"
	"github.com/labgate/labgate/protocol"
)

// The reasons for which connections and handshakes are refused at a limit, in
// the metrics.
const (
	refusedTotal   = "connections"
	refusedAddress = "address"
	refusedRate    = "rate"
	refusedUser    = "sessions_per_user"

	refusedCredential = "sessions_per_credential"
)

// Refusal is the answer to a connection or request that is not served.
type Refusal struct {
	Status  int // HTTP status
	Code    protocol.ErrorCode
	Message string
	// RetryAfter is the value of the header field Retry-After, in seconds;
	// empty: there is none.
	RetryAfter string
	// Credential names the credential that was presented, where that is known.
	// It is for the log only.
	Credential string

	// reason is the name in the metrics; empty: the code.
	reason string
}

func refuse(status int, code protocol.ErrorCode, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// refuseForNow is refuse for what may be granted later.
func (a *Admission) refuseForNow(reason string, status int, code protocol.ErrorCode, format string, args ...any) *Refusal {
	ref := refuse(status, code, format, args...)
	ref.reason, ref.RetryAfter = reason, a.retryAfter()
	return ref
}

// retryAfter is the value of the header field Retry-After, in whole seconds
// (RFC 9110 section 10.2.3).
func (a *Admission) retryAfter() string {
	return strconv.Itoa(max(1, int(math.Ceil(a.opts.RetryAfter.Seconds()))))
}

// Write answers with the refusal.
func (r *Refusal) Write(w http.ResponseWriter) {
	switch header := w.Header(); r.Status {
	case http.StatusUpgradeRequired:
		header.Set("Upgrade", "websocket")
		header.Set("Sec-WebSocket-Version", "13")
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", `Bearer realm="labgate"`)
	case http.StatusMethodNotAllowed:
		header.Set("Allow", http.MethodGet)
	}
	if r.RetryAfter != "" {
		w.Header().Set("Retry-After", r.RetryAfter)
	}
	httpresponse.WriteError(w, r.Status, r.Code, r.Message)
}

func (r *Refusal) reasonName() string {
	if r.reason != "" {
		return r.reason
	}
	return string(r.Code)
}

// Clip shortens what a stranger sent to a length that an answer and a log line
// bear.
func Clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
