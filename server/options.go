package server

import (
	"fmt"
	"github.com/labgate/labgate/router/federation"
	"net"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/session"
)

// IOMode says how plain connections are served.
type IOMode string

const (
	// IONonBlocking: all connections share the pollers.
	IONonBlocking IOMode = "nonblocking"
	// IOBlocking: a reading and a writing goroutine for each connection.
	IOBlocking IOMode = "blocking"
	// IOMixed: the first MixedThreshold connections are blocking, the rest
	// share the pollers.
	IOMixed IOMode = "mixed"
)

// TLSMode says which implementation serves TLS.
type TLSMode string

const (
	// TLSBlocking: the standard library's TLS, a reading and a writing
	// goroutine for each connection.
	TLSBlocking TLSMode = "blocking"
	// TLSNonBlocking: llib's TLS on the pollers, a fork of Go 1.16's.
	TLSNonBlocking TLSMode = "nonblocking"
)

// Options configures a Server. Zero values take the defaults named with them.
type Options struct {
	// Listen and AdminListen are host:port; port 0 picks a free one.
	// 127.0.0.1:8080 and 127.0.0.1:8081.
	Listen, AdminListen string
	// Node is this gateway's name; the host name. Nodes on one bus have
	// different ones.
	Node string
	// Bus joins this gateway with others; nil for one alone. The server joins
	// and leaves it.
	Bus federation.Bus

	// IOMode is IONonBlocking; MixedThreshold is 256.
	IOMode         IOMode
	MixedThreshold int
	// Pollers is a quarter of the processors, at least one; Listeners is 1.
	Pollers, Listeners int
	// ReadBuffer is a poller's or a blocking connection's read buffer in
	// bytes, 1 KiB to 1 MiB; 16 KiB.
	ReadBuffer int

	// TLSCert and TLSKey are PEM files; both or none. TLSMode is TLSBlocking.
	TLSCert, TLSKey string
	TLSMode         TLSMode

	AccessOptions
	// AllowedOrigins are the origins that browsers may come from besides the
	// gateway's own; "*" allows all.
	AllowedOrigins []string

	// MaxConnections bounds the connections; what the descriptors allow.
	MaxConnections int
	// MaxConnectionsPerAddress bounds those of one client address, and
	// MaxConnectionRate how many are let in a second; MaxSessionsPerUser bounds
	// the sessions of one user, MaxSessionsPerCredential those of one token, JWT
	// or certificate. No limit.
	MaxConnectionsPerAddress int
	MaxConnectionRate        float64
	MaxSessionsPerUser       int
	MaxSessionsPerCredential int
	// TrustedProxies are addresses and networks (CIDR) whose X-Forwarded-For is
	// believed.
	TrustedProxies []string
	// MaxMessage is the largest message in bytes, 1 KiB to 64 MiB; 1 MiB, and
	// for /ws/echo 16 MiB.
	MaxMessage int
	// MaxPending bounds a front end's commands that wait; 256.
	MaxPending int
	// DeviceRate and FrontendRate limit what a session of that role may send;
	// no limit.
	DeviceRate, FrontendRate session.Rate

	// HandshakeTimeout is the time from accept to the finished handshake;
	// 10 s. WriteTimeout bounds a blocking connection's write; 10 s.
	HandshakeTimeout, WriteTimeout time.Duration

	HeartbeatInterval, HeartbeatTimeout time.Duration // 30 s, 90 s
	IdleTimeout                         time.Duration // 0: never
	FlushInterval                       time.Duration // 0: at once
	Flushers                            int           // as many as pollers
	ControlBytes, TelemetryBytes        int           // 1 MiB each
	InflightBytes                       int           // 256 KiB
	Overflow                            session.Overflow
	RefuseDuplicate                     bool

	// DebugEcho adds /ws/echo, which answers each message with itself; for
	// tests of the connection layer.
	DebugEcho bool

	// maxEcho is the largest message of /ws/echo.
	maxEcho int

	// RetryAfter is what clients are told to wait when the gateway leaves; 1 s.
	RetryAfter time.Duration
	// Version is shown by /healthz and the metrics.
	Version string

	Logger zerolog.Logger
}

