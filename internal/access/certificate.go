package access

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"

	"github.com/labgate/labgate/protocol"
)

// URIPrefix is what stands before the device id in a certificate's URI.
const URIPrefix = "urn:labgate:device:"

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// FromCertificate returns the device that a client certificate speaks for. The
// caller has verified its chain: pass the first of a chain of
// tls.ConnectionState.VerifiedChains, never just a PeerCertificate. Neither is
// the time looked at here.
//
// The device id is the subject's common name, if there is one; then other names
// do not count. Without a common name it is the only DNS or URI name of the
// subject alternative names: the DNS name as it stands, the URI after
// [URIPrefix]. In each case it must be a valid name (protocol.ValidName), as it
// stands: nothing is cut, folded or passed over for the next, so that no
// certificate speaks for a device whose id is not written in it.
//
// Expires is the end of the certificate's validity, and Source its serial
// number in hexadecimal.
func FromCertificate(cert *x509.Certificate) (Identity, error) {
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
	name, ok := strings.CutPrefix(cert.URIs[0].String(), URIPrefix)
	if !ok {
		return "", fmt.Errorf("the certificate's URI is not a device's; issue it with %sDEVICE_ID", URIPrefix)
	}
	return name, nil
}
