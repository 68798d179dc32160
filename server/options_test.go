package server

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/session"
)

func TestOptionsDefaults(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want any }{
		"Listen":            {o.Listen, "127.0.0.1:8080"},
		"AdminListen":       {o.AdminListen, "127.0.0.1:8081"},
		"IOMode":            {o.IOMode, IONonBlocking},
		"TLSMode":           {o.TLSMode, TLSBlocking},
		"Listeners":         {o.Listeners, 1},
		"Flushers":          {o.Flushers, o.Pollers},
		"MaxMessage":        {o.MaxMessage, 1 << 20},
		"maxEcho":           {o.maxEcho, 16 << 20},
		"HandshakeTimeout":  {o.HandshakeTimeout, 10 * time.Second},
		"HeartbeatInterval": {o.HeartbeatInterval, 30 * time.Second},
		"HeartbeatTimeout":  {o.HeartbeatTimeout, 90 * time.Second},
		"IdleTimeout":       {o.IdleTimeout, time.Duration(0)},
		"FlushInterval":     {o.FlushInterval, time.Duration(0)},
		"ControlBytes":      {o.ControlBytes, 1 << 20},
		"InflightBytes":     {o.InflightBytes, 256 << 10},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
	if o.Pollers < 1 {
		t.Errorf("%d pollers", o.Pollers)
	}
	again, err := o.withDefaults()
	if err != nil || !reflect.DeepEqual(again, o) {
		t.Errorf("the defaults are not accepted, or change: %v", err)
	}
}

// TestOptionsOutOfRange sets one option at a time to a value that is not
// allowed; the error names it as the command line does.
func TestOptionsOutOfRange(t *testing.T) {
	for _, c := range []struct {
		says string
		o    Options
	}{
		{"--listen", Options{Listen: "8080"}},
		{"--listen", Options{Listen: "[::1:80"}},
		{"--admin-listen", Options{AdminListen: "localhost"}},
		{"--io-mode", Options{IOMode: "fast"}},
		{"--tls-mode", Options{TLSMode: "fast"}},
		{"--tls-cert and --tls-key", Options{TLSCert: "cert.pem"}},
		{"--tls-cert and --tls-key", Options{TLSKey: "key.pem"}},
		{"--tls-mode nonblocking needs --io-mode nonblocking", Options{TLSCert: "c", TLSKey: "k", TLSMode: TLSNonBlocking, IOMode: IOMixed}},
		{"--pollers", Options{Pollers: -1}},
		{"--pollers", Options{Pollers: 257}},
		{"--listeners", Options{Listeners: 65}},
		{"--flushers", Options{Flushers: -1}},
		{"--mixed-threshold", Options{MixedThreshold: -1}},
		{"--read-buffer", Options{ReadBuffer: 1023}},
		{"--read-buffer", Options{ReadBuffer: 1<<20 + 1}},
		{"--max-connections", Options{MaxConnections: -1}},
		{"--max-message", Options{MaxMessage: 1023}},
		{"--max-message", Options{MaxMessage: 64<<20 + 1}},
		{"--max-pending", Options{MaxPending: 1<<16 + 1}},
		{"--control-bytes", Options{ControlBytes: 4095}},
		{"--telemetry-bytes", Options{TelemetryBytes: 1<<30 + 1}},
		{"--inflight-bytes", Options{InflightBytes: 1}},
		{"--max-connections-per-address", Options{MaxConnectionsPerAddress: -1}},
		{"--max-sessions-per-user", Options{MaxSessionsPerUser: -1}},
		{"--max-sessions-per-credential", Options{MaxSessionsPerCredential: -1}},
		{"--max-connection-rate", Options{MaxConnectionRate: -1}},
		{"--trusted-proxies", Options{TrustedProxies: []string{"proxy.lab"}}},
		{"--device-byte-rate", Options{DeviceRate: session.Rate{Bytes: -1}}},
		{"--device-message-rate", Options{DeviceRate: session.Rate{Messages: 1e7}}},
		{"--frontend-byte-rate", Options{FrontendRate: session.Rate{Bytes: -1}}},
		{"--message-burst", Options{DeviceRate: session.Rate{Burst: -1}}},
		{"--frontend-message-rate", Options{FrontendRate: session.Rate{Messages: -0.5}}},
		{"--handshake-timeout", Options{HandshakeTimeout: 99 * time.Millisecond}},
		{"--write-timeout", Options{WriteTimeout: 6 * time.Minute}},
		{"--heartbeat-interval", Options{HeartbeatInterval: time.Millisecond}},
		{"--heartbeat-timeout", Options{HeartbeatTimeout: 25 * time.Hour}},
		{"--heartbeat-timeout 30s must be longer than --heartbeat-interval 30s", Options{HeartbeatTimeout: 30 * time.Second}},
		{"--flush-interval", Options{FlushInterval: -1}},
		{"--flush-interval", Options{FlushInterval: 2 * time.Second}},
		{"--idle-timeout", Options{IdleTimeout: -1}},
		{"--retry-after", Options{RetryAfter: 2 * time.Hour}},
	} {
		if _, err := New(c.o); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%v, want an error that begins with %q", err, c.says)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	limit, err := raiseDescriptorLimit()
	if err != nil {
		t.Fatal(err)
	}
	most := limit - descriptorReserve - min(max(limit/32, 64), maxTurningAway)
	for _, c := range []struct{ wanted, got int }{{0, most}, {7, 7}, {limit, most}} {
		s, err := New(Options{MaxConnections: c.wanted})
		if err != nil {
			t.Fatal(err)
		}
		if s.opts.MaxConnections != c.got {
			t.Errorf("%d wanted: %d, want %d", c.wanted, s.opts.MaxConnections, c.got)
		}
	}
}

// TestCertificateFiles gives files that are no pair, in both TLS modes.
func TestCertificateFiles(t *testing.T) {
	cert, key := certificate(t)
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []TLSMode{TLSBlocking, TLSNonBlocking} {
		for _, files := range [][2]string{{garbage, key}, {cert, garbage}, {key, cert}, {cert, cert + ".absent"}} {
			_, err := New(Options{TLSMode: mode, TLSCert: files[0], TLSKey: files[1]})
			if err == nil || !strings.HasPrefix(err.Error(), "--tls-cert, --tls-key: ") {
				t.Errorf("%s %v: %v", mode, files, err)
			}
		}
	}
}
