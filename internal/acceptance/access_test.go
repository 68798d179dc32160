package acceptance

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// token makes a token with the shipped command, and returns the token and its
// line.
func token(t *testing.T, args ...string) (token, line string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "line")
	out, err := exec.Command(gatewaytest.Labgate(t), append([]string{"token", "--append", file}, args...)...).Output()
	if err != nil {
		t.Fatalf("labgate token: %v", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), strings.TrimSpace(string(data))
}

// replace replaces a file atomically.
func replace(t *testing.T, file string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

const jwtSecret = "an-hs256-secret-for-the-acceptance-tests"

// jwtFor returns a JWT that expires after d.
func jwtFor(role, subject string, d time.Duration) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q,"role":%q,"exp":%.3f}`, subject, role, float64(time.Now().Add(d).UnixMilli())/1000))
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// eachTransport runs a test with a plain gateway and with both modes of TLS.
func eachTransport(t *testing.T, f func(t *testing.T, start func(args ...string) (*gatewaytest.Gateway, client.Config))) {
	for _, mode := range []string{"plain", "blocking", "nonblocking"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f(t, func(args ...string) (*gatewaytest.Gateway, client.Config) {
				if mode == "plain" {
					g := gatewaytest.StartGateway(t, args...)
					return g, client.Config{URL: "ws://" + g.Addr}
				}
				ca := newAuthority(t)
				g := gatewaytest.StartGateway(t, append(append(args, ca.serve()...), "--tls-mode", mode)...)
				return g, client.Config{URL: "wss://" + g.Addr, TLS: &tls.Config{RootCAs: ca.pool}}
			})
		})
	}
}

func dialDevice(t *testing.T, cfg client.Config, id string) (*client.Device, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	d, err := client.DialDevice(ctx, cfg, client.DeviceConfig{ID: id})
	if err == nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

// refused checks that a handshake is refused with 401.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if r, ok := errors.AsType[*client.RefusedError](err); !ok || r.Status != http.StatusUnauthorized {
		t.Errorf("%s: %v, want to be refused with 401", what, err)
	}
}

// awaitUnauthorized waits until a device was closed with 4001.
func awaitUnauthorized(t *testing.T, d *client.Device) {
	t.Helper()
	select {
	case <-d.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the session goes on")
	}
	if closed, ok := errors.AsType[*client.DisconnectError](d.Err()); !ok || closed.Code != protocol.CloseUnauthorized {
		t.Errorf("ended with %v, want 4001", d.Err())
	}
}

// A revoked token ends its own session and no other. No token appears in the
// log or the metrics.
func TestTokenIsRevoked(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, start func(args ...string) (*gatewaytest.Gateway, client.Config)) {
		file := filepath.Join(t.TempDir(), "tokens")
		lost, lostLine := token(t, "--role", "device", "--name", "press-1", "--label", "lost")
		kept, keptLine := token(t, "--role", "device", "--name", "press-2")
		replace(t, file, lostLine, keptLine)
		g, cfg := start("--device-token-file", file)

		_, err := dialDevice(t, cfg, "press-1")
		refused(t, "without a token", err)
		cfg.Token = lost
		_, err = dialDevice(t, cfg, "press-2")
		refused(t, "with another's token", err)
		one, err := dialDevice(t, cfg, "press-1")
		if err != nil {
			t.Fatal(err)
		}
		other := cfg
		other.Token = kept
		two, err := dialDevice(t, other, "press-2")
		if err != nil {
			t.Fatal(err)
		}

		replace(t, file, keptLine)
		at := time.Now()
		awaitUnauthorized(t, one)
		// The promise is one second; a busy machine may need two.
		if after := time.Since(at); after > 2*time.Second {
			t.Errorf("ended %v after its token was revoked", after)
		} else {
			t.Logf("ended %v after its token was revoked", after)
		}
		_, err = dialDevice(t, cfg, "press-1")
		refused(t, "with a revoked token", err)
		if n := two.Stats().Connects; n != 1 || two.Err() != nil {
			t.Errorf("the other device: %d connections, %v", n, two.Err())
		}
		metrics := g.Metrics()
		g.Stderr.Await(t, "token:lost#")
		for _, secret := range []string{lost, kept} {
			if strings.Contains(metrics+g.Stderr.Tail(1<<20)+g.Stdout.Tail(1<<20), secret) {
				t.Error("a token is in what the gateway says")
			}
		}
	})
}

// A device that renews its JWT keeps its connection. A device that does not is
// closed with 4001 when the JWT expires.
func TestJWTExpires(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, start func(args ...string) (*gatewaytest.Gateway, client.Config)) {
		secret := filepath.Join(t.TempDir(), "secret")
		replace(t, secret, jwtSecret)
		_, cfg := start("--jwt-secret-file", secret)
		const life = 2 * time.Second

		cfg.Token = jwtFor("device", "lazy", life)
		lazy, err := dialDevice(t, cfg, "lazy")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Token = ""
		cfg.TokenSource = func(context.Context) (string, error) { return jwtFor("device", "diligent", life), nil }
		diligent, err := dialDevice(t, cfg, "diligent")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		awaitUnauthorized(t, lazy)
		// Twice the lifetime of a JWT.
		time.Sleep(time.Until(begun.Add(3 * life)))
		if n := diligent.Stats().Connects; n != 1 || diligent.Err() != nil {
			t.Errorf("who renews has %d connections, %v", n, diligent.Err())
		}
		cfg.TokenSource, cfg.Token = nil, jwtFor("frontend", "diligent", life)
		_, err = dialDevice(t, cfg, "diligent")
		refused(t, "with a front end's JWT", err)
	})
}

// labgate simulate reads its token file again when the token is about to
// expire.
func TestTokenFileOfTheSimulator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "secret"), filepath.Join(dir, "token")
	replace(t, secret, jwtSecret)
	g := gatewaytest.StartGateway(t, "--jwt-secret-file", secret)
	replace(t, file, jwtFor("device", "tensile-1", 4*time.Second))
	sim := gatewaytest.Start(t, gatewaytest.Labgate(t), "simulate", "--url", "ws://"+g.Addr, "--token-file", file)
	sim.Stderr.Await(t, `"connected"`)
	replace(t, file, jwtFor("device", "tensile-1", time.Hour))
	sim.Stderr.Await(t, "token renewed")
}

// A device can connect with the certificate that names it, and with no other.
func TestDeviceCertificate(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	frontends := filepath.Join(t.TempDir(), "frontends")
	_, line := token(t, "--role", "frontend")
	replace(t, frontends, line)
	g := gatewaytest.StartGateway(t, append(ca.serve(), "--client-ca", ca.file, "--frontend-token-file", frontends)...)
	cfg := func(certs ...tls.Certificate) client.Config {
		return client.Config{URL: "wss://" + g.Addr, TLS: &tls.Config{RootCAs: ca.pool, Certificates: certs}}
	}
	press := ca.issue("press-1")
	if _, err := dialDevice(t, cfg(press), "press-1"); err != nil {
		t.Errorf("with its own certificate: %v", err)
	}
	_, err := dialDevice(t, cfg(press), "press-2")
	refused(t, "with another's certificate", err)
	_, err = dialDevice(t, cfg(), "press-1")
	refused(t, "without a certificate", err)
	_, err = dialDevice(t, cfg(stranger.issue("press-1")), "press-1")
	refused(t, "with another authority's certificate", err)
	_, err = client.DialFrontend(t.Context(), cfg(press), client.FrontendConfig{})
	refused(t, "a front end with a device's certificate", err)
}

// On an address beyond loopback the gateway does not start without credentials
// or --insecure, nor with an admin listener without --admin-token-file.
func TestRefusesToBeOpen(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"--admin-listen", "0.0.0.0:0", "--insecure"}} {
		p := gatewaytest.Start(t, append([]string{gatewaytest.Labgate(t), "serve"}, args...)...)
		if code := p.Wait(10 * time.Second); code == 0 {
			t.Errorf("%v: started", args)
		}
		want := "--insecure"
		if args[0] == "--admin-listen" {
			want = "--admin-token-file"
		}
		p.Stderr.Await(t, want)
	}
}
