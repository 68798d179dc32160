package cluster

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/option"
	"github.com/labgate/labgate/internal/textfile"
	"github.com/labgate/labgate/protocol"
)

// DefaultTelemetryInterval is the default of Options.TelemetryInterval.
const DefaultTelemetryInterval = 2 * time.Millisecond

// defaultTimeout is Options.Timeout for an option that is not given, unless half
// of the time to live is less.
const defaultTimeout = time.Second

// Limits of Options.
const (
	MaxTelemetryInterval = time.Second
	MaxPrefixLen         = 64
)

// Options of a Bus. A zero field takes its default, if there is one.
type Options struct {
	// URL says where Redis is; see parseURL. It must be set.
	URL string `option:"redis" placeholder:"URL" group:"cluster" help:"Redis, version 7 or later, that joins this gateway with others: redis://HOST:PORT, with TLS rediss://HOST:PORT, on a socket unix:///PATH. Several nodes of a Redis Cluster, or sentinels, are listed with ?addr=HOST:PORT&addr=...; sentinels also need &master_set=NAME. USER:PASSWORD@ goes before the host; other users of a machine see command lines, so give a password by the variable or --redis-password-file. Without --redis the gateway runs alone."`
	// PasswordFile holds the password in place of the URL. It is read again for
	// each connection.
	PasswordFile string `option:"redis-password-file" type:"path" placeholder:"FILE" group:"cluster" help:"File whose first line is the password; it replaces the one in the URL. Read for each connection."`
	// CAFile holds the certificates, in PEM, of the authorities that may vouch
	// for Redis, in place of the system's. CertFile and KeyFile are shown to a
	// Redis that asks for a certificate.
	CAFile   string `option:"redis-ca" unset:"the system's" type:"path" placeholder:"FILE" group:"cluster" help:"PEM file with the authorities of Redis's certificate."`
	CertFile string `option:"redis-cert" type:"path" placeholder:"FILE" group:"cluster" help:"PEM file with the gateway's certificate, for a Redis that requires one."`
	KeyFile  string `option:"redis-key" type:"path" placeholder:"FILE" group:"cluster" help:"PEM file with the key of --redis-cert."`
	// Name is what operators call this node. It must be a name (docs/protocol.md).
	Name string
	// Prefix begins the names of all keys and channels, so that several
	// installations can share a Redis. A database number does not separate them,
	// because publish/subscribe knows no databases.
	Prefix string `option:"redis-prefix" default:"labgate" group:"cluster" help:"Prefix of the names of all keys and channels. Installations that share a Redis need different prefixes."`
	// TTL is how long a node that says nothing is believed to be there.
	TTL time.Duration `option:"redis-ttl" default:"10s" min:"1s" max:"10m" group:"cluster" help:"A node that sends nothing for this long counts as gone. Use the same value on all nodes."`
	// Timeout is how long anything may take on its way through Redis, half of TTL
	// at most. A message that was longer on its way is not delivered, and when the
	// node does not hear itself for that long, the bus is down.
	Timeout time.Duration `option:"redis-timeout" unset:"1s, or half of --redis-ttl if that is less" min:"50ms" max:"5m" group:"cluster" help:"Longest time that a message may take through Redis; a message that took longer is not delivered. At most half of --redis-ttl."`
	// TelemetryInterval is how long telemetry waits for more to leave with it, at
	// most MaxTelemetryInterval. Negative: not at all.
	TelemetryInterval time.Duration
	// Sharded carries telemetry over sharded publish/subscribe (Redis 7), which
	// in a Redis Cluster stays on the shard of the device.
	Sharded bool `option:"redis-sharded" group:"cluster" help:"Carries telemetry over sharded publish/subscribe, which in a Redis Cluster stays on one shard. Use it on all nodes or on none."`
	// Logger is told of outages, of nodes that come and go, and of what other
	// programs publish wrongly.
	Logger zerolog.Logger
}

// prepared returns the options with defaults in place of zero values, and where
// Redis is.
func (o Options) prepared() (Options, *redisAddress, error) {
	option.Fill(&o)
	setDefault(&o.Timeout, min(defaultTimeout, o.TTL/2))
	setDefault(&o.TelemetryInterval, DefaultTelemetryInterval)
	if o.TelemetryInterval < 0 {
		o.TelemetryInterval = 0
	}
	if err := o.check(); err != nil {
		return o, nil, err
	}
	a, err := parseURL(o.URL)
	if err != nil {
		return o, nil, err
	}
	if o.PasswordFile != "" {
		if a.password != "" {
			return o, nil, errors.New("cluster: there is a password in the Redis URL and another in a password file; remove one")
		}
		if _, err := readPassword(o.PasswordFile); err != nil {
			return o, nil, err
		}
	}
	if err := a.loadTLS(o.CAFile, o.CertFile, o.KeyFile); err != nil {
		return o, nil, err
	}
	return o, a, nil
}

func (o *Options) check() error {
	if err := option.Check(o); err != nil {
		return err
	}
	switch {
	case !protocol.ValidName(o.Name):
		return fmt.Errorf("cluster: node name %q: 1 to %d letters, digits and . _ : - are allowed", o.Name, protocol.MaxNameLen)
	case len(o.Prefix) > MaxPrefixLen || strings.ContainsFunc(o.Prefix, notPrintable):
		return fmt.Errorf("cluster: key prefix %q: at most %d visible ASCII characters are allowed", o.Prefix, MaxPrefixLen)
	case o.Timeout > o.TTL/2:
		return &option.RangeError{Option: "--redis-timeout", Value: option.FormatDuration(o.Timeout), Bounds: "50ms to half of --redis-ttl, " + option.FormatDuration(o.TTL/2)}
	case o.TelemetryInterval > MaxTelemetryInterval:
		return fmt.Errorf("cluster: telemetry interval is %v, at most %v is allowed", o.TelemetryInterval, MaxTelemetryInterval)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }

// readPassword returns the first line of a file.
func readPassword(path string) (string, error) {
	const limit, fileLimit = 4 << 10, 64 << 10
	b, err := textfile.Read(path, fileLimit)
	if err != nil {
		return "", fmt.Errorf("cluster: password of Redis: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" || len(line) > limit {
		return "", fmt.Errorf("cluster: password of Redis: the first line of %s has %d bytes; 1 to %d are allowed", path, len(line), limit)
	}
	return line, nil
}
