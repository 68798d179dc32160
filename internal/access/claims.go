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

// maxMembers is the maximum number of members in a JWT's header, in its claims,
// and in a key of a JWKS.
const maxMembers = 128

// joseHeader holds the members of a JWT's header that are used (RFC 7515 section
// 4.1). Keys in the header and addresses of keys (jwk, jku, x5c, x5u) are
// ignored.
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
			// A recipient must refuse extensions that it does not understand
			// (section 4.1.11).
			return errors.New("extensions are not understood here")
		}
		return nil
	})
}

// claims holds the claims of a JWT that are used: those of RFC 7519 section 4.1,
// and role, permissions and devices. It implements jwt.Claims.
type claims struct {
	subject, issuer, id          string
	audience                     []string
	expires, notBefore, issuedAt *jwt.NumericDate
	role                         Role
	permissions                  Permissions
}

// decode reads the claims and checks their types and limits. The case of names
// matters; unknown claims are ignored. Errors do not quote values.
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

// decodeObject calls field for each member of a JSON object. It refuses two
// members of one name, because the issuer and the gateway might each use
// another of them. Only errors that field returns name a member, so that no
// error quotes a name that the package does not know.
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
			return errors.New("two members have the same name")
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

// decodeStrings decodes a list of strings. An empty list is not nil, because an
// empty claim and an absent one differ in meaning.
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

// decodeDate decodes a NumericDate (RFC 7519 section 2): seconds since 1970, up
// to the year 9999. Fractions are cut off to milliseconds.
func decodeDate(value json.RawMessage) (*jwt.NumericDate, error) {
	const most = 253402300799
	var seconds float64
	if len(value) == 0 || value[0] == 'n' || json.Unmarshal(value, &seconds) != nil || seconds < 0 || seconds > most {
		return nil, errors.New("must be a number of seconds since 1970, to the year 9999 at most")
	}
	return &jwt.NumericDate{Time: time.UnixMilli(int64(seconds * 1000))}, nil
}
