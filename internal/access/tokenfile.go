package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/labgate/labgate/internal/textfile"
	"github.com/labgate/labgate/protocol"
)

const (
	// maxTokenFile bounds a token file in bytes.
	maxTokenFile = 8 << 20
	// maxTokenLines bounds the credentials of a token file: enough for several
	// tokens for each of 10,000 devices.
	maxTokenLines = 50_000
	// maxTokenLine bounds a line with a credential in bytes.
	maxTokenLine = 16 << 10
)

// credential is one line of a token file.
type credential struct {
	hash  [sha256.Size]byte
	grant Grant
	line  int
}

// parseTokens reads a token file: one credential a line. Empty lines and lines
// that begin with # are skipped. A credential is
//
//	TOKEN                          in clear, in files of one role: the whole role
//	sha256:HEX [ATTRIBUTE=VALUE…]  the SHA-256 of a token, and what it grants
//
// with the attributes role (device or frontend; default: the file's role),
// label, name for a device, and user, permissions (observe,command; default:
// observe) and devices (patterns; default: *) for a front end. The parameter
// role is the role of all credentials in the file, or zero for a file of both
// roles.
//
// The last line of a file may be cut off. A hashed token without its last
// attributes would grant more, so its line must end with a line break. Errors
// name the line and never quote it: the line may hold a token in the wrong
// place.
func parseTokens(data []byte, role Role) ([]credential, error) {
	data, err := textfile.Decode(data)
	if err != nil {
		return nil, err
	}
	type key struct {
		role Role
		hash [sha256.Size]byte
	}
	var all []credential
	seen := map[key]int{} // index in all
	n := 0
	for whole := range bytes.Lines(data) {
		n++
		line := bytes.TrimSpace(whole)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		c, err := parseTokenLine(line, role)
		if err == nil && bytes.HasPrefix(line, []byte(hashPrefix)) && !bytes.HasSuffix(whole, []byte("\n")) {
			err = errors.New("does not end with a line break, so the file may be cut off; write the file again, with a line break at its end")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		c.line = n
		k := key{c.grant.Role, c.hash}
		if i, known := seen[k]; known {
			if !all[i].grant.same(&c.grant) {
				return nil, fmt.Errorf("line %d: the token of line %d again, granting something else; remove one of them", n, all[i].line)
			}
			continue
		}
		if len(all) == maxTokenLines {
			return nil, fmt.Errorf("line %d: more than %d tokens; bind fewer, or issue JWTs", n, maxTokenLines)
		}
		seen[k] = len(all)
		all = append(all, c)
	}
	return all, nil
}

// parseTokenLine reads one line, which has no white space around it.
func parseTokenLine(line []byte, role Role) (credential, error) {
	switch {
	case len(line) > maxTokenLine:
		return credential{}, fmt.Errorf("%d bytes, at most %d allowed; is this the right file?", len(line), maxTokenLine)
	case bytes.HasPrefix(line, []byte(textfile.Mark)):
		return credential{}, errors.New("begins with a byte-order mark, as after joining two files; remove the mark")
	case bytes.ContainsRune(line, '\r'):
		return credential{}, errors.New("has a carriage return in it; end lines with a line feed, alone or behind a carriage return")
	}
	fields := strings.FieldsFunc(string(line), func(c rune) bool { return c == ' ' || c == '\t' })
	digest, hashed := strings.CutPrefix(fields[0], hashPrefix)
	if !hashed {
		return parseClearToken(fields, role)
	}
	var c credential
	sum, err := hex.DecodeString(digest)
	if err != nil || len(sum) != sha256.Size {
		return c, fmt.Errorf("64 hexadecimal digits must follow %s; make the line with: labgate token", hashPrefix)
	}
	copy(c.hash[:], sum)
	if isHashOfNothing(c.hash) {
		return c, errors.New("the hash is that of an empty token, which nobody can present; make the line with: labgate token")
	}
	c.grant, err = parseAttributes(fields[1:], role)
	return c, err
}

// isHashOfNothing reports whether a hash was made of an empty file or line.
func isHashOfNothing(hash [sha256.Size]byte) bool {
	return hash == sha256.Sum256(nil) || hash == sha256.Sum256([]byte("\n")) || hash == sha256.Sum256([]byte("\r\n"))
}

// parseClearToken reads the words of a line that is not a hashed token.
func parseClearToken(words []string, role Role) (credential, error) {
	switch {
	case strings.HasPrefix(strings.ToLower(words[0]), hashPrefix):
		return credential{}, fmt.Errorf("write %s in lower case", hashPrefix)
	case role == 0:
		return credential{}, fmt.Errorf("a token in clear is not allowed in a file of both roles; a line must be %sHEX role=ROLE and further attributes, make it with: labgate token --hash", hashPrefix)
	case len(words) > 1:
		return credential{}, fmt.Errorf("%d words; a line must be one token of %d to %d characters and nothing else, or %sHEX and attributes, which labgate token --hash makes of a token; a comment needs a line of its own", len(words), MinTokenLen, MaxTokenLen, hashPrefix)
	}
	if err := checkToken(words[0]); err != nil {
		return credential{}, err
	}
	c := credential{hash: sha256.Sum256([]byte(words[0])), grant: Grant{Role: role}}
	if role == RoleFrontend {
		c.grant.Permissions = everything()
	}
	return c, nil
}

// parseAttributes reads the attributes that follow the hash.
func parseAttributes(fields []string, role Role) (Grant, error) {
	var g Grant
	values := make(map[string]string, len(fields))
	for i, field := range fields {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "role", "name", "user", "label", "permissions", "devices":
		default:
			return g, fmt.Errorf("attribute %d is unknown; there are role, name, user, label, permissions and devices, and a comment needs a line of its own", i+1)
		}
		if value == "" {
			return g, fmt.Errorf("attribute %s has no value; write %s=VALUE without spaces, or leave it out", key, key)
		}
		if _, twice := values[key]; twice {
			return g, fmt.Errorf("attribute %s is there twice; remove one", key)
		}
		values[key] = value
	}
	if text, given := values["role"]; given {
		stated, known := ParseRole(text)
		if !known {
			return g, fmt.Errorf("attribute role: use device or frontend")
		}
		if stated == RoleAdmin && role == 0 {
			return g, fmt.Errorf("attribute role: admin has a file of its own; move the line to that of --admin-token-file")
		}
		if role != 0 && stated != role {
			return g, fmt.Errorf("attribute role: %s, in a file for the role %s; move the line", stated, role)
		}
		role = stated
	}
	if role == 0 {
		return g, fmt.Errorf("attribute role is missing; add role=device or role=frontend")
	}
	g.Role = role
	for _, key := range foreignAttributes(role) {
		if _, given := values[key]; given {
			return g, fmt.Errorf("attribute %s is not for the role %s; remove it (a device has a name, a front end user, permissions and devices)", key, role)
		}
	}
	g.Name = values[g.nameKey()]
	if g.Name != "" && !protocol.ValidName(g.Name) {
		return g, fmt.Errorf("attribute %s: use 1 to %d letters, digits and . _ : - that start with a letter or digit", g.nameKey(), protocol.MaxNameLen)
	}
	if label, given := values["label"]; given {
		if err := checkLabel(label); err != nil {
			return g, fmt.Errorf("attribute label: %w", err)
		}
		g.Label = label
	}
	if role == RoleFrontend {
		var err error
		if g.Permissions, err = ParsePermissions(list(values["permissions"]), list(values["devices"])); err != nil {
			return g, fmt.Errorf("attribute %w", err)
		}
	}
	return g, nil
}

// foreignAttributes lists the attributes that a role does not have.
func foreignAttributes(role Role) []string {
	switch role {
	case RoleDevice:
		return []string{"user", "permissions", "devices"}
	case RoleFrontend:
		return []string{"name"}
	default:
		return []string{"name", "user", "permissions", "devices"}
	}
}

// list splits a value at commas. The list of an absent attribute is nil.
func list(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

// same reports whether two grants for one role are equal except for their
// labels.
func (g *Grant) same(o *Grant) bool {
	return g.Name == o.Name && g.Permissions.equal(o.Permissions)
}
