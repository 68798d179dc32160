package eventloop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// certificateFiles writes a certificate for 127.0.0.1 and its key, and returns
// their files and a pool that trusts it.
func certificateFiles(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile, pool = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return certFile, keyFile, pool
}

// TestTicketKeysRotate: a ticket is good the day after, and not for ever.
func TestTicketKeysRotate(t *testing.T) {
	cert, key, pool := certificateFiles(t)
	l, err := New(Options{TLSOptions: TLSOptions{TLSCert: cert, TLSKey: key}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l.stdTLS.Time = func() time.Time { return now }
	conf := &stdtls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	conf.ClientSessionCache = stdtls.NewLRUClientSessionCache(8)
	resumed := func() bool {
		t.Helper()
		b, a := tcpPair(t)
		server := stdtls.Server(a, l.stdTLS)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = server.Write([]byte("x"))
		}()
		client := stdtls.Client(b, conf)
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		<-done
		a.Close()
		return client.ConnectionState().DidResume
	}
	if resumed() {
		t.Error("the first connection is resumed")
	}
	now = now.Add(25 * time.Hour)
	if !resumed() {
		t.Error("a ticket of yesterday is not good")
	}
	now = now.Add(9 * 24 * time.Hour)
	if resumed() {
		t.Error("a ticket of last week is good")
	}
}

// TestCertificateReload: the files are read at once, whatever their stamps, and
// the caller learns whether they can be used.
func TestCertificateReload(t *testing.T) {
	certFile, keyFile, _ := certificateFiles(t)
	c, err := loadCertificate(&Options{TLSOptions: TLSOptions{TLSCert: certFile, TLSKey: keyFile}}, new(Counters), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	// replace puts another pair in the place of the files.
	replace := func(prefix string) *x509.Certificate {
		t.Helper()
		cert, key, _ := certificateFiles(t)
		for from, to := range map[string]string{cert: certFile, key: keyFile} {
			data, err := os.ReadFile(from)
			if err == nil {
				err = os.WriteFile(to, append([]byte(prefix), data...), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		other, err := loadCertificate(&Options{TLSOptions: TLSOptions{TLSCert: cert, TLSKey: key}}, new(Counters), zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		return other.leaf.Load()
	}
	expect := func(step string, want *x509.Certificate, failed bool) {
		t.Helper()
		err := c.reload()
		if !c.leaf.Load().Equal(want) || (err != nil) != failed {
			t.Errorf("%s: another certificate is in force, or %v", step, err)
		}
		c.poll()
		if n := c.counters.CertificateReloads.Load() + c.counters.CertificateReloadFailures.Load(); n != 1 {
			t.Errorf("%s: read %d times", step, n)
		}
		c.counters = new(Counters)
	}
	expect("unchanged", c.leaf.Load(), false)
	second := replace("")
	expect("changed", second, false)
	if err := os.WriteFile(certFile, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("broken", second, true)
	expect("broken still", second, true)
	expect("with byte-order marks", replace("\uFEFF"), false)
	if err := os.WriteFile(certFile, []byte("\xff\xfe-\x00-\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.reload(); err == nil || !strings.Contains(err.Error(), certFile+": is text in UTF-16") {
		t.Errorf("%v", err)
	}
}
