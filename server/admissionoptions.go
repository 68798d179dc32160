package server

import "fmt"

// AdmissionOptions bound who may connect, and how often.
type AdmissionOptions struct {
	// MaxConnections bounds the connections; what the descriptors allow.
	MaxConnections int `option:"max-connections" default:"0" min:"0" max:"1048576" zero:"as many as file descriptors allow" group:"net" help:"Greatest number of connections; more are answered with 503."`
	// MaxConnectionsPerAddress bounds the connections of one client address, and
	// MaxConnectionRate how many are let in a second.
	MaxConnectionsPerAddress int     `option:"max-connections-per-address" default:"0" min:"0" max:"1048576" zero:"no limit" group:"net" help:"Greatest number of connections of one client address; more are answered with 429. An IPv6 address counts with its /64 network."`
	MaxConnectionRate        float64 `option:"max-connection-rate" default:"0" min:"0" max:"1000000" zero:"no limit" placeholder:"RATE" group:"net" help:"New connections a second; more are answered with 503 and Retry-After. The waiting times in Retry-After differ, so that the clients do not all come back at once."`
	// MaxSessionsPerUser bounds the sessions of one user,
	// MaxSessionsPerCredential those of one token, JWT or certificate.
	MaxSessionsPerUser       int `option:"max-sessions-per-user" default:"0" min:"0" max:"1048576" zero:"no limit" group:"net" help:"Greatest number of sessions of one user; more are answered with 429."`
	MaxSessionsPerCredential int `option:"max-sessions-per-credential" default:"0" min:"0" max:"1048576" zero:"no limit" group:"net" help:"Greatest number of sessions of one token, JWT or certificate; more are answered with 429. This bounds what a token can do that is bound to no device."`
	// TrustedProxies are addresses and networks (CIDR) whose X-Forwarded-For is
	// believed.
	TrustedProxies []string `option:"trusted-proxies" placeholder:"CIDR" group:"net" help:"Addresses and networks of reverse proxies. Their X-Forwarded-For names the client in limits, log and API; from all other addresses X-Forwarded-For is ignored."`
	// AllowedOrigins are the origins that browsers may come from besides the
	// gateway's own; "*" allows all.
	AllowedOrigins []string `option:"allowed-origins" placeholder:"ORIGIN" group:"auth" help:"Origins that browsers may come from besides the gateway's own, such as https://lab.example; * allows all."`
}

func (o *AdmissionOptions) checkAdmission() error {
	if _, err := parseProxies(o.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	return nil
}
