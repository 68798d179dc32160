package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// labgate runs the command line in this process.
func labgate(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), func() {}, args, &out, &err)
	return code, out.String(), err.String()
}

// checkConfig runs labgate serve --check-config on free ports.
func checkConfig(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return labgate(t, append([]string{"serve", "--check-config", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
}

func TestEveryOptionHasFlagVariableAndKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "labgate.json")
	if err := os.WriteFile(file, []byte(`{"max_message": 500, "flush-interval": "2ms", "allowed_origins": ["https://a.example"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  string
		args []string
		code int
		says string
	}{
		{"nothing", "", nil, 0, "configuration is good"},
		{"flag", "", []string{"--max-message=700"}, 1, "--max-message 700"},
		{"variable", "600", nil, 1, "--max-message 600"},
		{"file", "", []string{"--config", file}, 1, "--max-message 500"},
		{"variable over file", "600", []string{"--config", file}, 1, "--max-message 600"},
		{"flag over both", "600", []string{"--config", file, "--max-message=700"}, 1, "--max-message 700"},
		{"good flag over both", "600", []string{"--config", file, "--max-message=4096"}, 0, "configuration is good"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("LABGATE_MAX_MESSAGE", c.env)
			}
			code, out, err := checkConfig(t, c.args...)
			if code != c.code || !strings.Contains(out+err, c.says) {
				t.Errorf("exit code %d, said %q; want %d and %q", code, out+err, c.code, c.says)
			}
		})
	}
}

func TestMistakesAreNamed(t *testing.T) {
	write := func(content string) string {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"unknown key", []string{"--config", write(`{"lisen": ":80"}`)}, []string{`/f:1: key "lisen" is not an option; did you mean "listen"?`}},
		{"key of an object", []string{"--config", write(`{"node": {}}`)}, []string{`/f:1: key "node"`, "string"}},
		{"not JSON", []string{"--config", write(`listen: 80`)}, []string{"/f:1: ", "JSON"}},
		{"two objects", []string{"--config", write(`{}{}`)}, []string{"one JSON object"}},
		{"address", []string{"--listen", "8080"}, []string{"--listen", "host:port"}},
		{"mode", []string{"--io-mode", "fast"}, []string{"--io-mode", "nonblocking"}},
		{"timeout below interval", []string{"--heartbeat-interval", "10s", "--heartbeat-timeout", "5s"}, []string{"--heartbeat-timeout"}},
		{"half of TLS", []string{"--tls-cert", write("x")}, []string{"--tls-key"}},
		{"short token", []string{"--device-token-file", write("sesame")}, []string{"--device-token-file", "line 1"}},
		{"no token", []string{"--frontend-token-file", write("# none\n")}, []string{"--frontend-token-file", "no token"}},
		{"JWT keys", []string{"--jwt-key-file", write("sesame")}, []string{"--jwt-key-file", "PEM"}},
		{"JWT secret", []string{"--jwt-secret-file", write("sesame")}, []string{"--jwt-secret-file", "32 to 4096"}},
		{"JWKS", []string{"--jwks-file", write("sesame")}, []string{"--jwks-file", "JWKS"}},
		{"credentials", []string{"--credential-file", write("sesame-in-clear-0123456789")}, []string{"--credential-file", "line 1", "labgate token"}},
		{"admin token", []string{"--admin-token-file", write("sesame")}, []string{"--admin-token-file", "line 1"}},
		{"admin beyond loopback", []string{"--admin-listen", ":8081"}, []string{"--admin-listen", "--admin-token-file"}},
		{"client CA without TLS", []string{"--client-ca", write("sesame")}, []string{"--client-ca", "--tls-cert"}},
		{"open beyond loopback", []string{"--listen", ":8080"}, []string{"--listen", "--insecure"}},
		{"token warning", []string{"--token-warning", "1ms"}, []string{"--token-warning"}},
		{"drain", []string{"--drain-timeout", "0s"}, []string{"--drain-timeout"}},
		{"Redis that does not answer", []string{"--redis", "redis://ann:sesame@127.0.0.1:1?addr=127.0.0.1:2", "--redis-ttl", "1s"}, []string{"--redis: Redis cannot be used: ", "127.0.0.1:"}},
		{"Redis URL", []string{"--redis", "http://sesame:sesame@h"}, []string{"--redis: ", "scheme"}},
		{"Redis URL that is none", []string{"--redis", "redis://ann:sesame%@h:1"}, []string{"--redis: ", "percent-encoded"}},
		{"Redis port", []string{"--redis", "redis://:sesame@h:99999"}, []string{"--redis: "}},
		{"Redis database", []string{"--redis", "redis://:sesame@h/3"}, []string{"--redis: ", "database 0"}},
		{"Redis parameter", []string{"--redis", "redis://:sesame@h?master=x"}, []string{"--redis: ", "master_set"}},
		{"Redis CA", []string{"--redis", "rediss://:sesame@h", "--redis-ca", write("sesame")}, []string{"--redis", "certificate"}},
		{"Redis CA without TLS", []string{"--redis", "redis://h", "--redis-ca", write("sesame")}, []string{"--redis", "rediss://"}},
		{"Redis password file", []string{"--redis", "redis://h", "--redis-password-file", write("")}, []string{"--redis", "password"}},
		{"Redis prefix", []string{"--redis", "redis://h", "--redis-prefix="}, []string{"--redis-prefix"}},
		{"Redis prefix with a space", []string{"--redis", "redis://h", "--redis-prefix", "a b"}, []string{"--redis", "prefix"}},
		{"Redis TTL", []string{"--redis", "redis://h", "--redis-ttl", "10ms"}, []string{"--redis-ttl 10ms", "1s to"}},
		{"Redis timeout", []string{"--redis", "redis://h", "--redis-timeout", "6s"}, []string{"--redis-timeout 6s", "5s"}},
		{"large messages between nodes", []string{"--redis", "redis://h", "--max-message", "16777217"}, []string{"--max-message 16777217", "16777216", "--redis"}},
		{"node name", []string{"--redis", "redis://h", "--node", "no name"}, []string{"--node", "letters"}},
		{"CA without Redis", []string{"--redis-ca", write("sesame")}, []string{"--redis-ca", "--redis"}},
		{"unknown flag", []string{"--fast"}, []string{"--fast"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, err := checkConfig(t, c.args...)
			if code == 0 {
				t.Errorf("accepted: %s", out)
			}
			for _, says := range c.says {
				if !strings.Contains(err, says) {
					t.Errorf("said %q, want %q in it", err, says)
				}
			}
			if strings.Contains(err, "sesame") {
				t.Errorf("a token is in the message: %q", err)
			}
		})
	}
}

func TestHelpNamesEveryOption(t *testing.T) {
	code, out, _ := labgate(t, "serve", "--help")
	if code != 0 {
		t.Fatalf("exit code %d", code)
	}
	for _, want := range []string{"--listen", "127.0.0.1:8080", "$LABGATE_LISTEN", "--tls-mode", "fork of", "--pollers", "--io-mode", "--check-config", "--redis", "$LABGATE_REDIS", "Several nodes"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if code, out, _ := labgate(t, "version"); code != 0 || !strings.HasPrefix(out, "labgate ") {
		t.Errorf("version: %d %q", code, out)
	}
	if code, _, err := labgate(t); code == 0 || !strings.Contains(err, "serve") {
		t.Errorf("no command: %d %q", code, err)
	}
}

func TestLogIsJSONWithoutTerminal(t *testing.T) {
	var buf bytes.Buffer
	log := newLogger(&buf, "info", false)
	log.Debug().Msg("no")
	log.Info().Str("a", "b").Msg("yes")
	if got := buf.String(); !strings.HasPrefix(got, `{"level":"info","a":"b"`) || strings.Contains(got, "no") {
		t.Errorf("logged %q", got)
	}
}
