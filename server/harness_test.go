package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/session"
)

// patience is how long a test waits for what must come. It only ends tests
// that have failed.
const patience = 30 * time.Second

// mode is one way to serve connections.
type mode struct {
	name string
	io   eventloop.IOMode
	tls  eventloop.TLSMode // "" for plain
}

var modes = []mode{
	{name: "nonblocking", io: eventloop.IONonBlocking},
	{name: "blocking", io: eventloop.IOBlocking},
	{name: "mixed", io: eventloop.IOMixed},
	{name: "tls-blocking", io: eventloop.IONonBlocking, tls: eventloop.TLSBlocking},
	{name: "tls-nonblocking", io: eventloop.IONonBlocking, tls: eventloop.TLSNonBlocking},
}

// poller reports whether all connections share the pollers.
func (m mode) poller() bool {
	return m.io == eventloop.IONonBlocking && m.tls != eventloop.TLSBlocking
}

// eachMode runs a test in every mode; in the default mode alone with -short.
func eachMode(t *testing.T, f func(t *testing.T, m mode)) {
	modes := modes
	if testing.Short() {
		modes = modes[:1]
	}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			f(t, m)
		})
	}
}

// gateway is a Server under test.
type gateway struct {
	*Server
	t      testing.TB
	mode   mode
	client *http.Client
	// anyCert is for a gateway in another process, which has another
	// certificate.
	anyCert bool
}

// onMessage puts a function in front of what handles messages.
func (g *gateway) onMessage(handle func(next session.Callbacks, s *session.Session, op wsframe.Opcode, payload []byte) error) {
	g.wrapCallbacks = func(c session.Callbacks) session.Callbacks { return messageHook{c, handle} }
}

type messageHook struct {
	session.Callbacks
	handle func(next session.Callbacks, s *session.Session, op wsframe.Opcode, payload []byte) error
}

func (h messageHook) OnMessage(s *session.Session, op wsframe.Opcode, payload []byte) error {
	return h.handle(h.Callbacks, s, op, payload)
}

// prepare makes a server in the given mode, on free ports. It is shut down at
// the end of the test, and then nothing may be left of its connections.
func prepare(t testing.TB, m mode, tune func(*Options)) *gateway {
	t.Helper()
	o := Options{
		ListenOptions: ListenOptions{Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", Node: "test", RetryAfter: 2 * time.Second},
		LoopOptions:   eventloop.LoopOptions{IOMode: m.io, MixedThreshold: 2},
		TLSOptions:    eventloop.TLSOptions{TLSMode: m.tls},
		QueueOptions:  session.QueueOptions{FlushInterval: time.Millisecond},
	}
	if m.tls != "" {
		o.TLSCert, o.TLSKey = certificate(t)
	}
	if tune != nil {
		tune(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: clientTLS()}
	t.Cleanup(transport.CloseIdleConnections)
	return &gateway{Server: s, t: t, mode: m, client: &http.Client{Transport: transport, Timeout: patience}}
}

func start(t testing.TB, m mode, tune func(*Options)) *gateway {
	t.Helper()
	g := prepare(t, m, tune)
	g.start()
	return g
}

func (g *gateway) start() {
	g.t.Helper()
	if err := g.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		g.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = g.Shutdown(ctx)
		g.eventually("the connections gauge returns to 0", func() bool { return g.admission.Counters().Connections.Load() == 0 })
		if n := g.manager.Len(); n != 0 {
			g.t.Errorf("%d sessions are left after Shutdown", n)
		}
	})
}

// transports collects the transports that are attached from now on. Call it
// before start.
func (g *gateway) transports() *transportList {
	l := &transportList{}
	g.sawTransport = func(t session.Transport) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, t)
	}
	return l
}

type transportList struct {
	mu  sync.Mutex
	all []session.Transport
}

func (l *transportList) last() session.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[len(l.all)-1]
}

// dial opens a connection, with TLS when the mode has it.
func (g *gateway) dial() net.Conn {
	g.t.Helper()
	conn, err := g.tryDial()
	if err != nil {
		g.t.Fatal(err)
	}
	return conn
}

func (g *gateway) tryDial() (net.Conn, error) { return g.tryDialWith(&net.Dialer{Timeout: patience}) }

func (g *gateway) tryDialWith(d *net.Dialer) (net.Conn, error) {
	conn, err := d.Dial("tcp", g.Addr())
	if err != nil {
		return nil, err
	}
	g.t.Cleanup(func() { conn.Close() })
	return g.secure(conn)
}

// secure makes the handshake of TLS when the mode has it.
func (g *gateway) secure(conn net.Conn) (net.Conn, error) {
	if g.mode.tls == "" {
		return conn, nil
	}
	conf := clientTLS()
	conf.InsecureSkipVerify = g.anyCert
	tc := stdtls.Client(conn, conf)
	_ = tc.SetDeadline(time.Now().Add(patience))
	if err := tc.Handshake(); err != nil {
		return nil, err
	}
	_ = tc.SetDeadline(time.Time{})
	return tc, nil
}

func (g *gateway) url(path string) string {
	if g.mode.tls != "" {
		return "https://" + g.Addr() + path
	}
	return "http://" + g.Addr() + path
}

// call makes a request to the HTTP API and decodes the answer, if any.
func (g *gateway) call(method, path, body string) (int, map[string]any) {
	g.t.Helper()
	status, answer, err := g.tryCall(method, path, body)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	return status, answer
}

func (g *gateway) tryCall(method, path, body string) (int, map[string]any, error) {
	return g.send(method, path, "application/json", strings.NewReader(body))
}

func (g *gateway) send(method, path, contentType string, body io.Reader) (int, map[string]any, error) {
	req, err := http.NewRequest(method, g.url(path), body)
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := g.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || len(data) == 0 {
		return res.StatusCode, nil, err
	}
	var answer map[string]any
	err = json.Unmarshal(data, &answer)
	return res.StatusCode, answer, err
}

// errorOf returns code and message of an error answer.
func errorOf(answer map[string]any) (code, message string) {
	e, _ := answer["error"].(map[string]any)
	code, _ = e["code"].(string)
	message, _ = e["message"].(string)
	return code, message
}

// eventually waits until ok.
func (g *gateway) eventually(what string, ok func() bool) {
	g.t.Helper()
	gatewaytest.Eventually(g.t, what, ok)
}

// awaitRequests waits until no request is being handled any more.
func (g *gateway) awaitRequests() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.loop.AwaitRequests(ctx); err != nil {
		g.t.Fatalf("requests are still being handled: %v", err)
	}
}

var made struct {
	once      sync.Once
	cert, key []byte
	pool      *x509.CertPool
	err       error
}

// certificate writes a certificate for 127.0.0.1 and its key and returns their
// files.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	made.once.Do(makeCertificate)
	if made.err != nil {
		t.Fatal(made.err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, data := range map[string][]byte{cert: made.cert, key: made.key} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func makeCertificate() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		made.err = err
		return
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "labgate test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		made.err = err
		return
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		made.err = err
		return
	}
	made.cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	made.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	made.pool = x509.NewCertPool()
	made.pool.AppendCertsFromPEM(made.cert)
}

// clientTLS trusts the test's certificate.
func clientTLS() *stdtls.Config {
	made.once.Do(makeCertificate)
	return &stdtls.Config{RootCAs: made.pool, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}}
}
