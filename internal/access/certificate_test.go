package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates of devices.
type authority struct {
	cert *x509.Certificate
	key  ed25519.PrivateKey
}

// theAuthority is trusted by the tests' gateways, otherAuthority is not.
var (
	theAuthority   = sync.OnceValue(newAuthority)
	otherAuthority = sync.OnceValue(newAuthority)
)

func newAuthority() *authority {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	a := &authority{key: key}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the authority"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = a.sign(a.cert, key.Public())
	return a
}

// sign makes a certificate and reads it back, as TLS does.
func (a *authority) sign(template *x509.Certificate, public any) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

// issue returns a client's certificate.
func (a *authority) issue(edit func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xbeef), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	edit(template)
	return a.sign(template, edPublic())
}

func certificate(edit func(*x509.Certificate)) *x509.Certificate { return theAuthority().issue(edit) }

func pemOf(certificates ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range certificates {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.String()
}

func authorityPEM() string { return pemOf(theAuthority().cert) }

// chainOf returns what a peer with this certificate presents; nil: without one.
func chainOf(cert *x509.Certificate) []*x509.Certificate {
	if cert == nil {
		return nil
	}
	return []*x509.Certificate{cert}
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

func TestDeviceOf(t *testing.T) {
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
		"DNS and URI":    {func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{"a"}, []*url.URL{uri(t, uriPrefix+"a")} }, "", "and 2"},
		"wildcard":       {func(c *x509.Certificate) { c.DNSNames = []string{"*.lab.example"} }, "", "not a device id"},
		"other URI":      {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, "spiffe://lab/tensile-1")} }, "", "the certificate's URI"},
		"URI with path":  {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, uriPrefix+"a/b")} }, "", "not a device id"},
		"URI with query": {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, uriPrefix+"a?b")} }, "", "not a device id"},
		"URI without id": {func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, uriPrefix)} }, "", "not a device id"},
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
			cert := certificate(c.edit)
			id, err := deviceOf(cert)
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

// TestCertificateIsVerified: TLS only checks that the peer has the private key.
// The Authenticator checks who issued the certificate, for what, and until when.
func TestCertificateIsVerified(t *testing.T) {
	a, _ := mustFromFiles(t, Config{}, map[string]string{"client-ca": "\uFEFF" + authorityPEM(), "device-token-file": tokenA})
	between := func(from *authority) *authority {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := *theAuthority().cert
		template.Subject.CommonName, template.RawSubject = "in between", nil
		return &authority{cert: from.sign(&template, key.Public()), key: key}
	}
	device := commonName("press-1")
	good, intermediate, stranger := certificate(device), between(theAuthority()), between(otherAuthority())
	far := make([]*x509.Certificate, maxChain)
	for i := range far {
		far[i] = intermediate.cert
	}
	for name, c := range map[string]struct {
		chain []*x509.Certificate
		token string
		want  Reason
		says  string
	}{
		"good":                        {[]*x509.Certificate{good}, "", "", ""},
		"with the authority":          {[]*x509.Certificate{good, theAuthority().cert}, "", "", ""},
		"through another":             {[]*x509.Certificate{intermediate.issue(device), intermediate.cert}, "", "", ""},
		"without the one between":     {[]*x509.Certificate{intermediate.issue(device)}, "", Wrong, "--client-ca"},
		"unknown authority":           {[]*x509.Certificate{otherAuthority().issue(device)}, "", Wrong, "--client-ca"},
		"brings its authority":        {[]*x509.Certificate{otherAuthority().issue(device), otherAuthority().cert}, "", Wrong, "--client-ca"},
		"brings two":                  {[]*x509.Certificate{stranger.issue(device), stranger.cert, otherAuthority().cert}, "", Wrong, "--client-ca"},
		"good one second":             {[]*x509.Certificate{otherAuthority().issue(device), good}, "", Wrong, "--client-ca"},
		"for servers":                 {[]*x509.Certificate{certificate(func(c *x509.Certificate) { device(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })}, "", Wrong, "clientAuth"},
		"long chain":                  {append([]*x509.Certificate{good}, far...), "", Wrong, "comes with 8 more, at most 7"},
		"token and unknown authority": {[]*x509.Certificate{otherAuthority().issue(device)}, tokenA, "", ""},
		"token and long chain":        {append([]*x509.Certificate{good}, far...), tokenA, "", ""},
		"wrong token and good one":    {[]*x509.Certificate{good}, tokenB, Wrong, "token is not valid"},
		"unknown and expired": {[]*x509.Certificate{otherAuthority().issue(func(c *x509.Certificate) {
			device(c)
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		})}, "", Wrong, "--client-ca"},
	} {
		id, err := a.Authenticate(RoleDevice, "press-1", c.token, c.chain)
		if reason(t, err) != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %+v, %v; want %q: %q", name, id, err, c.want, c.says)
		}
		if err == nil && (strings.HasPrefix(id.Source, "cert:") != (c.token == "")) {
			t.Errorf("%s: %+v", name, id)
		}
		var r *Refusal
		if errors.As(err, &r) && r.Source != "" {
			t.Errorf("%s: an unverified certificate is named in the log: %q", name, r.Source)
		}
	}
}

func TestReadAuthoritiesRefuses(t *testing.T) {
	for name, c := range map[string]struct{ file, says string }{
		"empty":   {"", "holds no PEM block"},
		"text":    {testSecret, "holds no PEM block"},
		"a leaf":  {authorityPEM() + pemOf(certificate(commonName("d"))), "certificate 2 is not an authority's"},
		"a key":   {pemPublic(t, edPublic()), "PEM block 1 is not a certificate"},
		"damaged": {authorityPEM() + authorityPEM()[:80], "2 PEM blocks begin, 1 can be read"},
		"UTF-16":  {"\xff\xfe" + wide(authorityPEM(), 2, 0), "is text in UTF-16"},
		"large":   {strings.Repeat("\n", maxAuthorityFile+1), "more than 1048576 bytes"},
	} {
		_, _, err := fromFiles(t, Config{}, map[string]string{"client-ca": c.file})
		if err == nil || !strings.HasPrefix(err.Error(), "--client-ca: client-ca: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
			continue
		}
		mustHide(t, err.Error())
	}
}
