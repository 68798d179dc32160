package access

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxKeyFile bounds a key file in bytes.
	maxKeyFile = 256 << 10
	// minSecret is the least length of a secret in bytes that RFC 7518 section
	// 3.2 allows for HS256.
	minSecret = 32
	// maxSecret is the greatest length of a secret in bytes.
	maxSecret = 4096
	// minRSA is the least length of an RSA modulus in bits (RFC 7518 section
	// 3.3).
	minRSA = 2048
	// maxRSA bounds an RSA modulus in bits, and so the time that checking a
	// signature takes.
	maxRSA = 8192
	// maxKeys bounds the keys of a JWKS file.
	maxKeys = 64
	// maxUnnamedKeys bounds the keys without an id in a file: all of them may
	// be tried on one token.
	maxUnnamedKeys = 4
)

// key checks the signatures of JWTs. The type of the key decides which
// algorithm is used; a token whose header names another algorithm is refused.
type key struct {
	// id is the kid that a token must name. Keys without an id are tried on
	// tokens whose kid belongs to no key.
	id string
	// material is a []byte, an ed25519.PublicKey or an *rsa.PublicKey.
	material any
	// source is the beginning of the Source of each token that the key signed.
	source string
}

// method is the only signing method that the key is used with.
func (k *key) method() jwt.SigningMethod {
	switch k.material.(type) {
	case []byte:
		return jwt.SigningMethodHS256
	case ed25519.PublicKey:
		return jwt.SigningMethodEdDSA
	default:
		return jwt.SigningMethodRS256
	}
}

// bytes is the key material, different for any two keys of one type.
func (k *key) bytes() []byte {
	switch m := k.material.(type) {
	case []byte:
		return m
	case ed25519.PublicKey:
		return m
	default:
		// PKCS #1 can encode every RSA key.
		return x509.MarshalPKCS1PublicKey(m.(*rsa.PublicKey))
	}
}

// checkPublic returns an error unless the key is an RSA or Ed25519 key of an
// accepted size.
func checkPublic(public crypto.PublicKey) error {
	switch k := public.(type) {
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return fmt.Errorf("an Ed25519 key of %d bytes, %d needed", len(k), ed25519.PublicKeySize)
		}
		return nil
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("an RSA key of %d bits, %d to %d allowed; make another", bits, minRSA, maxRSA)
		}
		if k.E < 3 || k.E&1 == 0 {
			return errors.New("an RSA key with an exponent that is even or below 3; make another")
		}
		return nil
	default:
		return errors.New("a key that is neither RSA nor Ed25519; make one of these")
	}
}

// keySet holds the keys of all files.
type keySet struct {
	// named holds the keys with an id by their id: at most one for each
	// algorithm.
	named   map[string][]*key
	unnamed []*key
}

// candidates returns the keys that may have signed a token with this kid.
// hasID is false for a token without a kid.
func (s *keySet) candidates(id string, hasID bool) []*key {
	if hasID {
		if keys, known := s.named[id]; known {
			return keys
		}
	}
	return s.unnamed
}
