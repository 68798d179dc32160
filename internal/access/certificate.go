package access

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/labgate/labgate/protocol"
)

const (
	// uriPrefix precedes the device id in a certificate's URI.
	uriPrefix = "urn:labgate:device:"
	// maxAuthorityFile bounds the file of authorities in bytes.
	maxAuthorityFile = 1 << 20
	// maxChain bounds the certificates that a peer may present, and so the
	// signatures to check for somebody without a credential.
	maxChain = 8
)

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// readAuthorities reads a PEM file of certificates of authorities. Errors name
// the file.
func readAuthorities(fs files, path string) (*x509.CertPool, error) {
	data, _, err := fs.read(path, maxAuthorityFile)
	if err != nil {
		return nil, err
	}
	blocks, err := decodePEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: holds no PEM block; give the authorities' certificates in PEM", path)
	}
	pool := x509.NewCertPool()
	for i, block := range blocks {
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("%s: PEM block %d is not a certificate that can be read; the file holds certificates of authorities only", path, i+1)
		}
		if !cert.IsCA {
			return nil, fmt.Errorf("%s: certificate %d is not an authority's; give the one that signed the devices' certificates", path, i+1)
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// identifyCertificate checks a chain of certificates, the device's first, and
// returns the device's identity.
func (a *Authenticator) identifyCertificate(chain []*x509.Certificate) (Identity, *Refusal) {
	if len(chain) > maxChain {
		return Identity{}, refuse(Wrong, "", "the client certificate comes with %d more, at most %d allowed; send only what leads to the authority", len(chain)-1, maxChain-1)
	}
	cert := chain[0]
	now := a.now()
	// A certificate is called expired only if it was good once.
	at := now
	if at.After(cert.NotAfter) {
		at = cert.NotAfter
	} else if at.Before(cert.NotBefore) {
		at = cert.NotBefore
	}
	options := x509.VerifyOptions{
		Roots: a.authorities, Intermediates: x509.NewCertPool(),
		CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := cert.Verify(options); err != nil {
		return Identity{}, refuse(Wrong, "", "the client certificate was not issued for clients (usage clientAuth) by an authority that this gateway trusts (--client-ca); use one that was, or a token")
	}
	id, err := deviceOf(cert)
	switch {
	case err != nil:
		return Identity{}, refuse(Wrong, "", "%v", err)
	case now.After(cert.NotAfter):
		return Identity{}, refuse(Expired, id.Source, "the certificate has expired; get a new one")
	case now.Before(cert.NotBefore):
		return Identity{}, refuse(NotYet, id.Source, "the certificate is not valid yet; wait, or set the clocks")
	}
	return id, nil
}

// deviceOf returns the identity of the device that a verified certificate was
// issued to.
//
// The device id is the subject's common name. Without a common name it is the
// only DNS name, or the only URI after [uriPrefix], of the subject alternative
// names. The id must be a valid name (protocol.ValidName) exactly as written: a
// certificate never speaks for a device whose id is not written in it.
//
// Expires is the end of the certificate's validity, and Source its serial
// number in hexadecimal.
func deviceOf(cert *x509.Certificate) (Identity, error) {
	name, err := certificateName(cert)
	if err != nil {
		return Identity{}, err
	}
	if !protocol.ValidName(name) {
		return Identity{}, fmt.Errorf("the certificate's name is not a device id; issue it with 1 to %d letters, digits and . _ : - that start with a letter or digit", protocol.MaxNameLen)
	}
	return Identity{Role: RoleDevice, Name: name, Source: certPrefix + cert.SerialNumber.Text(16), Expires: cert.NotAfter}, nil
}

func certificateName(cert *x509.Certificate) (string, error) {
	commonNames := 0
	for _, attribute := range cert.Subject.Names {
		if attribute.Type.Equal(oidCommonName) {
			commonNames++
		}
	}
	if commonNames > 1 {
		return "", errors.New("the certificate has several common names; issue it with one, the device id")
	}
	if commonNames == 1 || cert.Subject.CommonName != "" {
		return cert.Subject.CommonName, nil
	}
	if len(cert.DNSNames)+len(cert.URIs) != 1 {
		return "", fmt.Errorf("the certificate has no common name and %d DNS and URI names; issue it with the device id as common name", len(cert.DNSNames)+len(cert.URIs))
	}
	if len(cert.DNSNames) == 1 {
		return cert.DNSNames[0], nil
	}
	name, ok := strings.CutPrefix(cert.URIs[0].String(), uriPrefix)
	if !ok {
		return "", fmt.Errorf("the certificate's URI is not a device's; issue it with %sDEVICE_ID", uriPrefix)
	}
	return name, nil
}
