package protocol

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// MaxRenewalToken is the largest token of a Renewal in bytes.
const MaxRenewalToken = 4096

// Expiry says when the credential of a session expires.
type Expiry struct {
	// ExpiresInMS is the time left in milliseconds, by the gateway's clock. Nil:
	// the credential does not expire.
	ExpiresInMS *int64 `json:"expires_in_ms,omitempty"`
}

// Renewal has the token with which a session continues.
type Renewal struct {
	Token string `json:"token"`
}

// ParseRenewal reads and checks the payload of gateway.renew. The error is a
// *FieldError and contains nothing of the payload.
func ParseRenewal(payload []byte) (Renewal, error) {
	var r Renewal
	if payload = bytes.TrimSpace(payload); len(payload) == 0 || payload[0] != '{' || json.Unmarshal(payload, &r) != nil {
		return Renewal{}, &FieldError{"payload", `does not fit; send {"token":"TOKEN"}`}
	}
	if len(r.Token) == 0 || len(r.Token) > MaxRenewalToken {
		return Renewal{}, &FieldError{"payload.token", strconv.Itoa(len(r.Token)) + " bytes, 1 to " +
			strconv.Itoa(MaxRenewalToken) + " allowed; send the token as it was issued"}
	}
	return r, nil
}
