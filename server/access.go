package server

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// bearerProtocol is how a browser, which cannot set a header on a WebSocket,
// brings its token: as a sub-protocol beside labgate.v1.
const bearerProtocol = "bearer."

// newAccess reads the files that let somebody in; it starts nothing.
func newAccess(o *AccessOptions) (*access.Authenticator, error) {
	return access.New(o.Config)
}

// watcher has the goroutine that watches the certificate.
type watcher struct {
	quit chan struct{}
	wait sync.WaitGroup
}

// watchFiles has changed files take effect: nobody is dropped but those whose
// credential is gone.
func (s *Server) watchFiles() {
	if s.certificate != nil {
		s.watcher.quit = make(chan struct{})
		s.watcher.wait.Go(func() { s.certificate.watch(s.watcher.quit) })
	}
	for _, f := range s.access.Files() {
		s.logIgnoredKeys(f)
	}
	s.access.Watch(access.Events{
		Revoked: s.revoked,
		Reloaded: func(f access.FileReport) {
			s.stats.reloads.Add(1)
			s.log.Info().Str("file", f.Path).Int("credentials", f.Credentials).Msg("a file of credentials has changed and is in force")
			s.logIgnoredKeys(f)
		},
		Failed: func(err error) {
			s.stats.reloadFailures.Add(1)
			s.log.Error().Err(err).Msg("a file of credentials cannot be used; what it held before stays in force")
		},
	})
}

// logIgnoredKeys says which keys of a JWKS are not used, and why.
func (s *Server) logIgnoredKeys(f access.FileReport) {
	if f.Ignored > 0 {
		s.log.Warn().Str("file", f.Path).Int("ignored", f.Ignored).Int("credentials", f.Credentials).Str("reasons", f.IgnoredReasons).Msg("some keys of the JWKS are ignored")
	}
}

func (s *Server) stopWatching() {
	s.access.Close()
	if s.watcher.quit != nil {
		close(s.watcher.quit)
		s.watcher.wait.Wait()
	}
}

// admit says who makes a request, or why nobody. The token is the one of the
// Authorization header or, where there is none, of the sub-protocols offered.
func (s *Server) admit(r *http.Request, role access.Role, name string, offered []string) (access.Identity, *refusal) {
	id, err := s.access.Authenticate(role, name, presentedToken(r, offered), peerCertificates(r))
	if err == nil {
		return id, nil
	}
	ref := refuse(http.StatusUnauthorized, protocol.ErrNotAllowed, "%s", err.Error())
	ref.credential = s.countRefusal(err)
	return access.Identity{}, ref
}

// countRefusal counts a refusal of the authenticator's by its reason and
// returns the credential that it is about, for the log, if it knows it.
func (s *Server) countRefusal(err error) (credential string) {
	var known *access.Refusal
	if errors.As(err, &known) {
		s.stats.refuseCredential(known.Reason)
		return known.Source
	}
	return ""
}

// grant makes an admitted peer's session what its credential says.
func (s *Server) grant(info *session.Info, id access.Identity) {
	if info.Name == "" {
		info.Name = id.Name
	}
	info.Rights = rightsOf(id)
	if id.Source != access.SourceOpen {
		info.Credential = id.Source
		info.Access = newLease(s, id)
	}
}

// rightsOf returns what a front end may do, nil for everything and for a
// device.
func rightsOf(id access.Identity) session.Rights {
	if id.Role != access.RoleFrontend || id.Observe && id.Command && ofAllDevices(id.Permissions) {
		return nil
	}
	return id.Permissions
}

// ofAllDevices reports whether permissions speak of every device.
func ofAllDevices(p access.Permissions) bool {
	return slices.ContainsFunc(p.Devices, func(pattern access.Pattern) bool { return strings.Trim(string(pattern), "*") == "" })
}

// accessRole names a session's role as package access does.
func accessRole(r session.Role) access.Role {
	if r == session.RoleDevice {
		return access.RoleDevice
	}
	return access.RoleFrontend
}

// presentedToken returns the token of the Authorization header or of a bearer
// sub-protocol (RFC 6750 section 2.1). One in the query does not count:
// proxies log it.
func presentedToken(r *http.Request, offered []string) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	for _, p := range offered {
		if token, ok := strings.CutPrefix(p, bearerProtocol); ok {
			return token
		}
	}
	return ""
}

// peerCertificates returns the certificates that the client presented, which
// nobody has verified yet.
func peerCertificates(r *http.Request) []*x509.Certificate {
	if r.TLS == nil {
		return nil
	}
	return r.TLS.PeerCertificates
}

// identityKey is the key of a request's identity in its context.
type identityKey struct{}

func withIdentity(r *http.Request, id access.Identity) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), identityKey{}, id))
}

// identityOf returns who makes a request of the HTTP API; nobody, who may do
// nothing, where that was not found out.
func identityOf(r *http.Request) access.Identity {
	id, _ := r.Context().Value(identityKey{}).(access.Identity)
	return id
}
