package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/alecthomas/kong"

	"github.com/labgate/labgate/server"
	"github.com/labgate/labgate/session"
)

// serveGroups orders the options of labgate serve in its help.
var serveGroups = []kong.Group{
	{Key: "net", Title: "Listeners and limits:"},
	{Key: "auth", Title: "Who may connect:"},
	{Key: "cluster", Title: "Several nodes, through Redis:"},
	{Key: "tls", Title: "TLS:"},
	{Key: "live", Title: "Liveness:"},
	{Key: "queue", Title: "Queues and flushing:"},
	{Key: "io", Title: "Event loop:"},
}

// ServeCmd runs the gateway.
type ServeCmd struct {
	CheckConfig bool `help:"Check options and files, print the result and exit."`

	Listen         string `group:"net" help:"Address for devices, front ends, the HTTP API and the page. Port 0 picks a free one." default:"127.0.0.1:8080"`
	AdminListen    string `group:"net" help:"Address for /metrics, /healthz, /readyz and /debug/pprof. Beyond loopback it needs --admin-token-file." default:"127.0.0.1:8081"`
	Node           string `group:"net" help:"This gateway's name in messages and metrics; with --redis each node has its own. Default: the host name." placeholder:"NAME"`
	MaxConnections int    `group:"net" help:"Connections at most; more are answered with 503. 0: as many as file descriptors allow." default:"0"`

	MaxConnectionsPerAddress int      `group:"net" help:"Connections of one client address at most; more are answered with 429. An IPv6 address counts with its /64 network. 0: no limit." default:"0"`
	MaxConnectionRate        float64  `group:"net" help:"New connections a second; more are answered with 503 and a Retry-After that spreads them. 0: no limit." default:"0"`
	MaxSessionsPerUser       int      `group:"net" help:"Sessions of one user at most; more are answered with 429. 0: no limit." default:"0"`
	MaxSessionsPerCredential int      `group:"net" help:"Sessions of one token, JWT or certificate at most; more are answered with 429. It bounds what a token that is bound to no device can do. 0: no limit." default:"0"`
	TrustedProxies           []string `group:"net" help:"Addresses and networks (CIDR) of reverse proxies: their X-Forwarded-For names the client in limits, log and API. From all others it is ignored." placeholder:"CIDR"`

	MaxMessage     *int    `group:"net" help:"Largest message accepted, in bytes; a larger one closes its session with 1009. Default: 1048576 (1 MiB); for /ws/echo 16777216 (16 MiB)." placeholder:"BYTES"`
	MaxMessageRate float64 `group:"net" help:"Text messages a second that one session may send, pings included; more are refused with rate_limited, and a session that goes on is closed with 4006. Telemetry is not counted. 0: no limit." default:"5000"`
	MessageBurst   int     `group:"net" help:"Text messages that one session may send at once. 0: twice the rate." default:"0"`

	DeviceMessageRate   *float64 `group:"net" help:"The same for devices alone. Default: --max-message-rate." placeholder:"RATE"`
	FrontendMessageRate *float64 `group:"net" help:"The same for front ends alone. Default: --max-message-rate." placeholder:"RATE"`
	DeviceByteRate      float64  `group:"net" help:"Bytes a second that one device may send, telemetry included, and twice as many at once; more is refused as above. 0: no limit." default:"0"`
	FrontendByteRate    float64  `group:"net" help:"The same for a front end." default:"67108864"`

	MaxPending int `group:"net" help:"Commands of one front end that may wait for an answer; more are refused with overloaded." default:"256"`

	HandshakeTimeout time.Duration `group:"net" help:"Time from the connection to the finished handshake." default:"10s"`
	DrainTimeout     time.Duration `group:"net" help:"Time for sessions to take what is queued for them and leave after SIGTERM or SIGINT; then they are cut off. A second signal ends at once." default:"30s"`
	RetryAfter       time.Duration `group:"net" help:"What clients are told to wait before they connect again when the gateway leaves." default:"1s"`

	accessFlags
	redisFlags

	AllowedOrigins  []string `group:"auth" help:"Origins that browsers may come from besides the gateway's own, such as https://lab.example; * allows all." placeholder:"ORIGIN"`
	DuplicateDevice string   `group:"auth" help:"When a device id connects twice: replace closes the older connection with 4000, refuse the newer with 4007." enum:"replace,refuse" default:"replace"`

	DebugEcho bool `group:"auth" help:"For tests of the connection layer only: add /ws/echo, which answers each message with itself, text for text and binary for binary, up to --max-message or 16 MiB each."`

	TLSCert string `group:"tls" name:"tls-cert" help:"PEM file with the certificate chain; switches TLS on. It is read again when it or the key has changed; connections that are there stay." type:"path" placeholder:"FILE"`
	TLSKey  string `group:"tls" name:"tls-key" help:"PEM file with the key." type:"path" placeholder:"FILE"`
	TLSMode string `group:"tls" name:"tls-mode" help:"blocking: Go's own TLS, 1.2 and 1.3, two goroutines a connection. nonblocking: llib's TLS on the pollers, far less memory with thousands of connections, but a fork of Go 1.16's crypto/tls: no post-quantum key exchange, no client certificates, and without the security fixes that crypto/tls has had since." enum:"blocking,nonblocking" default:"blocking"`

	HeartbeatInterval time.Duration `group:"live" help:"Time between pings." default:"30s"`
	HeartbeatTimeout  time.Duration `group:"live" help:"A session from which nothing was heard for that long is closed with 4002." default:"90s"`
	IdleTimeout       time.Duration `group:"live" help:"A session without any application message for that long is closed with 4003. 0: never." default:"10m"`
	WriteTimeout      time.Duration `group:"live" help:"Time for one write of a blocking connection." default:"10s"`

	FlushInterval     time.Duration `group:"queue" help:"How long telemetry may wait to leave together with more; when nothing was sent for that long it leaves at once, and so does a quarter of --telemetry-bytes where at most 16 front ends get it. 0: never wait. Text messages never wait." default:"1ms"`
	ControlBytes      int           `group:"queue" help:"Text messages that may wait for one receiver; beyond it the receiver is closed with 4004." default:"1048576"`
	TelemetryBytes    int           `group:"queue" help:"Telemetry that may wait for one receiver." default:"1048576"`
	TelemetryOverflow string        `group:"queue" help:"When that is full: drop-oldest drops the oldest and tells the receiver exactly which samples; close closes it with 4004." enum:"drop-oldest,close" default:"drop-oldest"`
	InflightBytes     int           `group:"queue" help:"Bytes handed to the event loop and not yet taken by the kernel, for one receiver." default:"262144"`
	Flushers          int           `group:"queue" help:"Goroutines that write telemetry. 0: as many as pollers." default:"0"`

	IOMode         string `group:"io" name:"io-mode" help:"nonblocking: all connections share the pollers. blocking: two goroutines a connection. mixed: the first --mixed-threshold connections are blocking. Plain connections only; see --tls-mode." enum:"nonblocking,blocking,mixed" default:"nonblocking"`
	MixedThreshold int    `group:"io" help:"Blocking connections in mixed mode." default:"256"`
	Pollers        int    `group:"io" help:"Event loops. 0: a quarter of the processors, at least one." default:"0"`
	Listeners      int    `group:"io" help:"Accepting sockets that share the port." default:"1"`
	ReadBuffer     int    `group:"io" help:"Read buffer of an event loop or a blocking connection." default:"16384"`
}

