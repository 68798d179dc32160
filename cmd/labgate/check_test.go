package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/option"
	"github.com/labgate/labgate/internal/redistest"
)

// TestCheckConfigTries: --check-config finds faults that the options alone do
// not show.
func TestCheckConfigTries(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := taken.Addr().String()
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"port in use", []string{"--listen", used}, []string{"--listen: ", used, "address already in use", "LABGATE_LISTEN"}},
		{"admin port in use", []string{"--admin-listen", used}, []string{"--admin-listen: ", used, "address already in use"}},
		{"several listeners", []string{"--listen", used, "--listeners", "4"}, []string{"--listen: ", "address already in use"}},
		{"port 99999", []string{"--listen", "127.0.0.1:99999"}, []string{"--listen", `"99999" is not a port; use 0 to 65535`}},
		{"list of addresses", []string{"--listen", "127.0.0.1:0,127.0.0.2:0"}, []string{"--listen", "is a list; use one address"}},
		{"another machine's address", []string{"--listen", "192.0.2.1:0", "--insecure"}, []string{"--listen: ", "192.0.2.1", "no such address"}},
		{"unreachable Redis", []string{"--redis", "redis://127.0.0.1:1", "--redis-timeout", "50ms"}, []string{"--redis: Redis cannot be used: ", "127.0.0.1:1"}},
		{"Redis behind a socket that is not there", []string{"--redis", "unix:///no/such/socket"}, []string{"--redis: Redis cannot be used: ", "/no/such/socket"}},
	} {
		code, out, stderr := checkConfig(t, c.args...)
		if code != exitFailed || out != "" {
			t.Errorf("%s: exit code %d, %s", c.name, code, out)
		}
		for _, says := range c.says {
			if !strings.Contains(stderr, says) {
				t.Errorf("%s: %q, want %q in it", c.name, stderr, says)
			}
		}
	}
}

// TestCheckConfigOneAddressForBoth: the same address for both listeners is an
// error.
func TestCheckConfigOneAddressForBoth(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	if code, _, stderr := checkConfig(t, "--listen", address, "--admin-listen", address); code != exitFailed || !strings.Contains(stderr, "--admin-listen: ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// TestCheckConfigDirectoryThatIsNotThere, for every option of serve that takes a
// file.
func TestCheckConfigDirectoryThatIsNotThere(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "none", "file")
	seen := 0
	for _, o := range option.Of(&ServeCmd{}) {
		if !o.Path {
			continue
		}
		seen++
		args := []string{o.Flag(), absent}
		switch {
		case o.Name == "tls-cert" || o.Name == "tls-key":
			args = []string{"--tls-cert", absent, "--tls-key", absent}
		case o.Name == "redis-cert" || o.Name == "redis-key":
			args = []string{"--redis", "rediss://127.0.0.1:1", "--redis-cert", absent, "--redis-key", absent}
		case strings.HasPrefix(o.Name, "redis"):
			args = append(args, "--redis", "rediss://127.0.0.1:1")
		case o.Name == "client-ca":
			cert, key := selfSigned(t)
			args = append(args, "--tls-cert", cert, "--tls-key", key)
		}
		code, _, stderr := checkConfig(t, args...)
		if code != exitFailed || !strings.Contains(stderr, absent) || !strings.Contains(stderr, "no such file or directory") {
			t.Errorf("%s: exit code %d, %q", o.Flag(), code, stderr)
		}
	}
	if seen < 11 {
		t.Errorf("%d options take files, at least 11 expected", seen)
	}
}

// TestCheckConfigReachesRedis: a wrong password and missing rights are errors.
func TestCheckConfigReachesRedis(t *testing.T) {
	redis := redistest.Start(t, redistest.WithUser("lab", "sesame-1", "+@all", "~*", "&*"))
	if code, out, stderr := checkConfig(t, "--redis", redis.URL()); code != 0 || out != "configuration is good\n" {
		t.Errorf("exit code %d, %s%s", code, out, stderr)
	}
	silent := redistest.Start(t, redistest.WithUser("lab", "sesame-1", "+@all", "-publish", "~*", "&*"))
	if code, _, stderr := checkConfig(t, "--redis", silent.URL()); code != exitFailed || !strings.Contains(stderr, "publish") || strings.Contains(stderr, "sesame") {
		t.Errorf("a user that may not publish: exit code %d, %q", code, stderr)
	}
	code, _, stderr := checkConfig(t, "--redis", strings.Replace(redis.URL(), "sesame-1", "sesame-2", 1))
	if code != exitFailed || !strings.Contains(stderr, "--redis: ") || !strings.Contains(stderr, "WRONGPASS") || strings.Contains(stderr, "sesame") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// selfSigned makes a certificate and its key.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}
