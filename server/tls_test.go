package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/protocol"
)

// authority signs certificates for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, a.file, pemOf("CERTIFICATE", der))
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(kind string, der []byte) string {
	return strings.TrimSuffix(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), "\n")
}

// issue returns a certificate of that name, for a device or for 127.0.0.1, that
// is good for d.
func (a *authority) issue(name string, d time.Duration) stdtls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(d), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write puts a certificate and its key in the place of others.
func (a *authority) write(cert stdtls.Certificate, certFile, keyFile string) {
	a.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	writeFile(a.t, certFile, pemOf("CERTIFICATE", cert.Certificate[0]))
	writeFile(a.t, keyFile, pemOf("PRIVATE KEY", der))
}

// dialTLS makes a TLS connection.
func (g *gateway) dialTLS(conf *stdtls.Config) (*stdtls.Conn, error) {
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", g.Addr())
	if err != nil {
		return nil, err
	}
	g.t.Cleanup(func() { conn.Close() })
	tc := stdtls.Client(conn, conf)
	_ = tc.SetDeadline(time.Now().Add(patience))
	return tc, tc.Handshake()
}

// TestTLSDefaults: 1.2 at least, 1.3 with a hybrid post-quantum key exchange,
// and tickets that spare the next handshake, at each of the listeners.
func TestTLSDefaults(t *testing.T) {
	g := start(t, mode{io: eventloop.IONonBlocking, tls: eventloop.TLSBlocking}, func(o *Options) { o.Listeners = 4 })
	conn, err := g.dialTLS(clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	if state := conn.ConnectionState(); state.Version != stdtls.VersionTLS13 || state.CurveID != stdtls.X25519MLKEM768 || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("version %x, key exchange %v, %q", state.Version, state.CurveID, state.NegotiatedProtocol)
	}
	for version, want := range map[uint16]bool{stdtls.VersionTLS10: false, stdtls.VersionTLS11: false, stdtls.VersionTLS12: true} {
		conf := clientTLS()
		conf.MinVersion, conf.MaxVersion = version, version
		if _, err := g.dialTLS(conf); (err == nil) != want {
			t.Errorf("version %x: %v", version, err)
		}
	}
	conf := clientTLS()
	conf.ClientSessionCache = stdtls.NewLRUClientSessionCache(8)
	for i := range 12 {
		conn, err := g.dialTLS(conf)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().DidResume; got != (i > 0) {
			t.Errorf("connection %d is resumed: %v", i, got)
		}
		// The ticket comes behind the handshake.
		write(t, conn, "GET /v1/devices HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// TestCertificateIsReloaded: connections stay, new ones see the new one, and a
// file that cannot be used changes nothing.
func TestCertificateIsReloaded(t *testing.T) {
	for _, m := range modes {
		if m.tls == "" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			ca := newAuthority(t)
			dir := t.TempDir()
			certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
			first, second := ca.issue("first", time.Hour), ca.issue("second", 2*time.Hour)
			ca.write(first, certFile, keyFile)
			var log logBuffer
			g := prepare(t, m, func(o *Options) {
				o.TLSCert, o.TLSKey, o.Logger, o.certificateInterval = certFile, keyFile, o.Logger.Output(&log), 20*time.Millisecond
			})
			g.anyCert = true
			g.start()
			shown := func() string {
				conn, err := g.dialTLS(&stdtls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
			}
			fe, dev := g.upgrade("/ws/frontend"), g.upgrade("/ws/device/d")
			for i, broken := range []string{"nothing", pemOf("CERTIFICATE", []byte("junk")), pemOf("CERTIFICATE", second.Certificate[0])} {
				writeFile(t, certFile, broken) // the last is not the key's
				g.eventually("the failure is counted", func() bool { return g.loop.Counters().CertificateReloadFailures.Load() == uint64(i+1) })
				if name := shown(); name != "first" {
					t.Errorf("%s is shown after a broken file", name)
				}
			}
			if err := os.Remove(certFile); err != nil {
				t.Fatal(err)
			}
			g.eventually("the failure is counted", func() bool { return g.loop.Counters().CertificateReloadFailures.Load() == 4 })
			ca.write(second, certFile, keyFile)
			g.eventually("the new certificate is shown", func() bool { return shown() == "second" })
			if got, want := g.metrics()["tls_certificate_expiry_timestamp_seconds{}"], float64(time.Now().Add(2*time.Hour).Unix()); got < want-120 || got > want {
				t.Errorf("the certificate ends at %v, want about %v", got, want)
			}
			dev.text(`{"type":"still.here"}`)
			fe.await("still.here")
			for _, want := range []string{"cannot be used; what it held before stays in force", "was read again and is in force"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log lacks %q", want)
				}
			}
		})
	}
}

// TestClientCertificate: a device gets in as the one that its certificate
// names, and goes when that ends.
func TestClientCertificate(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	token := writeFile(t, filepath.Join(t.TempDir(), "tokens"), deviceToken)
	g := start(t, mode{io: eventloop.IONonBlocking, tls: eventloop.TLSBlocking}, func(o *Options) { o.ClientCAFile, o.DeviceTokenFile = ca.file, token })
	connect := func(path, token string, certs ...stdtls.Certificate) (*peer, error) {
		conf := clientTLS()
		conf.Certificates = certs
		conn, err := g.dialTLS(conf)
		if err != nil {
			return nil, err
		}
		return g.upgradeOverAs(conn, path, token)
	}
	press := ca.issue("press-1", time.Hour)
	refused := uint64(0)
	for name, c := range map[string]struct {
		path, token string
		certs       []stdtls.Certificate
		in          bool
	}{
		"its own id":                   {"/ws/device/press-1", "", []stdtls.Certificate{press}, true},
		"another id":                   {"/ws/device/press-2", "", []stdtls.Certificate{press}, false},
		"none":                         {"/ws/device/press-1", "", nil, false},
		"a token":                      {"/ws/device/press-2", deviceToken, nil, true},
		"a token counts first":         {"/ws/device/press-3", deviceToken, []stdtls.Certificate{press}, true},
		"a token beside a foreign one": {"/ws/device/press-4", deviceToken, []stdtls.Certificate{stranger.issue("press-4", time.Hour)}, true},
		"a token beside an old one":    {"/ws/device/press-5", deviceToken, []stdtls.Certificate{ca.issue("press-5", -time.Minute)}, true},
		"a foreign one, front end":     {"/ws/frontend", "", []stdtls.Certificate{stranger.issue("ada", time.Hour)}, true},
		"a wrong token":                {"/ws/device/press-1", deviceToken + "x", []stdtls.Certificate{press}, false},
		"of another authority":         {"/ws/device/press-1", "", []stdtls.Certificate{stranger.issue("press-1", time.Hour)}, false},
		"expired":                      {"/ws/device/press-1", "", []stdtls.Certificate{ca.issue("press-1", -time.Minute)}, false},
		"a name that is no id":         {"/ws/device/press-1", "", []stdtls.Certificate{ca.issue("press 1", time.Hour)}, false},
		"front ends are not kept":      {"/ws/frontend", "", []stdtls.Certificate{press}, true},
	} {
		p, err := connect(c.path, c.token, c.certs...)
		if (err == nil) != c.in {
			t.Errorf("%s: %v, want in: %v", name, err, c.in)
		}
		if !c.in {
			refused++
		}
		if err == nil {
			p.vanish()
		}
	}
	// None was refused by TLS, without an answer.
	counted := uint64(0)
	for _, n := range g.admission.Counters().RefusedCredentials.All() {
		counted += n
	}
	if counted != refused {
		t.Errorf("%d are answered with 401, want %d", counted, refused)
	}
	g.eventually("all have gone", func() bool { return g.manager.Len() == 0 })
	p, err := connect("/ws/device/short", "", ca.issue("short", 2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	p.await(protocol.TypeTokenExpiring)
	p.expectClose(protocol.CloseUnauthorized)

	for name, c := range map[string]struct {
		file string
		mode eventloop.TLSMode
		says string
	}{
		"llib":     {ca.file, eventloop.TLSNonBlocking, "--client-ca needs --tls-mode blocking"},
		"absent":   {ca.file + ".absent", eventloop.TLSBlocking, "--client-ca: "},
		"not PEM":  {token, eventloop.TLSBlocking, "holds no PEM block"},
		"a leaf":   {writeFile(t, ca.file+".leaf", pemOf("CERTIFICATE", press.Certificate[0])), eventloop.TLSBlocking, "certificate 1 is not an authority's"},
		"a key":    {writeFile(t, ca.file+".key", pemOf("PRIVATE KEY", []byte("x"))), eventloop.TLSBlocking, "PEM block 1 is not a certificate"},
		"half one": {writeFile(t, ca.file+".half", pemOf("CERTIFICATE", ca.cert.Raw), "-----BEGIN CERTIFICATE-----"), eventloop.TLSBlocking, "2 PEM blocks begin, 1 can be read"},
	} {
		cert, key := certificate(t)
		_, err := New(Options{TLSOptions: eventloop.TLSOptions{TLSCert: cert, TLSKey: key, TLSMode: c.mode}, CredentialOptions: admission.CredentialOptions{Config: access.Config{ClientCAFile: c.file}}})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
