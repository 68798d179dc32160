package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/labgate/labgate/protocol"
)

// maxMembers bounds the members of a JWT's header and of its claims.
const maxMembers = 128

// joseHeader is what counts of a JWT's header (RFC 7515 section 4.1). Keys that
// a token brings along or points to (jwk, jku, x5c, x5u) are not looked at.
type joseHeader struct {
	algorithm string
	keyID     string
	hasKeyID  bool
}

func (h *joseHeader) decode(data []byte) error {
	return decodeObject(data, func(name string, value json.RawMessage) error {
		switch name {
		case "alg":
			return decodeString(value, &h.algorithm)
		case "kid":
			h.hasKeyID = true
			if err := decodeString(value, &h.keyID); err != nil {
				return err
			}
			if len(h.keyID) > maxKeyID {
				return fmt.Errorf("%d bytes, at most %d allowed", len(h.keyID), maxKeyID)
			}
		case "crit", "b64":
			// Section 4.1.11: what must be understood and is not, is refused.
			return errors.New("extensions are not understood here")
		}
		return nil
	})
}

// claims are those of a JWT that count (RFC 7519 section 4.1, and role,
// permissions and devices). It implements jwt.Claims.
type claims struct {
	subject, issuer, id          string
	audience                     []string
	expires, notBefore, issuedAt *jwt.NumericDate
	role                         Role
	permissions                  Permissions
}

// decode reads and checks the claims that are looked at, whoever set them.
// Names must be spelled exactly; others are passed over. Errors do not repeat
// what they are about.
func (c *claims) decode(data []byte) error {
	var permissions, devices []string
	err := decodeObject(data, func(name string, value json.RawMessage) (err error) {
		switch name {
		case "sub":
			err = decodeString(value, &c.subject)
		case "iss":
			err = decodeString(value, &c.issuer)
		case "jti":
			if err = decodeString(value, &c.id); err == nil && len(c.id) > maxTokenID {
				err = fmt.Errorf("%d bytes, at most %d allowed", len(c.id), maxTokenID)
			}
		case "aud":
			var one string
			if decodeString(value, &one) == nil {
				c.audience = []string{one}
			} else {
				c.audience, err = decodeStrings(value)
			}
		case "exp":
			c.expires, err = decodeDate(value)
		case "nbf":
			c.notBefore, err = decodeDate(value)
		case "iat":
			c.issuedAt, err = decodeDate(value)
		case "role":
			var role string
			if err = decodeString(value, &role); err == nil {
				known := false
				if c.role, known = ParseRole(role); !known || c.role == RoleAdmin {
					err = errors.New("must be device or frontend")
				}
			}
		case "permissions":
			permissions, err = decodeStrings(value)
		case "devices":
			devices, err = decodeStrings(value)
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.role == 0 {
		return errors.New("claim role is missing; have it issued with device or frontend")
	}
	if !protocol.ValidName(c.subject) {
		return fmt.Errorf("claim sub: must be the device id or the user, 1 to %d letters, digits and . _ : - that start with a letter or digit", protocol.MaxNameLen)
	}
	if c.permissions, err = ParsePermissions(permissions, devices); err != nil {
		return fmt.Errorf("claim %w", err)
	}
	return nil
}

// GetExpirationTime implements jwt.Claims.
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }

// GetNotBefore implements jwt.Claims.
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.notBefore, nil }

// GetIssuedAt implements jwt.Claims.
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.issuedAt, nil }

// GetIssuer implements jwt.Claims.
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetSubject implements jwt.Claims.
func (c *claims) GetSubject() (string, error) { return c.subject, nil }

// GetAudience implements jwt.Claims.
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }

// decodeObject calls field for each member of a JSON object. Two members of one
// name are refused: issuer and gateway might each believe another one. Errors
// name the member only if field knows it, that is if it returned the error.
func decodeObject(data []byte, field func(name string, value json.RawMessage) error) error {
	if !json.Valid(data) || !utf8.Valid(data) {
		return errors.New("not JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	var seen []string
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errors.New("not a JSON object")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return errors.New("not a JSON object")
		}
		if slices.Contains(seen, name) {
			return errors.New("a name is there twice")
		}
		if len(seen) == maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		seen = append(seen, name)
		if err := field(name, value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return errors.New("not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than a JSON object")
	}
	return nil
}

func decodeString(value json.RawMessage, s *string) error {
	if len(value) == 0 || value[0] != '"' || json.Unmarshal(value, s) != nil {
		return errors.New("must be a string")
	}
	return nil
}

// decodeStrings never returns nil without an error: an empty list says
// something else than none.
func decodeStrings(value json.RawMessage) ([]string, error) {
	var items []json.RawMessage
	if len(value) == 0 || value[0] != '[' || json.Unmarshal(value, &items) != nil {
		return nil, errors.New("must be a list of strings")
	}
	all := make([]string, len(items))
	for i, item := range items {
		if decodeString(item, &all[i]) != nil {
			return nil, errors.New("must be a list of strings")
		}
	}
	return all, nil
}

// decodeDate reads seconds since 1970, at most to the year 9999 (RFC 7519
// section 2, NumericDate). Fractions are cut to milliseconds.
func decodeDate(value json.RawMessage) (*jwt.NumericDate, error) {
	const most = 253402300799
	var seconds float64
	if len(value) == 0 || value[0] == 'n' || json.Unmarshal(value, &seconds) != nil || seconds < 0 || seconds > most {
		return nil, errors.New("must be a number of seconds since 1970, to the year 9999 at most")
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(seconds * 1000))}, nil
}
