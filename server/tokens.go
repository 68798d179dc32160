package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"os"
	"strings"
)

const (
	minTokenLen  = 16
	maxTokenLen  = 512
	maxTokenFile = 1 << 20
	// bearerProtocol is how a browser, which cannot set a header on a
	// WebSocket, brings its token: as a sub-protocol beside labgate.v1.
	bearerProtocol = "bearer."
)

// tokens are the bearer tokens of one role, hashed so that comparing takes the
// same time whatever is presented (RFC 6750). Nil admits everybody.
type tokens [][sha256.Size]byte

// loadTokens reads a token file: one token a line, # begins a comment. An
// empty path gives nil.
func loadTokens(path string) (tokens, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(data) > maxTokenFile {
		return nil, fmt.Errorf("%s: %d bytes, at most %d allowed; is this the right file?", path, len(data), maxTokenFile)
	}
	var all tokens
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		token := strings.TrimSpace(line)
		if token == "" || strings.HasPrefix(token, "#") {
			continue
		}
		if len(token) < minTokenLen || len(token) > maxTokenLen {
			return nil, fmt.Errorf("%s line %d: a token of %d characters, %d to %d allowed; make one with: openssl rand -hex 32", path, n, len(token), minTokenLen, maxTokenLen)
		}
		if i := strings.IndexFunc(token, func(c rune) bool { return !tokenRune(c) }); i >= 0 {
			return nil, fmt.Errorf("%s line %d: character %d is not allowed; use letters, digits and . _ ~ -", path, n, i+1)
		}
		all = append(all, sha256.Sum256([]byte(token)))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: holds no token; write one a line", path)
	}
	return all, nil
}

// tokenRune reports whether c may be in a token: what may stand both in an
// Authorization header and in a sub-protocol name (RFC 7230 token).
func tokenRune(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.ContainsRune("._~-", c)
}

// admit reports whether the presented token is one of them, in a time that
// does not depend on which.
func (t tokens) admit(presented string) bool {
	if t == nil {
		return true
	}
	sum := sha256.Sum256([]byte(presented))
	found := 0
	for i := range t {
		found |= subtle.ConstantTimeCompare(t[i][:], sum[:])
	}
	return found == 1
}

// presentedToken returns the token of the Authorization header or of a bearer
// sub-protocol.
func presentedToken(r *http.Request, offered []string) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	for _, p := range offered {
		if token, ok := strings.CutPrefix(p, bearerProtocol); ok {
			return token
		}
	}
	return ""
}
