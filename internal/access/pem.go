package access

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/labgate/labgate/internal/textfile"
)

// pemBegin is the beginning of each PEM block.
const pemBegin = "-----BEGIN "

// parsePEMKeys reads a PEM file of public keys and of certificates, which
// contain a public key each.
func parsePEMKeys(data []byte) ([]key, error) {
	blocks, err := decodePEM(data)
	if err != nil {
		return nil, err
	}
	var all []key
	for i, block := range blocks {
		public, err := parsePublic(block)
		if err == nil {
			err = checkPublic(public)
		}
		if err != nil {
			return nil, fmt.Errorf("PEM block %d: %w", i+1, err)
		}
		all = append(all, key{material: public})
	}
	if len(all) == 0 && len(bytes.TrimSpace(data)) > 0 {
		return nil, errors.New("holds no PEM block; write a public key with: openssl pkey -in private.pem -pubout")
	}
	if len(all) > maxUnnamedKeys {
		return nil, fmt.Errorf("%d keys, at most %d allowed; use a JWKS file, where tokens name their key", len(all), maxUnnamedKeys)
	}
	return all, nil
}

// decodePEM returns all PEM blocks of a file. Text between the blocks is
// ignored.
func decodePEM(data []byte) ([]*pem.Block, error) {
	data, err := textfile.Decode(data)
	if err != nil {
		return nil, err
	}
	// Joining files leaves byte-order marks ahead of later blocks.
	data = bytes.ReplaceAll(data, []byte(textfile.Mark), nil)
	var blocks []*pem.Block
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, block)
	}
	// pem.Decode skips damaged blocks. A key that goes missing that way would
	// end sessions.
	if begun := bytes.Count(data, []byte(pemBegin)); begun != len(blocks) {
		return nil, fmt.Errorf("%d PEM blocks begin, %d can be read; copy the file again", begun, len(blocks))
	}
	return blocks, nil
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
		return nil, errors.New("cannot be read; write it again with: openssl pkey -in private.pem -pubout")
	}
	return public, nil
}
