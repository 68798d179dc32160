package cluster

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRedisURLs(t *testing.T) {
	for _, c := range []struct {
		url   string
		addrs []string
		with  func(a *redisAddress) bool
	}{
		{"redis://localhost", []string{"localhost:6379"}, func(a *redisAddress) bool { return a.tls == nil && a.network == "tcp" }},
		{"redis://10.0.0.1:7000/", []string{"10.0.0.1:7000"}, nil},
		{"redis://[::1]:7000/0", []string{"[::1]:7000"}, nil},
		{"redis://:secret@localhost", []string{"localhost:6379"}, func(a *redisAddress) bool { return a.user == "" && a.password == "secret" }},
		{"rediss://lab:s%40cret@redis.lab", []string{"redis.lab:6379"}, func(a *redisAddress) bool { return a.tls != nil && a.user == "lab" && a.password == "s@cret" }},
		{"redis://a:1?addr=b:2&addr=c:3", []string{"a:1", "b:2", "c:3"}, nil},
		{"redis://a?addr=b:2&master_set=lab", []string{"a:26379", "b:2"}, func(a *redisAddress) bool { return a.masterSet == "lab" }},
		{"redis://a?master_set=lab&sentinel_user=u&sentinel_password=p", []string{"a:26379"}, func(a *redisAddress) bool { return a.sentinelUser == "u" && a.sentinelPassword == "p" }},
		{"unix:///run/redis.sock", []string{"/run/redis.sock"}, func(a *redisAddress) bool { return a.network == "unix" }},
		{"unix://lab:secret@/run/redis.sock", []string{"/run/redis.sock"}, func(a *redisAddress) bool { return a.password == "secret" }},
	} {
		a, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
		} else if !slices.Equal(a.addrs, c.addrs) || c.with != nil && !c.with(a) {
			t.Errorf("%s: %+v", c.url, a)
		}
	}
}

func TestMalformedRedisURLsAreRefusedWithoutThePassword(t *testing.T) {
	for url, want := range map[string]string{
		"":                                       "write redis://host:port",
		"localhost:6379":                         "scheme",
		"http://localhost":                       "scheme",
		"redis:localhost":                        "scheme://host:port",
		"redis://":                               "host is missing",
		"redis://u:hunter2@":                     "host is missing",
		"redis://u:hunter2@localhost:99999":      "port",
		"redis://u:hunter2@localhost:0":          "port",
		"redis://u:hun/ter2@localhost":           "percent-encoded",
		"redis://u:hun#ter2@localhost":           "percent-encoded",
		"redis://u:hun%zzter2@localhost":         "percent-encoded",
		"redis://u:hunter2@a?addr=b:2&addr=":     "host is missing",
		"redis://u:hunter2@localhost/3":          "database",
		"redis://u:hunter2@localhost?db=3":       "database",
		"redis://u:hunter2@localhost?dbb=3":      `unknown parameter "dbb"`,
		"redis://u:hunter2@a?db=0&db=0":          "twice",
		"redis://u:hunter2@a?master_set=":        "master_set is empty",
		"redis://u:hunter2@a?sentinel_user=x":    "master_set",
		"redis://u:hunter2@a?%zz":                "behind the ?",
		"unix://u:hunter2@host/run/redis.sock":   "path of a socket",
		"unix:///run/redis.sock?addr=b:1":        "one Redis",
		"unix://":                                "path of a socket",
		"redis://u:hunter2@localhost\x7f":        "not a URL",
		"redis://u:hunter2@local host":           "not a URL",
		"redis://u:hunter2@a,b":                  "",
		"rediss://u:hunter2@localhost/some/path": "database",
	} {
		_, err := parseURL(url)
		if want == "" {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) && !(want == "behind the ?" && strings.Contains(err.Error(), "follows the ?")) {
			t.Errorf("%q: %v, want %q", url, err, want)
		} else if strings.Contains(err.Error(), "hun") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%q: the error shows the password: %v", url, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, secret, wide := write("empty", "\n"), write("secret", "hunter2\n"), write("utf16", "\xff\xfeh\x00u\x00n\x00")
	for want, change := range map[string]func(*Options){
		"node name":                      func(o *Options) { o.Name = "" },
		"node name ":                     func(o *Options) { o.Name = "two words" },
		"key prefix":                     func(o *Options) { o.Prefix = "two words" },
		"at most 64 visible":             func(o *Options) { o.Prefix = strings.Repeat("x", 65) },
		"--redis-ttl 1ms":                func(o *Options) { o.TTL = time.Millisecond },
		"use 1s to 10m":                  func(o *Options) { o.TTL = time.Hour },
		"half of --redis-ttl, 5s":        func(o *Options) { o.Timeout = 6 * time.Second },
		"--redis-timeout 1ms":            func(o *Options) { o.Timeout = time.Millisecond },
		"telemetry interval":             func(o *Options) { o.TelemetryInterval = time.Minute },
		"scheme":                         func(o *Options) { o.URL = "amqp://x" },
		"write rediss":                   func(o *Options) { o.CAFile = secret },
		"no certificate in PEM":          func(o *Options) { o.URL, o.CAFile = "rediss://x", secret },
		"certificate authority of Redis": func(o *Options) { o.URL, o.CAFile = "rediss://x", filepath.Join(dir, "none") },
		"both the certificate's":         func(o *Options) { o.URL, o.CertFile = "rediss://x", secret },
		"certificate for Redis":          func(o *Options) { o.URL, o.CertFile, o.KeyFile = "rediss://x", secret, secret },
		"password of Redis":              func(o *Options) { o.PasswordFile = filepath.Join(dir, "none") },
		"has 0 bytes":                    func(o *Options) { o.PasswordFile = empty },
		"utf16: is text in UTF-16":       func(o *Options) { o.PasswordFile = wide },
		"Redis: " + wide + ": is text":   func(o *Options) { o.URL, o.CAFile = "rediss://x", wide },
		"remove one":                     func(o *Options) { o.URL, o.PasswordFile = "redis://:x@y", secret },
	} {
		o := Options{URL: "redis://localhost", Name: "a"}
		change(&o)
		b, err := New(o)
		if err == nil {
			b.Leave()
			t.Errorf("nothing said of %q", want)
		} else if !strings.Contains(err.Error(), strings.TrimSpace(want)) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A byte-order mark at the beginning of a file is no part of its text.
func TestByteOrderMarksAreIgnored(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, append([]byte("\uFEFF"), text...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if password, err := readPassword(write("password", []byte("hunter2\r\n"))); password != "hunter2" || err != nil {
		t.Errorf("password %q, %v", password, err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	certFile := write("cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	keyFile := write("key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	b, err := New(Options{URL: "rediss://localhost", Name: "a", CAFile: certFile, CertFile: certFile, KeyFile: keyFile})
	if err != nil {
		t.Fatal(err)
	}
	b.Leave()
}

func TestDefaults(t *testing.T) {
	o, _, err := Options{URL: "redis://localhost", Name: "a"}.prepared()
	if err != nil {
		t.Fatal(err)
	}
	if o.Prefix != "labgate" || o.TTL != 10*time.Second || o.Timeout != time.Second || o.TelemetryInterval != DefaultTelemetryInterval {
		t.Errorf("%+v", o)
	}
	if o, _, err = (Options{URL: "redis://localhost", Name: "a", TTL: time.Second, TelemetryInterval: -1}).prepared(); err != nil || o.Timeout != time.Second/2 || o.TelemetryInterval != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}
