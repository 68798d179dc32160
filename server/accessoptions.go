package server

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/labgate/labgate/internal/access"
)

// AccessOptions say who gets in. Without any of the files everybody does, and
// then the public listener has to be on loopback, or Insecure set.
type AccessOptions struct {
	access.Config
	// TokenWarning is how long before its credential expires a session is told,
	// or half of the time that is left when it begins, if that is less.
	TokenWarning time.Duration `option:"token-warning" default:"1m" min:"100ms" max:"24h" group:"auth" help:"How long before its JWT or certificate expires a session is told, with gateway.token_expiring; half of the time left if that is less. The session renews with gateway.renew, or is closed with 4001."`
	// Insecure allows a public listener beyond loopback that lets in everybody.
	Insecure bool `option:"insecure" group:"auth" help:"Lets everybody in who reaches the gateway, also from other machines. Without this option the gateway does not start on an address beyond loopback unless devices and front ends need a credential."`
}

// checkAccess checks what can be checked without reading a file.
func (o *Options) checkAccess() error {
	if o.ClientCAFile != "" && o.TLSCert == "" {
		return fmt.Errorf("--client-ca needs TLS; give --tls-cert and --tls-key")
	}
	if o.ClientCAFile != "" && o.TLSMode != TLSBlocking {
		return fmt.Errorf("--client-ca needs --tls-mode blocking: client certificates are not checked in %s mode; give devices tokens there", o.TLSMode)
	}
	if o.AdminTokenFile == "" && !onLoopback(o.AdminListen) {
		return fmt.Errorf("--admin-listen %s is not on loopback, and the admin listener shows metrics and profiles; give --admin-token-file, or listen on 127.0.0.1", o.AdminListen)
	}
	return nil
}

// checkExposure refuses a gateway that lets in whoever reaches it from
// elsewhere, unless that was asked for.
func (o *Options) checkExposure(a *access.Authenticator) error {
	if o.Insecure || onLoopback(o.Listen) {
		return nil
	}
	var open []string
	for _, role := range []access.Role{access.RoleDevice, access.RoleFrontend} {
		if a.OpenTo(role) {
			open = append(open, role.String()+"s")
		}
	}
	if len(open) == 0 {
		return nil
	}
	return fmt.Errorf("--listen %s is not on loopback, and anybody who reaches it could connect as one of the %s; give --%s-token-file, --credential-file or a key for JWTs, or allow it with --insecure",
		o.Listen, strings.Join(open, " and "), strings.TrimSuffix(open[0], "s"))
}

// Exposed reports whether the public listener is beyond loopback and lets in
// everybody, as devices, front ends or both. It is so only with Insecure.
func (s *Server) Exposed() bool {
	return !onLoopback(s.opts.Listen) && (s.access.OpenTo(access.RoleDevice) || s.access.OpenTo(access.RoleFrontend))
}

// onLoopback reports whether an address to listen on can be reached from this
// machine only. Of names only localhost is known to be (RFC 6761 section 6.3).
func onLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
