package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// snapshot is the content of all files at one moment. It never changes.
type snapshot struct {
	tokens  [roles]map[[sha256.Size]byte]Identity
	keys    keySet
	sources map[string]struct{} // of tokens, and of keys for all of their JWTs
	files   []FileReport
}

// fileContent is the content of one file and the report on it.
type fileContent struct {
	content
	report FileReport
}

// newSnapshot joins the contents of the files. If two files of one role hold
// the same token, the earlier file decides. A token that was in force under
// another label keeps its Source, so that a new label ends no session.
func newSnapshot(files []fileContent, old *snapshot, secret []byte) *snapshot {
	s := &snapshot{sources: map[string]struct{}{}}
	for role := range s.tokens {
		s.tokens[role] = map[[sha256.Size]byte]Identity{}
	}
	s.keys.named = map[string][]*key{}
	for _, f := range files {
		s.files = append(s.files, f.report)
		for i := range f.credentials {
			s.addToken(&f.credentials[i], old, secret)
		}
		for _, k := range f.keys {
			s.addKey(k, secret)
		}
	}
	return s
}

func (s *snapshot) addToken(c *credential, old *snapshot, secret []byte) {
	g := &c.grant
	tokens := s.tokens[g.Role]
	if _, known := tokens[c.hash]; known {
		return
	}
	id := Identity{Role: g.Role, Name: g.Name, Permissions: g.Permissions}
	if old != nil {
		if before, known := old.tokens[g.Role][c.hash]; known && before.Name == g.Name && before.Permissions.equal(g.Permissions) {
			id.Source = before.Source
		}
	}
	if id.Source == "" {
		id.Source = tokenSource(c, secret)
	}
	tokens[c.hash] = id
	s.sources[id.Source] = struct{}{}
}

func (s *snapshot) addKey(k key, secret []byte) {
	label := strings.ToLower(k.method().Alg())
	if k.id != "" {
		label = printable(k.id)
	}
	k.source = jwtPrefix + label + "#" + digest(secret, []byte(k.method().Alg()), []byte(k.id), k.bytes())
	// The same key in two files is one key.
	if _, known := s.sources[k.source]; known {
		return
	}
	s.sources[k.source] = struct{}{}
	if k.id != "" {
		s.keys.named[k.id] = append(s.keys.named[k.id], &k)
	} else {
		s.keys.unnamed = append(s.keys.unnamed, &k)
	}
}

// tokenSource names a token for the log. The digest covers the grant as well: a
// changed grant gives another Source, so that sessions with the old grant end.
func tokenSource(c *credential, secret []byte) string {
	g := c.grant
	label := g.Label
	if label == "" {
		label = g.Name
	}
	if label == "" {
		label = fmt.Sprintf("line-%d", c.line)
	}
	g.Label = ""
	return tokenPrefix + label + "#" + digest(secret, c.hash[:], []byte(g.attributes()))
}

// digest is keyed with a secret of this process, so that nobody can check a
// guess at a token against a log.
func digest(secret []byte, parts ...[]byte) string {
	h := hmac.New(sha256.New, secret)
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// revoked lists the credentials that are in force in old and not in s.
func (s *snapshot) revoked(old *snapshot) Sources {
	var revoked Sources
	for source := range old.sources {
		if _, still := s.sources[source]; !still {
			revoked = append(revoked, source)
		}
	}
	slices.Sort(revoked)
	return revoked
}
