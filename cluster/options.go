package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/protocol"
)

// Defaults of Options.
const (
	DefaultPrefix            = "labgate"
	DefaultTTL               = 10 * time.Second
	DefaultTimeout           = time.Second
	DefaultTelemetryInterval = 2 * time.Millisecond
)

// Limits of Options.
const (
	MinTTL               = time.Second
	MaxTTL               = 10 * time.Minute
	MinTimeout           = 50 * time.Millisecond
	MaxTelemetryInterval = time.Second
	MaxPrefixLen         = 64
)

// Options of a Bus. The zero value of each field is its default, where it has
// one.
type Options struct {
	// URL says where Redis is; see ParseURL. It must be set.
	URL string
	// PasswordFile holds the password in place of the URL. It is read again for
	// each connection.
	PasswordFile string
	// CAFile holds the certificates, in PEM, of the authorities that may vouch
	// for Redis, in place of the system's. CertFile and KeyFile are shown to a
	// Redis that asks for a certificate.
	CAFile, CertFile, KeyFile string
	// Name is what operators call this node. It must be a name (docs/protocol.md).
	Name string
	// Prefix begins the names of all keys and channels, so that several
	// installations can share a Redis. A database number does not separate them,
	// because publish/subscribe knows no databases.
	Prefix string
	// TTL is how long a node that says nothing is believed to be there, from
	// MinTTL to MaxTTL.
	TTL time.Duration
	// Timeout is how long anything may take on its way through Redis, from
	// MinTimeout to TTL/2. A message that was longer on its way is not delivered,
	// and when the node does not hear itself for that long, the bus is down.
	Timeout time.Duration
	// TelemetryInterval is how long telemetry waits for more to leave with it, at
	// most MaxTelemetryInterval. Negative: not at all.
	TelemetryInterval time.Duration
	// Sharded carries telemetry over sharded publish/subscribe (Redis 7), which
	// in a Redis Cluster stays on the shard of the device.
	Sharded bool
	// Logger is told of outages, of nodes that come and go, and of what other
	// programs publish wrongly.
	Logger zerolog.Logger
}

// prepared returns the options with defaults in place of zero values, and where
// Redis is.
func (o Options) prepared() (Options, *address, error) {
	setDefault(&o.Prefix, DefaultPrefix)
	setDefault(&o.TTL, DefaultTTL)
	setDefault(&o.Timeout, min(DefaultTimeout, o.TTL/2))
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
			return o, nil, errors.New("cluster: a password both in the Redis URL and in a password file; remove one")
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
	switch {
	case !protocol.ValidName(o.Name):
		return fmt.Errorf("cluster: node name %q: 1 to %d letters, digits and . _ : - are allowed", o.Name, protocol.MaxNameLen)
	case len(o.Prefix) > MaxPrefixLen || strings.ContainsFunc(o.Prefix, notPrintable):
		return fmt.Errorf("cluster: key prefix %q: at most %d visible ASCII characters are allowed", o.Prefix, MaxPrefixLen)
	case o.TTL < MinTTL || o.TTL > MaxTTL:
		return fmt.Errorf("cluster: time to live of a node is %v; it must be from %v to %v", o.TTL, MinTTL, MaxTTL)
	case o.Timeout < MinTimeout || o.Timeout > o.TTL/2:
		return fmt.Errorf("cluster: timeout of Redis is %v; it must be from %v to half the time to live of a node, %v", o.Timeout, MinTimeout, o.TTL/2)
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
	const limit = 4 << 10
	b, err := os.ReadFile(path)
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
