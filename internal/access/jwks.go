package access

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/textfile"
)

// maxKeyID bounds a kid in bytes.
const maxKeyID = 128

// parseJWKS reads a JWKS file (RFC 7517 section 5). A key that cannot check
// HS256, EdDSA or RS256 signatures, or that is malformed, is ignored and never
// makes the other keys unusable. A file with keys, all of them ignored, is an
// error that says why.
func parseJWKS(data []byte) ([]key, ignoredKeys, error) {
	var ignored ignoredKeys
	data, err := textfile.Decode(data)
	if err != nil {
		return nil, ignored, err
	}
	entries, err := decodeKeyList(data)
	if err != nil {
		return nil, ignored, err
	}
	type name struct{ id, algorithm string }
	var all []key
	unnamed, seen := 0, map[name]bool{}
	for i, entry := range entries {
		k, err := parseJWK(entry)
		if err != nil {
			ignored.add(i+1, err.Error())
			continue
		}
		n := name{k.id, k.method().Alg()}
		switch {
		case k.id == "":
			unnamed++
		case seen[n]:
			ignored.add(i+1, "kid and algorithm are those of an earlier key")
			continue
		}
		seen[n] = true
		all = append(all, k)
	}
	if unnamed > maxUnnamedKeys || len(all) > maxKeys {
		return nil, ignored, fmt.Errorf("%d keys, %d of them without a kid; at most %d and %d allowed; remove old keys", len(all), unnamed, maxKeys, maxUnnamedKeys)
	}
	if len(all) == 0 && len(entries) > 0 {
		return nil, ignored, fmt.Errorf("none of its keys can check HS256, EdDSA or RS256 signatures; add one (%s)", &ignored)
	}
	return all, ignored, nil
}

// decodeKeyList returns the elements of the member keys. Errors never quote the
// file.
func decodeKeyList(data []byte) ([]json.RawMessage, error) {
	var syntax *json.SyntaxError
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); errors.As(err, &syntax) {
		line := 1 + strings.Count(string(data[:min(int(syntax.Offset), len(data))]), "\n")
		return nil, fmt.Errorf("is not a JWKS: line %d is not JSON; the file must hold one JSON object {\"keys\":[…]}", line)
	}
	var entries []json.RawMessage
	found := false
	err := decodeObject(data, func(name string, value json.RawMessage) error {
		if name != "keys" {
			return nil
		}
		found = len(value) > 0 && value[0] == '['
		return json.Unmarshal(value, &entries)
	})
	if err != nil || !found {
		return nil, errors.New("is not a JWKS; the file must hold one JSON object {\"keys\":[…]}")
	}
	return entries, nil
}

// jwk holds the members of one key of a JWKS (RFC 7517 section 4, RFC 7518
// section 6, RFC 8037). A member is decoded when it is needed: what is wrong
// with a key for another purpose is of no interest.
type jwk map[string]json.RawMessage

// parseJWK returns the key, or an error that says why it cannot be used. What
// the key is for is decided before its material is decoded.
func parseJWK(data []byte) (key, error) {
	j := jwk{}
	err := decodeObject(data, func(name string, value json.RawMessage) error {
		j[name] = value
		return nil
	})
	if err != nil {
		return key{}, err
	}
	algorithm, err := j.algorithm()
	if err != nil {
		return key{}, err
	}
	var k key
	if k.id, err = j.text("kid"); err != nil {
		return key{}, err
	}
	if len(k.id) > maxKeyID {
		return key{}, fmt.Errorf("kid has %d bytes, at most %d allowed", len(k.id), maxKeyID)
	}
	if _, private := j["d"]; private && algorithm != "HS256" {
		return key{}, errors.New("private key (member d); the gateway only needs the public one, remove all private members")
	}
	switch algorithm {
	case "HS256":
		k.material, err = j.secret()
	case "EdDSA":
		k.material, err = j.ed25519()
	default:
		k.material, err = j.rsa()
	}
	return k, err
}

// algorithm returns the one algorithm that the key is used with, or an error if
// the key is not for checking signatures with it.
func (j jwk) algorithm() (string, error) {
	algorithms := map[string]string{"oct": "HS256", "OKP": "EdDSA", "RSA": "RS256"}
	kty, err := j.text("kty")
	algorithm, known := algorithms[kty]
	if err != nil || !known {
		return "", errors.New("kty is none of RSA, OKP and oct")
	}
	if use, err := j.text("use"); err != nil || use != "" && use != "sig" {
		return "", errors.New("use is not sig")
	}
	if value, given := j["key_ops"]; given {
		if operations, err := decodeStrings(value); err != nil || !slices.Contains(operations, "verify") {
			return "", errors.New("key_ops lacks verify")
		}
	}
	if alg, err := j.text("alg"); err != nil || alg != "" && alg != algorithm {
		return "", fmt.Errorf("alg is not %s, the only algorithm for kty %s", algorithm, kty)
	}
	if crv, err := j.text("crv"); kty == "OKP" && (err != nil || crv != "Ed25519") {
		return "", errors.New("crv is not Ed25519")
	}
	return algorithm, nil
}

func (j jwk) secret() (any, error) {
	secret, err := j.bytes("k")
	if err != nil || len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("k is not %d to %d bytes in base64url without padding", minSecret, maxSecret)
	}
	if refusePublic(secret) != nil {
		return nil, errors.New("k is a public key, with which everybody could sign")
	}
	return secret, nil
}

func (j jwk) ed25519() (any, error) {
	x, err := j.bytes("x")
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x is not %d bytes in base64url without padding", ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(x), nil
}

func (j jwk) rsa() (any, error) {
	n, errN := j.bytes("n")
	e, errE := j.bytes("e")
	if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 || e[0] > 0x7f && len(e) == 4 {
		return nil, errors.New("n and e are not integers in base64url without padding, e below 2^31")
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	return public, checkPublic(public)
}

// text returns a member that is a string, "" if it is absent.
func (j jwk) text(name string) (s string, err error) {
	if value, given := j[name]; given {
		if err = decodeString(value, &s); err != nil {
			err = fmt.Errorf("%s %w", name, err)
		}
	}
	return s, err
}

func (j jwk) bytes(name string) ([]byte, error) {
	s, err := j.text(name)
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

// ignoredKeys says which keys of a JWKS are ignored, and why.
type ignoredKeys struct {
	count   int
	reasons []string         // in the order of the file
	numbers map[string][]int // of the keys, from 1, by reason
}

func (g *ignoredKeys) add(number int, reason string) {
	g.count++
	if g.numbers == nil {
		g.numbers = map[string][]int{}
	}
	if _, known := g.numbers[reason]; !known {
		g.reasons = append(g.reasons, reason)
	}
	g.numbers[reason] = append(g.numbers[reason], number)
}

// String lists the keys by reason, "" without any: "key 1: use is not sig; keys
// 2, 5: crv is not Ed25519". Long lists are cut: a JWKS may hold thousands of
// keys.
func (g *ignoredKeys) String() string {
	const most = 8
	var b strings.Builder
	for i, reason := range g.reasons {
		if i == most {
			fmt.Fprintf(&b, "; and %d more reasons", len(g.reasons)-most)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		numbers := g.numbers[reason]
		b.WriteString("key")
		if len(numbers) > 1 {
			b.WriteByte('s')
		}
		for n, number := range numbers[:min(len(numbers), most)] {
			if n > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, " %d", number)
		}
		if len(numbers) > most {
			fmt.Fprintf(&b, " and %d more", len(numbers)-most)
		}
		b.WriteString(": " + reason)
	}
	return b.String()
}