// Run serves until ctx ends, then drains.
func (c *ServeCmd) Run(ctx context.Context, out *Streams) error {
	opts, err := c.options(out)
	if err != nil {
		return err
	}
	if err := c.joinWith(&opts); err != nil {
		return err
	}
	server.SetEngineLogger(out.Log)
	s, err := server.New(opts)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		_, err := fmt.Fprintln(out.Out, "configuration is good")
		return err
	}
	c.spareProcessors(s)
	defer collectEarly(c.Redis != "")()
	if err := s.Start(); err != nil {
		return err
	}
	warnExposed(out, s)
	if c.DebugEcho {
		out.Log.Warn().Str("endpoint", "/ws/echo").Msg("--debug-echo is on: whoever may connect can have this gateway send back whatever it is sent, up to 16 MiB a message without --max-message and without a rate limit; it is for tests only, leave it off in a laboratory")
	}
	out.Log.Info().Str("listen", s.Addr()).Str("admin", s.AdminAddr()).Str("version", buildVersion()).Str("node", opts.Node).Msg("ready")
	<-ctx.Done()

	out.Log.Info().Int("sessions", s.Manager().Len()).Dur("drain_timeout", c.DrainTimeout).Msg("draining; a second signal ends at once")
	drain, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	if err := s.Shutdown(drain); err != nil {
		out.Log.Warn().Err(err).Msg("some sessions were cut off")
	}
	out.Log.Info().Msg("stopped")
	return nil
}

