package admission

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/events"
)

// Options configures an Admission. The options named are those of labgate serve.
type Options struct {
	LimitOptions
	CredentialOptions

	// Listen is the public address, host:port: on loopback, names that others
	// may have made to point to this machine are refused. TLS says that the
	// public listener has it.
	Listen string
	TLS    bool
	// RetryAfter is what those refused for now are told to wait (--retry-after).
	RetryAfter time.Duration
	// Echo lets in the role echo (--debug-echo).
	Echo bool

	Logger zerolog.Logger
	// Events is told of refusals, and of files read again; nil for nobody.
	Events events.Listener
}

// LimitOptions bound who may connect, and how often.
type LimitOptions struct {
	// MaxConnections bounds the connections; what the descriptors allow.
	MaxConnections int `option:"max-connections" default:"0" min:"0" max:"1048576" zero:"as many as file descriptors allow" group:"net" help:"Greatest number of connections. Further connections are refused with 503."`
	// MaxConnectionsPerAddress bounds the connections of one client address, and
	// MaxConnectionRate how many are let in a second.
	MaxConnectionsPerAddress int     `option:"max-connections-per-address" default:"0" min:"0" max:"1048576" zero:"no limit" group:"net" help:"Greatest number of connections from one client address. Further connections are refused with 429. All IPv6 addresses of a /64 network count as one."`
	MaxConnectionRate        float64 `option:"max-connection-rate" default:"0" min:"0" max:"1000000" zero:"no limit" placeholder:"RATE" group:"net" help:"New connections a second. Further connections are refused with 503 and Retry-After. The times in Retry-After differ, so that the clients do not all come back at once."`
	// MaxSessionsPerUser bounds the sessions of one user,
	// MaxSessionsPerCredential those of one token, JWT or certificate.
	MaxSessionsPerUser       int `option:"max-sessions-per-user" default:"0" min:"0" max:"1048576" zero:"no limit" group:"net" help:"Greatest number of sessions of one user; more are answered with 429."`
	MaxSessionsPerCredential int `option:"max-sessions-per-credential" default:"0" min:"0" max:"1048576" zero:"no limit" group:"net" help:"Greatest number of sessions of one token, JWT or certificate; more are answered with 429. A token that is not bound to one device id can take any id; this limits how many at once."`
	// TrustedProxies are addresses and networks (CIDR) whose X-Forwarded-For is
	// believed.
	TrustedProxies []string `option:"trusted-proxies" placeholder:"CIDR" group:"net" help:"Addresses and networks of reverse proxies. Their X-Forwarded-For names the client in limits, log and API; from all other addresses X-Forwarded-For is ignored."`
	// AllowedOrigins are the origins whose pages may use the gateway besides its
	// own: scheme, host and port (RFC 6454). "null" allows pages without an
	// origin of their own, "*" all.
	AllowedOrigins []string `option:"allowed-origins" placeholder:"ORIGIN" group:"auth" help:"Origins of web pages that may use the gateway besides its own page, for example https://lab.example or http://10.0.0.5:3000. The value null allows pages opened from a file, and sandboxed frames of every site; * allows every page."`
}

// Check refuses proxies and origins that cannot be read, and origins that no
// browser sends. The error names the option.
func (o *LimitOptions) Check() error {
	if _, err := parseProxies(o.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if _, err := parseAllowedOrigins(o.AllowedOrigins); err != nil {
		return fmt.Errorf("--allowed-origins %w", err)
	}
	return nil
}

// CredentialOptions say whose credential is good. Without any of the files
// everybody is let in, and then the public listener has to be on loopback, or
// Insecure set.
type CredentialOptions struct {
	access.Config
	// TokenWarning is how long before its credential expires a session is told,
	// or half of the time that is left when it begins, if that is less.
	TokenWarning time.Duration `option:"token-warning" default:"1m" min:"100ms" max:"24h" group:"auth" help:"A session gets gateway.token_expiring this long before its JWT or certificate expires, but not before half of its time has passed. It is closed with 4001 unless it renews the credential with gateway.renew."`
	// Insecure allows a public listener beyond loopback that lets in everybody.
	Insecure bool `option:"insecure" group:"auth" help:"Lets everybody who reaches the gateway connect without a credential, from other machines too. Without this option the gateway starts beyond loopback only if devices and front ends need a credential."`
}
