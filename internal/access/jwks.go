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
)

// maxKeyID bounds a kid in bytes.
const maxKeyID = 128

// jwk is one key of a JWKS file (RFC 7517 section 4), with the parameters of
// the types that are used (RFC 7518 section 6, RFC 8037).
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	K          string   `json:"k"`
	D          string   `json:"d"`
}

// parseJWKS reads a JWKS file. Keys of other types and for other uses than
// checking HS256, EdDSA and RS256 are passed over, as RFC 7517 section 5 asks;
// a key that is meant for that and cannot be used is an error.
func parseJWKS(data []byte) ([]key, error) {
	var file struct {
		Keys *[]jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &file); err != nil || file.Keys == nil {
		// The text of err may quote what it stumbled over.
		return nil, errors.New("is not a JWKS; it must be one JSON object {\"keys\":[…]}")
	}
	var all []key
	unnamed := 0
	seen := map[string]bool{}
	for i, j := range *file.Keys {
		k, used, err := j.key()
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if !used {
			continue
		}
		if k.id == "" {
			unnamed++
		} else if seen[k.id] {
			return nil, fmt.Errorf("key %d: its kid is that of an earlier key; give each its own", i+1)
		}
		seen[k.id] = true
		all = append(all, k)
	}
	if unnamed > maxUnnamedKeys || len(all) > maxKeys {
		return nil, fmt.Errorf("%d keys, %d of them without a kid; at most %d and %d allowed", len(all), unnamed, maxKeys, maxUnnamedKeys)
	}
	if len(all) == 0 && len(*file.Keys) > 0 {
		return nil, errors.New("none of its keys is for checking HS256, EdDSA or RS256 signatures; add one")
	}
	return all, nil
}

// key converts a JWK; used is false for those that are not for us.
func (j *jwk) key() (k key, used bool, err error) {
	if j.Use != "" && j.Use != "sig" || j.Operations != nil && !slices.Contains(j.Operations, "verify") {
		return k, false, nil
	}
	if len(j.ID) > maxKeyID {
		return k, false, fmt.Errorf("kid: %d bytes, at most %d allowed; shorten it", len(j.ID), maxKeyID)
	}
	k.id = j.ID
	switch {
	case j.Type == "oct":
		secret, err := base64.RawURLEncoding.Strict().DecodeString(j.K)
		if err != nil || len(secret) < minSecret || len(secret) > maxSecret {
			return k, false, fmt.Errorf("k: must be %d to %d bytes in base64url without padding", minSecret, maxSecret)
		}
		k.material = secret
	case j.Type == "OKP" && j.Curve == "Ed25519":
		x, err := base64.RawURLEncoding.Strict().DecodeString(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return k, false, fmt.Errorf("x: must be %d bytes in base64url without padding", ed25519.PublicKeySize)
		}
		k.material = ed25519.PublicKey(x)
	case j.Type == "RSA":
		n, errN := base64.RawURLEncoding.Strict().DecodeString(j.N)
		e, errE := base64.RawURLEncoding.Strict().DecodeString(j.E)
		if errN != nil || errE != nil || len(e) == 0 || len(e) > 4 || e[0] > 0x7f && len(e) == 4 {
			return k, false, errors.New("n, e: must be integers in base64url without padding, e below 2^31")
		}
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		if err := checkPublic(public); err != nil {
			return k, false, err
		}
		k.material = public
	default:
		return k, false, nil
	}
	if j.Algorithm != "" && j.Algorithm != k.method().Alg() {
		return k, false, nil
	}
	if j.D != "" && j.Type != "oct" {
		return k, false, errors.New("a private key (d); the gateway only needs the public one, remove all private parameters")
	}
	return k, true, nil
}
