package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/labgate/labgate/protocol"
)

const (
	// MinTokenLen is the minimum length of a token in characters.
	MinTokenLen = 16
	// MaxTokenLen is the maximum length of a token in characters.
	MaxTokenLen = 512
	// maxLabelLen is the maximum length of a label in characters.
	maxLabelLen = 64

	hashPrefix = "sha256:"
)

// Grant is what a line of a token file grants to the bearer of the token.
type Grant struct {
	Role Role
	// Name is the only device id or user that the bearer may take. Empty: any.
	Name string
	// Label names the token in the log, as part of [Identity.Source].
	Label string
	// Permissions are empty except for a front end.
	Permissions
}

// NewToken returns a token of 32 random bytes in base64url. All of its 43
// characters are allowed in a header, a sub-protocol name and a token file.
func NewToken() string {
	var b [32]byte
	// Never fails: crypto/rand ends the process rather than return an error.
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// HashLine returns the line of a token file that grants g to the bearer of the
// token, without a line break. Errors quote neither the token nor the grant.
func HashLine(token string, g Grant) (string, error) {
	if err := checkToken(token); err != nil {
		return "", err
	}
	if err := g.check(); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(token))
	return hashPrefix + hex.EncodeToString(sum[:]) + g.attributes(), nil
}

// checkToken returns an error unless the token has an allowed length and only
// characters that are allowed both in an Authorization header (RFC 6750 section
// 2.1) and in a sub-protocol name (RFC 9110 section 5.6.2).
func checkToken[T string | []byte](token T) error {
	if len(token) < MinTokenLen || len(token) > MaxTokenLen {
		return fmt.Errorf("a token of %d characters, %d to %d allowed; make one with: labgate token", len(token), MinTokenLen, MaxTokenLen)
	}
	for i := range len(token) {
		if !tokenByte(token[i]) {
			return fmt.Errorf("character %d of the token is not allowed; use letters, digits and . _ ~ -", i+1)
		}
	}
	return nil
}

func tokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_' || c == '~' || c == '-'
}

// check returns an error if no line of a token file can express the grant.
func (g *Grant) check() error {
	if g.Name != "" && !protocol.ValidName(g.Name) {
		return fmt.Errorf("%s: use 1 to %d letters, digits and . _ : - that start with a letter or digit", g.nameKey(), protocol.MaxNameLen)
	}
	if err := checkLabel(g.Label); g.Label != "" && err != nil {
		return fmt.Errorf("label: %w", err)
	}
	switch g.Role {
	case RoleDevice:
		if g.Observe || g.Command || len(g.Devices) > 0 {
			return fmt.Errorf("permissions and devices are for front ends; leave them out for a device")
		}
	case RoleFrontend:
		if !g.Observe && !g.Command {
			return fmt.Errorf("permissions: none given; use observe, command or both")
		}
		if len(g.Devices) == 0 || len(g.Devices) > maxPatterns {
			return fmt.Errorf("devices: %d patterns, 1 to %d allowed; use * for all devices", len(g.Devices), maxPatterns)
		}
		for _, p := range g.Devices {
			if _, err := parsePattern(string(p)); err != nil {
				return fmt.Errorf("devices: %w", err)
			}
		}
	case RoleAdmin:
		if g.Name != "" || g.Observe || g.Command || len(g.Devices) > 0 {
			return fmt.Errorf("name, permissions and devices are not for the role admin; leave them out")
		}
	default:
		return fmt.Errorf("role: use device, frontend or admin")
	}
	return nil
}

// nameKey is the attribute that holds the name in a line.
func (g *Grant) nameKey() string {
	if g.Role == RoleDevice {
		return "name"
	}
	return "user"
}

// attributes returns the grant as the attributes of a line, defaults included.
func (g *Grant) attributes() string {
	var b strings.Builder
	b.WriteString(" role=" + g.Role.String())
	if g.Name != "" {
		b.WriteString(" " + g.nameKey() + "=" + g.Name)
	}
	if g.Role == RoleFrontend {
		b.WriteString(" permissions=" + strings.Join(permissionNames(g.Permissions), ",") + " devices=")
		for i, p := range g.Devices {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(string(p))
		}
	}
	if g.Label != "" {
		b.WriteString(" label=" + g.Label)
	}
	return b.String()
}

const (
	permObserve = "observe"
	permCommand = "command"
)

func permissionNames(p Permissions) []string {
	var names []string
	if p.Observe {
		names = append(names, permObserve)
	}
	if p.Command {
		names = append(names, permCommand)
	}
	return names
}

// ParsePermissions reads permissions and device patterns as they are written in
// a token file, on the command line and in a JWT. Nil permissions mean observe,
// nil devices mean all devices. Errors do not quote the arguments.
func ParsePermissions(permissions, devices []string) (Permissions, error) {
	if permissions == nil {
		permissions = []string{permObserve}
	}
	if devices == nil {
		devices = []string{"*"}
	}
	var p Permissions
	for i, name := range permissions {
		switch name {
		case permObserve:
			p.Observe = true
		case permCommand:
			p.Command = true
		default:
			return Permissions{}, fmt.Errorf("permissions: number %d is unknown; use observe, command or both", i+1)
		}
	}
	if len(devices) > maxPatterns {
		return Permissions{}, fmt.Errorf("devices: %d patterns, at most %d allowed; join some with *", len(devices), maxPatterns)
	}
	for i, device := range devices {
		pattern, err := parsePattern(device)
		if err != nil {
			return Permissions{}, fmt.Errorf("devices: number %d: %w", i+1, err)
		}
		p.Devices = append(p.Devices, pattern)
	}
	return p, nil
}

func checkLabel(label string) error {
	if len(label) == 0 || len(label) > maxLabelLen {
		return fmt.Errorf("%d characters, 1 to %d allowed; shorten it", len(label), maxLabelLen)
	}
	for i := range len(label) {
		if c := label[i]; !nameByte(c) && c != '@' && c != '+' {
			return fmt.Errorf("character %d is not allowed; use letters, digits and . _ : - @ +", i+1)
		}
	}
	return nil
}
