package access

import (
	"fmt"

	"github.com/labgate/labgate/protocol"
)

// Reason is why somebody was refused, in one word for logs and metrics.
type Reason string

// The reasons.
const (
	// Missing: a credential is needed and none was presented.
	Missing Reason = "missing"
	// Wrong: what was presented is not a credential of this gateway's.
	Wrong Reason = "wrong"
	// WrongRole: it is one, for the other role.
	WrongRole Reason = "wrong_role"
	// WrongName: it is one, for another device or user.
	WrongName Reason = "wrong_name"
	// Expired: it was one.
	Expired Reason = "expired"
	// NotYet: it will be one.
	NotYet Reason = "not_yet"
)

// Refusal is the error of [Authenticator.Authenticate]. Its text may be shown
// to whoever was refused: it says what to do and names no secret, no device and
// no user.
type Refusal struct {
	Reason Reason
	// Source names the credential where it is known, for the log only: it is
	// not in the text, because it tells a thief whose credential he has.
	Source string
	// Detail is the text.
	Detail string
}

// Error returns the detail.
func (r *Refusal) Error() string { return r.Detail }

func refuse(reason Reason, source, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Source: source, Detail: fmt.Sprintf(format, args...)}
}

const howToPresent = "send it as \"Authorization: Bearer TOKEN\" or, from a browser, as the sub-protocol bearer.TOKEN beside " + protocol.Subprotocol
