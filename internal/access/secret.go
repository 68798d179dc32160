package access

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/labgate/labgate/internal/textfile"
)

// parseSecret reads a file with one secret for HS256. The secret of a text file
// is its only line, without the line break at its end; the secret of a binary
// file is the whole file. A file is refused if its secret would differ from the
// issuer's by bytes that an editor or a shell has added.
func parseSecret(data []byte) ([]key, error) {
	switch {
	case bytes.HasPrefix(data, []byte(textfile.Mark)):
		return nil, errors.New("begins with a byte-order mark, which would be part of the secret; save the file as UTF-8 without one")
	case textfile.IsWide(data):
		return nil, textfile.ErrWide
	}
	secret := data
	if isText(data) {
		var err error
		if secret, err = secretLine(data); err != nil {
			return nil, err
		}
	} else if bytes.HasSuffix(data, []byte("\n")) {
		return nil, errors.New("is binary and ends with a line break, which may or may not be part of the secret; make a secret with: openssl rand -hex 32")
	}
	if len(secret) == 0 {
		return nil, nil
	}
	if len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("a secret of %d bytes, %d to %d allowed; make one with: openssl rand -hex 32", len(secret), minSecret, maxSecret)
	}
	if err := refusePublic(secret); err != nil {
		return nil, err
	}
	return []key{{material: bytes.Clone(secret)}}, nil
}

// secretLine returns the only line of a text file. It is empty if the file
// holds nothing but white space.
func secretLine(data []byte) ([]byte, error) {
	secret, cut := bytes.CutSuffix(data, []byte("\r\n"))
	if !cut {
		secret = bytes.TrimSuffix(data, []byte("\n"))
	}
	trimmed := bytes.TrimSpace(secret)
	switch {
	case len(trimmed) == 0:
		return nil, nil
	case bytes.Contains(trimmed, []byte(pemBegin)):
		return nil, errPEMSecret
	case len(trimmed) != len(secret):
		return nil, errors.New("the secret begins or ends with white space or has an empty line behind it; remove what is not part of the secret")
	case bytes.ContainsAny(secret, "\r\n"):
		return nil, errors.New("the secret has more than one line; give a file with the secret alone, on one line")
	}
	return secret, nil
}

// isText reports whether data is UTF-8 without control characters.
func isText(data []byte) bool {
	return utf8.Valid(data) && !bytes.ContainsFunc(data, func(c rune) bool {
		return unicode.IsControl(c) && c != '\t' && c != '\r' && c != '\n'
	})
}

var errPEMSecret = errors.New("is a PEM file, not a secret; give it as --jwt-key-file")

// refusePublic returns an error if the secret is published data, such as a public
// key: everybody who knows it could sign tokens.
func refusePublic(secret []byte) error {
	if bytes.Contains(secret, []byte(pemBegin)) {
		return errPEMSecret
	}
	if bytes.HasPrefix(secret, []byte("ssh-")) || bytes.HasPrefix(secret, []byte("ecdsa-sha2-")) {
		return errors.New("is a public key of SSH, not a secret; make a secret with: openssl rand -hex 32")
	}
	var set struct {
		Keys json.RawMessage `json:"keys"`
		Type json.RawMessage `json:"kty"`
	}
	if json.Unmarshal(secret, &set) == nil && (set.Keys != nil || set.Type != nil) {
		return errors.New("is a JWK or a JWKS, not a secret; give a JWKS as --jwks-file")
	}
	_, errCertificate := x509.ParseCertificate(secret)
	_, errPKIX := x509.ParsePKIXPublicKey(secret)
	_, errPKCS1 := x509.ParsePKCS1PublicKey(secret)
	if errCertificate == nil || errPKIX == nil || errPKCS1 == nil {
		return errors.New("is a public key or a certificate in DER, not a secret; give it in PEM as --jwt-key-file")
	}
	return nil
}
