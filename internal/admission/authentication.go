package admission

import (
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// bearerProtocol is how a browser, which cannot set a header on a WebSocket,
// brings its token: as a sub-protocol beside labgate.v1.
const bearerProtocol = "bearer."

// Authenticate says who makes a request, or why the request is refused. The
// token is the one of the Authorization header or, where there is none, of the
// sub-protocols offered.
func (a *Admission) Authenticate(r *http.Request, role access.Role, name string, offered []string) (access.Identity, *Refusal) {
	id, err := a.authenticator.Authenticate(role, name, presentedToken(r, offered), peerCertificates(r))
	if err == nil {
		return id, nil
	}
	ref := refuse(http.StatusUnauthorized, protocol.ErrNotAllowed, "%s", err.Error())
	ref.Credential = a.countRefusedCredential(err)
	return access.Identity{}, ref
}

// countRefusedCredential counts a refusal of the authenticator's by its reason
// and returns the name of the credential, where it is known.
func (a *Admission) countRefusedCredential(err error) (name string) {
	var known *access.Refusal
	if errors.As(err, &known) {
		a.counters.RefusedCredentials.Add(string(known.Reason))
		return known.Source
	}
	return ""
}

// grant makes the session of an accepted peer what its credential says.
func (a *Admission) grant(info *session.Info, id access.Identity) {
	if info.Name == "" {
		info.Name = id.Name
	}
	info.Rights = rightsOf(id)
	if id.Source != access.SourceOpen {
		info.Credential = id.Source
		info.Access = newCredential(a, id)
	}
}

// rightsOf returns what a front end may do, nil for everything and for a
// device.
func rightsOf(id access.Identity) session.Rights {
	if id.Role != access.RoleFrontend || id.Observe && id.Command && OfAllDevices(id.Permissions) {
		return nil
	}
	return id.Permissions
}

// OfAllDevices reports whether permissions speak of every device.
func OfAllDevices(p access.Permissions) bool {
	return slices.ContainsFunc(p.Devices, func(pattern access.Pattern) bool { return strings.Trim(string(pattern), "*") == "" })
}

// presentedToken returns the token of the Authorization header or of a bearer
// sub-protocol (RFC 6750 section 2.1). One in the query does not count:
// proxies log it.
func presentedToken(r *http.Request, offered []string) string {
	if token, ok := bearerToken(r); ok {
		return token
	}
	for _, p := range offered {
		if token, ok := strings.CutPrefix(p, bearerProtocol); ok {
			return token
		}
	}
	return ""
}

// bearerToken returns the token of the Authorization header.
func bearerToken(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}

// peerCertificates returns the certificates that the client presented, which
// TLS has not verified: the authenticator does.
func peerCertificates(r *http.Request) []*x509.Certificate {
	if r.TLS == nil {
		return nil
	}
	return r.TLS.PeerCertificates
}
