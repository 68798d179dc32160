package protocol

import "strconv"

// ValidName reports whether s is a device or user name: 1 to 128 bytes, the
// first a letter or digit, the rest letters, digits and . _ : - (ASCII only).
// Such a name needs no escaping in JSON, in a URL path or in a log line.
func ValidName(s string) bool { return validName(s) }

// DstKind is the kind of receiver that a "dst" names.
type DstKind uint8

// The kinds of receivers.
const (
	DstNone      DstKind = iota // no dst
	DstDevice                   // DEVICE_ID
	DstFrontends                // @frontends: every front end
	DstUser                     // @user/NAME: every session of one user
	DstSession                  // @session/UUID
)

// Destination is a parsed "dst".
type Destination struct {
	Kind DstKind
	Name []byte // device id, user name or session id; a view into what was parsed; nil for the other kinds
}

// UserPrefix and SessionPrefix stand in front of a user's name and a session's
// id, in dst as in src.
const (
	UserPrefix    = "@user/"
	SessionPrefix = "@session/"
)

const dstFrontends = "@frontends"

// ParseDestination reads the value of "dst". An absent (empty) one gives
// DstNone. A session id is accepted only as the gateway writes it: 36
// characters, lower case. The error is a *FieldError for "dst".
func ParseDestination(dst []byte) (Destination, error) {
	if len(dst) == 0 {
		return Destination{}, nil
	}
	if dst[0] != '@' {
		if !validName(dst) {
			return Destination{}, dstError(dst, "is not a device id; use 1 to 128 letters, digits and . _ : - that start with a letter or digit")
		}
		return Destination{DstDevice, dst}, nil
	}
	if string(dst) == dstFrontends {
		return Destination{Kind: DstFrontends}, nil
	}
	if name, ok := cutPrefix(dst, UserPrefix); ok {
		if !validName(name) {
			return Destination{}, dstError(dst, "does not hold a user name; use 1 to 128 letters, digits and . _ : - after @user/")
		}
		return Destination{DstUser, name}, nil
	}
	if id, ok := cutPrefix(dst, SessionPrefix); ok {
		if !validUUID(id) {
			return Destination{}, dstError(dst, "does not hold a session id; copy the 36 lower-case characters that the gateway gave")
		}
		return Destination{DstSession, id}, nil
	}
	return Destination{}, dstError(dst, "is no known address; use a device id, @frontends, @user/NAME or @session/UUID")
}

func dstError(dst []byte, problem string) error {
	return &FieldError{Field: "dst", Problem: quoteShort(dst) + " " + problem}
}

func validName[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > MaxNameLen || charClass[s[0]]&classAlnum == 0 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if charClass[s[i]]&className == 0 {
			return false
		}
	}
	return true
}

// validUUID accepts the form of RFC 9562 section 4 in lower case, of any version.
func validUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

func cutPrefix(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil, false
	}
	return b[len(prefix):], true
}

// quoteShort makes input safe for an error text: quoted, escaped, and truncated so
// that it fits into a close reason or a log line.
func quoteShort(b []byte) string {
	const most = 40
	if len(b) > most {
		return strconv.QuoteToASCII(string(b[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(b))
}