// withDefaults fills in the zero fields and checks the others. An error names
// the option as the command line does.
func (o Options) withDefaults() (Options, error) {
	def(&o.Listen, "127.0.0.1:8080")
	def(&o.AdminListen, "127.0.0.1:8081")
	def(&o.Node, "local")
	def(&o.IOMode, IONonBlocking)
	def(&o.MixedThreshold, 256)
	def(&o.Pollers, max(1, runtime.NumCPU()/4))
	def(&o.Listeners, 1)
	def(&o.ReadBuffer, 16<<10)
	def(&o.TLSMode, TLSBlocking)
	def(&o.maxEcho, o.MaxMessage)
	def(&o.maxEcho, defaultMaxEcho)
	def(&o.MaxMessage, 1<<20)
	def(&o.MaxPending, 256)
	def(&o.HandshakeTimeout, 10*time.Second)
	def(&o.WriteTimeout, 10*time.Second)
	def(&o.HeartbeatInterval, 30*time.Second)
	def(&o.HeartbeatTimeout, 90*time.Second)
	def(&o.Flushers, o.Pollers)
	def(&o.ControlBytes, 1<<20)
	def(&o.TelemetryBytes, 1<<20)
	def(&o.InflightBytes, 256<<10)
	def(&o.RetryAfter, time.Second)
	def(&o.Version, "unknown")

	for name, addr := range map[string]string{"listen": o.Listen, "admin-listen": o.AdminListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return o, fmt.Errorf("--%s %q is not an address; use host:port, for example 127.0.0.1:8080", name, addr)
		}
	}
	switch o.IOMode {
	case IONonBlocking, IOBlocking, IOMixed:
	default:
		return o, fmt.Errorf("--io-mode %q is unknown; use nonblocking, blocking or mixed", o.IOMode)
	}
	switch o.TLSMode {
	case TLSBlocking, TLSNonBlocking:
	default:
		return o, fmt.Errorf("--tls-mode %q is unknown; use blocking or nonblocking", o.TLSMode)
	}
	if (o.TLSCert == "") != (o.TLSKey == "") {
		return o, fmt.Errorf("--tls-cert and --tls-key belong together; give both or none")
	}
	if err := o.checkAccess(); err != nil {
		return o, err
	}
	if o.TLSCert != "" && o.TLSMode == TLSNonBlocking && o.IOMode != IONonBlocking {
		return o, fmt.Errorf("--tls-mode nonblocking needs --io-mode nonblocking, not %s", o.IOMode)
	}
	for _, limit := range []struct {
		flag             string
		value, low, high int
	}{
		{"pollers", o.Pollers, 1, 256},
		{"listeners", o.Listeners, 1, 64},
		{"flushers", o.Flushers, 1, 256},
		{"mixed-threshold", o.MixedThreshold, 1, 1 << 20},
		{"read-buffer", o.ReadBuffer, 1 << 10, 1 << 20},
		{"max-connections", o.MaxConnections, 0, 1 << 20},
		{"max-connections-per-address", o.MaxConnectionsPerAddress, 0, 1 << 20},
		{"max-sessions-per-user", o.MaxSessionsPerUser, 0, 1 << 20},
		{"max-sessions-per-credential", o.MaxSessionsPerCredential, 0, 1 << 20},
		{"max-message", o.MaxMessage, 1 << 10, 64 << 20},
		{"max-pending", o.MaxPending, 1, 1 << 16},
		{"control-bytes", o.ControlBytes, 4 << 10, 1 << 30},
		{"telemetry-bytes", o.TelemetryBytes, 4 << 10, 1 << 30},
		{"inflight-bytes", o.InflightBytes, 4 << 10, 1 << 30},
		{"message-burst", o.DeviceRate.Burst, 0, 1 << 20},
		{"message-burst", o.FrontendRate.Burst, 0, 1 << 20},
	} {
		if limit.value < limit.low || limit.value > limit.high {
			return o, fmt.Errorf("--%s %d is out of range; use %d to %d", limit.flag, limit.value, limit.low, limit.high)
		}
	}
	for _, limit := range []struct {
		flag        string
		value, high float64
	}{
		{"device-message-rate", o.DeviceRate.Messages, 1e6},
		{"frontend-message-rate", o.FrontendRate.Messages, 1e6},
		{"device-byte-rate", o.DeviceRate.Bytes, 1 << 40},
		{"frontend-byte-rate", o.FrontendRate.Bytes, 1 << 40},
		{"max-connection-rate", o.MaxConnectionRate, 1e6},
	} {
		if !(limit.value >= 0 && limit.value <= limit.high) {
			return o, fmt.Errorf("--%s %v is out of range; use 0, for no limit, to %.0f", limit.flag, limit.value, limit.high)
		}
	}
	for _, limit := range []struct {
		flag      string
		value     time.Duration
		low, high time.Duration
	}{
		{"heartbeat-interval", o.HeartbeatInterval, 50 * time.Millisecond, time.Hour},
		{"heartbeat-timeout", o.HeartbeatTimeout, 100 * time.Millisecond, 24 * time.Hour},
		{"handshake-timeout", o.HandshakeTimeout, 100 * time.Millisecond, 5 * time.Minute},
		{"write-timeout", o.WriteTimeout, 100 * time.Millisecond, 5 * time.Minute},
		{"flush-interval", o.FlushInterval, 0, time.Second},
		{"idle-timeout", o.IdleTimeout, 0, 1000 * time.Hour},
		{"retry-after", o.RetryAfter, 0, time.Hour},
	} {
		if limit.value < limit.low || limit.value > limit.high {
			return o, fmt.Errorf("--%s %v is out of range; use %v to %v", limit.flag, limit.value, limit.low, limit.high)
		}
	}
	if _, err := parseProxies(o.TrustedProxies); err != nil {
		return o, fmt.Errorf("--trusted-proxies: %w", err)
	}
	if o.HeartbeatTimeout <= o.HeartbeatInterval {
		return o, fmt.Errorf("--heartbeat-timeout %v must be longer than --heartbeat-interval %v, or every quiet peer is taken for dead", o.HeartbeatTimeout, o.HeartbeatInterval)
	}
	return o, nil
}

// def gives a zero value its default.
func def[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}
