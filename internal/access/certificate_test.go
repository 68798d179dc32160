package access

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"
)

// certificate makes one and reads it back, as TLS does.
func certificate(t testing.TB, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(0xbeef), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, theEd25519().Public(), theEd25519())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func commonName(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

func uri(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestFromCertificate(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*x509.Certificate)
		want string // the device
		says string // or the error
	}{
		"common name": {commonName("tensile-1"), "tensile-1", ""},
		"common name and others": {func(c *x509.Certificate) {
			c.Subject.CommonName, c.DNSNames = "tensile-1", []string{"a.example", "b.example"}
		}, "tensile-1", ""},
		"DNS name": {func(c *x509.Certificate) { c.DNSNames = []string{"tensile-1.lab.example"} }, "tensile-1.lab.example", ""},
		"URI":      {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, "urn:labgate:device:hall:tensile-1")} }, "hall:tensile-1", ""},
		"mail besides": {func(c *x509.Certificate) {
			c.DNSNames, c.EmailAddresses = []string{"tensile-1"}, []string{"a@b.example"}
		}, "tensile-1", ""},

		"nothing":        {func(*x509.Certificate) {}, "", "no common name and 0"},
		"two DNS names":  {func(c *x509.Certificate) { c.DNSNames = []string{"a", "b"} }, "", "and 2 DNS and URI names"},
		"DNS and URI":    {func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{"a"}, []*url.URL{uri(t, URIPrefix+"a")} }, "", "and 2"},
		"wildcard":       {func(c *x509.Certificate) { c.DNSNames = []string{"*.lab.example"} }, "", "not a device id"},
		"other URI":      {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, "spiffe://lab/tensile-1")} }, "", "the certificate's URI"},
		"URI with path":  {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, URIPrefix+"a/b")} }, "", "not a device id"},
		"URI with query": {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, URIPrefix+"a?b")} }, "", "not a device id"},
		"URI without id": {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, URIPrefix)} }, "", "not a device id"},
		"space":          {commonName("Tensile 1"), "", "not a device id"},
		"no fall back":   {func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "Tensile 1", []string{"tensile-1"} }, "", "not a device id"},
		"zero byte":      {commonName("tensile-1\x00.evil"), "", "not a device id"},
		"at":             {commonName("@frontends"), "", "not a device id"},
		"long":           {commonName(strings.Repeat("x", 129)), "", "not a device id"},
		"line break":     {commonName("tensile-1\n"), "", "not a device id"},
		"several common names": {func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: "a"}, {Type: oidCommonName, Value: "b"}}
		}, "", "several common names"},
		"empty common name": {func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: ""}}
			c.DNSNames = []string{"a"}
		}, "", "not a device id"},
		"organisation": {func(c *x509.Certificate) {
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "tensile-1"}}
		}, "", "no common name"},
	} {
		t.Run(name, func(t *testing.T) {
			cert := certificate(t, c.edit)
			id, err := FromCertificate(cert)
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %q in it", err, c.says)
				}
				return
			}
			if err != nil || id.Name != c.want || id.Role != RoleDevice || id.Source != "cert:beef" || !id.Expires.Equal(cert.NotAfter) || id.Observe || id.Command {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}