func (c *ServeCmd) options(out *Streams) (server.Options, error) {
	node := c.Node
	if node == "" {
		host, err := os.Hostname()
		if err != nil {
			return server.Options{}, fmt.Errorf("host name: %w; give --node", err)
		}
		node = host
	}
	if c.DrainTimeout <= 0 {
		return server.Options{}, fmt.Errorf("--drain-timeout %v is out of range; use more than 0", c.DrainTimeout)
	}
	opts := server.Options{
		Listen: c.Listen, AdminListen: c.AdminListen, Node: node, Version: buildVersion(), Logger: out.Log,
		IOMode: server.IOMode(c.IOMode), MixedThreshold: c.MixedThreshold, Pollers: c.Pollers, Listeners: c.Listeners, ReadBuffer: c.ReadBuffer,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSMode: server.TLSMode(c.TLSMode),
		AccessOptions: c.accessOptions(), AllowedOrigins: c.AllowedOrigins,
		MaxConnections: c.MaxConnections, MaxMessage: either(c.MaxMessage, 0), MaxPending: c.MaxPending,
		MaxConnectionsPerAddress: c.MaxConnectionsPerAddress, MaxConnectionRate: c.MaxConnectionRate, MaxSessionsPerUser: c.MaxSessionsPerUser, MaxSessionsPerCredential: c.MaxSessionsPerCredential, TrustedProxies: c.TrustedProxies,
		DeviceRate:       session.Rate{Messages: either(c.DeviceMessageRate, c.MaxMessageRate), Burst: c.MessageBurst, Bytes: c.DeviceByteRate},
		FrontendRate:     session.Rate{Messages: either(c.FrontendMessageRate, c.MaxMessageRate), Burst: c.MessageBurst, Bytes: c.FrontendByteRate},
		HandshakeTimeout: c.HandshakeTimeout, WriteTimeout: c.WriteTimeout, RetryAfter: c.RetryAfter,
		HeartbeatInterval: c.HeartbeatInterval, HeartbeatTimeout: c.HeartbeatTimeout, IdleTimeout: c.IdleTimeout,
		FlushInterval: c.FlushInterval, Flushers: c.Flushers, ControlBytes: c.ControlBytes, TelemetryBytes: c.TelemetryBytes, InflightBytes: c.InflightBytes,
		RefuseDuplicate: c.DuplicateDevice == "refuse", DebugEcho: c.DebugEcho,
	}
	if c.TelemetryOverflow == "close" {
		opts.Overflow = session.CloseSlow
	}
	return opts, nil
}

// either returns a role's own value, or that for all.
func either[T any](own *T, all T) T {
	if own != nil {
		return *own
	}
	return all
}

// spareProcessors makes sure that Go has more processors to run on than
// pollers: a poller sleeps in the kernel with one, and with none left the rest
// would wait until the scheduler notices.
func (c *ServeCmd) spareProcessors(s *server.Server) {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= s.Pollers() {
		runtime.GOMAXPROCS(s.Pollers() + 1)
	}
}
