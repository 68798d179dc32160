package access

import (
	"fmt"

	"github.com/labgate/labgate/protocol"
)

// Reason says in one word, for logs and metrics, why a credential was refused.
type Reason string

// The reasons.
const (
	// Missing: a credential is needed, and the peer presented none.
	Missing Reason = "missing"
	// Wrong: the gateway does not accept the credential.
	Wrong Reason = "wrong"
	// WrongRole: the credential is for another role.
	WrongRole Reason = "wrong_role"
	// WrongName: the credential is for another device or user.
	WrongName Reason = "wrong_name"
	// Expired: the credential was valid and has expired.
	Expired Reason = "expired"
	// NotYet: the credential is not valid yet.
	NotYet Reason = "not_yet"
)

// Refusal is the error of [Authenticator.Authenticate].
type Refusal struct {
	Reason Reason
	// Source is the credential's [Identity.Source], if the credential is known.
	// Source is for the log alone: it would tell a thief whose credential was
	// stolen.
	Source string
	// Detail is the text for the refused peer. The text says what to do and
	// names no secret, no device and no user.
	Detail string
}

// Error returns the detail.
func (r *Refusal) Error() string { return r.Detail }

func refuse(reason Reason, source, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Source: source, Detail: fmt.Sprintf(format, args...)}
}

const howToPresent = "send it as \"Authorization: Bearer TOKEN\" or, from a browser, as the sub-protocol bearer.TOKEN beside " + protocol.Subprotocol
