package access

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

const (
	maxKeyFile = 256 << 10
	// minSecret is the least that RFC 7518 section 3.2 allows for HS256.
	minSecret = 32
	maxSecret = 4096
	// minRSA follows RFC 7518 section 3.3; maxRSA bounds what one check costs.
	minRSA = 2048
	maxRSA = 8192
	// maxKeys bounds the keys of a file with ids, maxUnnamedKeys those without:
	// each of these may be tried on a token.
	maxKeys        = 64
	maxUnnamedKeys = 4
)

// key verifies the signatures of JWTs. Its type decides the algorithm; the
// token's header only has to agree.
type key struct {
	// id is the kid that a token has to name. Empty for keys from a PEM or a
	// secret file, which are tried on tokens that name none of the other keys.
	id string
	// material is a []byte, an ed25519.PublicKey or an *rsa.PublicKey.
	material any
	// source is the group of the Sources of the tokens that it signed.
	source string
}

// method is the only one that the key is used with.
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

// bytes tells the key from others of its type.
func (k *key) bytes() []byte {
	switch m := k.material.(type) {
	case []byte:
		return m
	case ed25519.PublicKey:
		return m
	default:
		// PKCS #1 writes any RSA key.
		return x509.MarshalPKCS1PublicKey(m.(*rsa.PublicKey))
	}
}

// checkPublic accepts the public keys that are bound to an algorithm.
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

// parsePEMKeys reads public keys, or the certificates that hold them, from a
// PEM file.
func parsePEMKeys(data []byte) ([]key, error) {
	var all []key
	// pem.Decode passes over what it cannot read. A key that is lost that way
	// would end sessions; so each beginning has to become a block.
	begun := bytes.Count(data, []byte("-----BEGIN "))
	n := 0
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		n++
		public, err := parsePublic(block)
		if err == nil {
			err = checkPublic(public)
		}
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", n, err)
		}
		all = append(all, key{material: public})
	}
	if n != begun {
		return nil, fmt.Errorf("%d PEM blocks begin, %d can be read; copy the file again", begun, n)
	}
	if n == 0 && len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("holds no PEM block; write a public key with: openssl pkey -in private.pem -pubout")
	}
	if n > maxUnnamedKeys {
		return nil, fmt.Errorf("%d keys, at most %d allowed; use a JWKS file, where tokens name their key", n, maxUnnamedKeys)
	}
	return all, nil
}

func parsePublic(block *pem.Block) (public crypto.PublicKey, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY":
		return nil, errors.New("a private key; the gateway only needs the public one, write it with: openssl pkey -in private.pem -pubout")
	default:
		return nil, errors.New("neither a PUBLIC KEY, an RSA PUBLIC KEY nor a CERTIFICATE; write a public key with: openssl pkey -in private.pem -pubout")
	}
	if err != nil {
		return nil, errors.New("cannot be read; write it anew with: openssl pkey -in private.pem -pubout")
	}
	return public, nil
}

// parseSecret reads a file that is an HS256 secret, byte for byte but for one
// line break at its end.
func parseSecret(data []byte) ([]key, error) {
	// A public key taken for a secret would let everybody sign who knows it.
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		return nil, errors.New("is a PEM file, not a secret; give it as --jwt-key-file")
	}
	secret, cut := bytes.CutSuffix(data, []byte("\r\n"))
	if !cut {
		secret = bytes.TrimSuffix(data, []byte("\n"))
	}
	if len(secret) == 0 {
		return nil, nil
	}
	if len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("a secret of %d bytes, %d to %d allowed; make one with: openssl rand -hex 32", len(secret), minSecret, maxSecret)
	}
	return []key{{material: bytes.Clone(secret)}}, nil
}

// keySet finds the keys that a token may be checked with.
type keySet struct {
	named   map[string]*key
	unnamed []*key
}

// candidates returns the keys for a token's kid; hasID says whether it names
// one at all.
func (s *keySet) candidates(id string, hasID bool) []*key {
	if hasID {
		if k, known := s.named[id]; known {
			return []*key{k}
		}
	}
	return s.unnamed
}
