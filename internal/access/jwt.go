package access

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/labgate/labgate/protocol"
)

const (
	// maxJWTLen is the maximum length of a JWT in bytes, for the sake of the
	// header that has to hold it.
	maxJWTLen = 4096
	// leeway is how far an issuer's clock may be ahead of the gateway's when nbf
	// and iat are checked. There is no leeway for exp, because the session ends
	// at that time.
	leeway = 30 * time.Second

	// maxTokenID is the maximum length of a jti in bytes.
	maxTokenID = 128
)

// algorithms lists the accepted algorithms.
var algorithms = []string{"HS256", "EdDSA", "RS256"}

// looksLikeJWT reports whether a token has a JWT's three parts (RFC 7515
// section 3.1).
func looksLikeJWT(token string) bool { return strings.Count(token, ".") == 2 }

// jwtVerifier checks JWTs. The library checks signatures and times. The header
// and the claims are decoded in this package, because the library would accept
// two claims of one name and use the last, and would use "Role" as "role".
type jwtVerifier struct {
	claims           *jwt.Validator
	issuer, audience string
	now              func() time.Time
}

func newJWTVerifier(issuer, audience string, now func() time.Time) *jwtVerifier {
	opts := []jwt.ParserOption{jwt.WithTimeFunc(now), jwt.WithLeeway(leeway), jwt.WithIssuedAt(), jwt.WithExpirationRequired()}
	if issuer != "" {
		opts = append(opts, jwt.WithIssuer(issuer))
	}
	if audience != "" {
		opts = append(opts, jwt.WithAudience(audience))
	}
	return &jwtVerifier{jwt.NewValidator(opts...), issuer, audience, now}
}

// verify returns the identity of a JWT's subject. Only the header is decoded
// before the signature is verified.
func (v *jwtVerifier) verify(token string, keys *keySet) (Identity, *Refusal) {
	if len(token) > maxJWTLen {
		return Identity{}, refuse(Wrong, "", "the JWT has %d bytes, at most %d allowed; have it issued with fewer claims", len(token), maxJWTLen)
	}
	signed, signature, _ := cutLast(token, ".")
	header, payload, _ := strings.Cut(signed, ".")
	k, refusal := verifySignature(header, signed, signature, keys)
	if refusal != nil {
		return Identity{}, refusal
	}
	data, err := decodeSegment(payload)
	var c claims
	if err == nil {
		err = c.decode(data)
	}
	if err != nil {
		return Identity{}, refuse(Wrong, k.source, "the JWT cannot be used: %v", err)
	}
	source := c.source(k)
	if refusal := v.checkClaims(&c, source); refusal != nil {
		return Identity{}, refusal
	}
	id := Identity{Role: c.role, Name: c.subject, Source: source, Expires: c.expires.Time}
	if id.Role == RoleFrontend {
		id.Permissions = c.permissions
	}
	return id, nil
}

// verifySignature returns the key that signed a JWT (RFC 7515 section 5.2).
func verifySignature(header, signed, signature string, keys *keySet) (*key, *Refusal) {
	data, err := decodeSegment(header)
	if err != nil {
		return nil, refuse(Wrong, "", "the JWT's header is not base64url without padding; send the token as it was issued")
	}
	sig, err := decodeSegment(signature)
	if err != nil {
		return nil, refuse(Wrong, "", "the JWT's signature is not base64url without padding; send the token as it was issued")
	}
	var h joseHeader
	if err := h.decode(data); err != nil {
		return nil, refuse(Wrong, "", "the JWT's header cannot be used: %v", err)
	}
	if !slices.Contains(algorithms, h.algorithm) {
		return nil, refuse(Wrong, "", "the JWT's algorithm is not accepted; have it signed with HS256, EdDSA or RS256")
	}
	for _, k := range keys.candidates(h.keyID, h.hasKeyID) {
		// The key decides the method. The header only has to agree.
		method := k.method()
		if method.Alg() == h.algorithm && method.Verify(signed, sig, k.material) == nil {
			return k, nil
		}
	}
	return nil, refuse(Wrong, "", "no key of this gateway's has signed the JWT; check that its kid and algorithm are those of a key in the gateway's key files")
}

// checkClaims checks the issuer, the audience and the times of a JWT (RFC 7519
// section 4.1).
func (v *jwtVerifier) checkClaims(c *claims, source string) *Refusal {
	err := v.claims.Validate(c)
	expired := c.expires != nil && !v.now().Before(c.expires.Time)
	switch {
	case c.expires == nil:
		return refuse(Wrong, source, "the JWT cannot be used: claim exp is missing; have it issued with one")
	case errors.Is(err, jwt.ErrTokenInvalidIssuer) || v.issuer != "" && c.issuer == "":
		return refuse(Wrong, source, "the JWT cannot be used: claim iss is not the issuer that this gateway trusts")
	case errors.Is(err, jwt.ErrTokenInvalidAudience) || v.audience != "" && !slices.Contains(c.audience, v.audience):
		return refuse(Wrong, source, "the JWT cannot be used: claim aud does not name this gateway")
	case expired || errors.Is(err, jwt.ErrTokenExpired):
		return refuse(Expired, source, "the JWT has expired; get a new one")
	case errors.Is(err, jwt.ErrTokenNotValidYet) || errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return refuse(NotYet, source, "the JWT is not valid yet (nbf or iat); wait, or set the clocks")
	case err != nil:
		return refuse(Wrong, source, "the JWT's claims are not acceptable; have it issued again")
	}
	return nil
}

// source returns the JWT's Source: its key, its subject and its id, if it has
// one. The key comes first, so that all tokens of a key are revoked together.
func (c *claims) source(k *key) string {
	source := k.source
	if protocol.ValidName(c.subject) {
		source += "/" + c.subject
	}
	if c.id != "" {
		source += "/" + printable(c.id)
	}
	return source
}

// printable returns the first 64 bytes of s with an underscore for each byte
// that is not allowed in names. Others choose s, and a Source is in the log.
func printable(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most]
	}
	b := []byte(s)
	for i, c := range b {
		if !nameByte(c) {
			b[i] = '_'
		}
	}
	return string(b)
}

// decodeSegment decodes base64url without padding. It refuses line breaks, which
// encoding/base64 would skip.
func decodeSegment(s string) ([]byte, error) {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
