package admission

import (
	"net"
	"net/netip"
	"strings"

	"github.com/labgate/labgate/internal/access"
)

// Exposed reports whether the public listener is beyond loopback and lets in
// everybody, as devices, front ends or both.
func (a *Admission) Exposed() bool { return len(a.ExposedRoles()) > 0 }

// ExposedRoles lists the roles that peers on other machines may take without a
// credential.
func (a *Admission) ExposedRoles() []access.Role {
	if OnLoopback(a.opts.Listen) {
		return nil
	}
	var open []access.Role
	for _, role := range []access.Role{access.RoleDevice, access.RoleFrontend} {
		if a.authenticator.OpenTo(role) {
			open = append(open, role)
		}
	}
	return open
}

// OnLoopback reports whether an address to listen on, host:port, can be reached
// from this machine only. Of names only localhost is known to be (RFC 6761
// section 6.3).
func OnLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// OfThisMachine reports whether a Host field names a machine by address, or as
// localhost (RFC 6761 section 6.3): names that nobody else can have made to
// point here.
func OfThisMachine(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	host = strings.ToLower(host)
	return err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
