// Package admission decides who may connect: connections and sessions within
// the limits on their number, pages of allowed origins, handshakes that are
// sound, and peers whose credential is in force. It ends a session when its
// credential ends.
package admission

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/rs/zerolog"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/events"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// RightsSetter is who holds front ends to their rights.
type RightsSetter interface {
	// SetRights changes what a session may do from now on; nil permits
	// everything.
	SetRights(s *session.Session, rights session.Rights)
}

// Admission lets peers in, or refuses them. Its methods may be called on any
// goroutine.
//
// Goroutine: one of the authenticator's, which watches the files of
// credentials, from Watch to Close.
type Admission struct {
	// Static after Bind.
	opts          Options
	log           zerolog.Logger
	events        events.Listener // never nil
	authenticator *access.Authenticator
	trusted       proxies
	origins       allowedOrigins
	sessions      *session.Manager
	rights        RightsSetter

	// What is counted, each with a lock of its own.
	counters    Counters
	addresses   quota[addressKey]
	users       quota[string]
	credentials quota[string]
	rate        connectionRate

	draining atomic.Bool
}

// New reads the files of credentials; it starts nothing. Bind the Admission
// before a handshake comes.
func New(opts Options) (*Admission, error) {
	trusted, err := parseProxies(opts.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("--trusted-proxies: %w", err)
	}
	origins, err := parseAllowedOrigins(opts.AllowedOrigins)
	if err != nil {
		return nil, fmt.Errorf("--allowed-origins %w", err)
	}
	authenticator, err := access.New(opts.Config)
	if err != nil {
		return nil, err
	}
	return &Admission{
		opts: opts, log: opts.Logger, events: events.OrNop(opts.Events), authenticator: authenticator, trusted: trusted, origins: origins,
		addresses:   quota[addressKey]{limit: opts.MaxConnectionsPerAddress},
		users:       quota[string]{limit: opts.MaxSessionsPerUser},
		credentials: quota[string]{limit: opts.MaxSessionsPerCredential},
		rate:        connectionRate{rate: opts.MaxConnectionRate},
	}, nil
}

// Bind ties the Admission to the sessions that it lets in, and to who holds
// them to their rights.
func (a *Admission) Bind(m *session.Manager, r RightsSetter) { a.sessions, a.rights = m, r }

// Watch lets changed files of credentials take effect: sessions whose credential
// is gone are ended, and no others. Close ends that.
func (a *Admission) Watch() {
	for _, f := range a.authenticator.Files() {
		a.logIgnoredKeys(f)
	}
	a.authenticator.Watch(access.Events{
		Revoked: a.revoked,
		Reloaded: func(f access.FileReport) {
			a.counters.Reloads.Add(1)
			a.tellRead(f)
			a.logIgnoredKeys(f)
		},
		Failed: func(err error) {
			a.counters.ReloadFailures.Add(1)
			a.events.FileRead(events.FileRead{Err: err})
		},
	})
}

// logIgnoredKeys says which keys of a JWKS are not used, and why.
func (a *Admission) logIgnoredKeys(f access.FileReport) {
	if f.Ignored > 0 {
		a.log.Warn().Str("file", f.Path).Int("ignored", f.Ignored).Int("credentials", f.Credentials).Str("reasons", f.IgnoredReasons).Msg("some keys of the JWKS are ignored")
	}
}

// Authorities returns the authorities whose client certificates devices may
// present, nil for none.
func (a *Admission) Authorities() *x509.CertPool { return a.authenticator.Authorities() }

// Close ends the watching of files.
func (a *Admission) Close() { a.authenticator.Close() }

// Counters returns what was counted.
func (a *Admission) Counters() *Counters { return &a.counters }

// OpenTo reports whether a role needs no credential.
func (a *Admission) OpenTo(role access.Role) bool { return a.authenticator.OpenTo(role) }

// Drain refuses every handshake and request from now on.
func (a *Admission) Drain() { a.draining.Store(true) }

// Draining reports whether Drain was called.
func (a *Admission) Draining() bool { return a.draining.Load() }

// CheckDraining refuses a request after Drain.
func (a *Admission) CheckDraining() *Refusal {
	if !a.draining.Load() {
		return nil
	}
	return a.refuseForNow("", http.StatusServiceUnavailable, protocol.ErrUnavailable, "the gateway is shutting down; try again shortly")
}
