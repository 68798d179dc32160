package server

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/eventloop"
)

func TestOptionsDefaults(t *testing.T) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want any }{
		"Listen":            {o.Listen, "127.0.0.1:8080"},
		"AdminListen":       {o.AdminListen, "127.0.0.1:8081"},
		"IOMode":            {o.IOMode, eventloop.IONonBlocking},
		"TLSMode":           {o.TLSMode, eventloop.TLSBlocking},
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
		set  func(o *Options)
	}{
		{"--listen", func(o *Options) { o.Listen = "8080" }},
		{"--listen", func(o *Options) { o.Listen = "[::1:80" }},
		{"--admin-listen", func(o *Options) { o.AdminListen = "localhost" }},
		{`--listen "127.0.0.1:99999": "99999" is not a port`, func(o *Options) { o.Listen = "127.0.0.1:99999" }},
		{`--listen "127.0.0.1:-1": "-1" is not a port`, func(o *Options) { o.Listen = "127.0.0.1:-1" }},
		{`--admin-listen "127.0.0.1:": "" is not a port`, func(o *Options) { o.AdminListen = "127.0.0.1:" }},
		{`--node "a\x1b[2J": use at most 128 bytes of UTF-8 without control characters`, func(o *Options) { o.Node = "a\x1b[2J" }},
		{`--listen "127.0.0.1:80,127.0.0.2:80" is a list`, func(o *Options) { o.Listen = "127.0.0.1:80,127.0.0.2:80" }},
		{`--listen "a,b:80" is a list`, func(o *Options) { o.Listen = "a,b:80" }},
		{"--io-mode", func(o *Options) { o.IOMode = "fast" }},
		{"--tls-mode", func(o *Options) { o.TLSMode = "fast" }},
		{"--tls-cert and --tls-key", func(o *Options) { o.TLSCert = "cert.pem" }},
		{"--tls-cert and --tls-key", func(o *Options) { o.TLSKey = "key.pem" }},
		{"--tls-mode nonblocking needs --io-mode nonblocking", func(o *Options) {
			o.TLSCert, o.TLSKey, o.TLSMode, o.IOMode = "c", "k", eventloop.TLSNonBlocking, eventloop.IOMixed
		}},
		{"--pollers", func(o *Options) { o.Pollers = -1 }},
		{"--pollers", func(o *Options) { o.Pollers = 257 }},
		{"--listeners", func(o *Options) { o.Listeners = 65 }},
		{"--flushers", func(o *Options) { o.Flushers = -1 }},
		{"--mixed-threshold", func(o *Options) { o.MixedThreshold = -1 }},
		{"--read-buffer", func(o *Options) { o.ReadBuffer = 1023 }},
		{"--read-buffer", func(o *Options) { o.ReadBuffer = 1<<20 + 1 }},
		{"--max-connections", func(o *Options) { o.MaxConnections = -1 }},
		{"--max-message", func(o *Options) { o.MaxMessage = 1023 }},
		{"--max-message", func(o *Options) { o.MaxMessage = 64<<20 + 1 }},
		{"--max-pending", func(o *Options) { o.MaxPending = 1<<16 + 1 }},
		{"--control-bytes", func(o *Options) { o.ControlBytes = 4095 }},
		{"--telemetry-bytes", func(o *Options) { o.TelemetryBytes = 1<<30 + 1 }},
		{"--inflight-bytes", func(o *Options) { o.InflightBytes = 1 }},
		{"--max-connections-per-address", func(o *Options) { o.MaxConnectionsPerAddress = -1 }},
		{"--max-sessions-per-user", func(o *Options) { o.MaxSessionsPerUser = -1 }},
		{"--max-sessions-per-credential", func(o *Options) { o.MaxSessionsPerCredential = -1 }},
		{"--max-connection-rate", func(o *Options) { o.MaxConnectionRate = -1 }},
		{"--trusted-proxies", func(o *Options) { o.TrustedProxies = []string{"proxy.lab"} }},
		{`--allowed-origins "lab.example": the scheme is missing; write https://lab.example`, func(o *Options) { o.AllowedOrigins = []string{"*", "lab.example"} }},
		{"--device-byte-rate", func(o *Options) { o.DeviceByteRate = -1 }},
		{"--device-message-rate", func(o *Options) { o.DeviceMessageRate = new(1e7) }},
		{"--frontend-byte-rate", func(o *Options) { o.FrontendByteRate = -1 }},
		{"--message-burst", func(o *Options) { o.MessageBurst = -1 }},
		{"--frontend-message-rate", func(o *Options) { o.FrontendMessageRate = new(-0.5) }},
		{"--handshake-timeout", func(o *Options) { o.HandshakeTimeout = 99 * time.Millisecond }},
		{"--write-timeout", func(o *Options) { o.WriteTimeout = 6 * time.Minute }},
		{"--heartbeat-interval", func(o *Options) { o.HeartbeatInterval = time.Millisecond }},
		{"--heartbeat-timeout", func(o *Options) { o.HeartbeatTimeout = 25 * time.Hour }},
		{"--heartbeat-timeout 30s must be longer than --heartbeat-interval 30s", func(o *Options) { o.HeartbeatTimeout = 30 * time.Second }},
		{"--flush-interval", func(o *Options) { o.FlushInterval = -1 }},
		{"--flush-interval", func(o *Options) { o.FlushInterval = 2 * time.Second }},
		{"--idle-timeout", func(o *Options) { o.IdleTimeout = -1 }},
		{"--retry-after", func(o *Options) { o.RetryAfter = 2 * time.Hour }},
	} {
		var o Options
		c.set(&o)
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%v, want an error that begins with %q", err, c.says)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	capacity, err := eventloop.RaiseCapacity()
	if err != nil {
		t.Fatal(err)
	}
	most := capacity.Connections
	for _, c := range []struct{ wanted, got int }{{0, most}, {7, 7}, {most + 1, most}} {
		s, err := New(Options{LimitOptions: admission.LimitOptions{MaxConnections: c.wanted}})
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
	for _, mode := range []eventloop.TLSMode{eventloop.TLSBlocking, eventloop.TLSNonBlocking} {
		for _, files := range [][2]string{{garbage, key}, {cert, garbage}, {key, cert}, {cert, cert + ".absent"}} {
			_, err := New(Options{TLSOptions: eventloop.TLSOptions{TLSMode: mode, TLSCert: files[0], TLSKey: files[1]}})
			if err == nil || !strings.HasPrefix(err.Error(), "--tls-cert, --tls-key: ") {
				t.Errorf("%s %v: %v", mode, files, err)
			}
		}
	}
}
