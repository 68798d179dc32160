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
	// DeviceTokenFile and FrontendTokenFile hold the bearer tokens of each
	// role, one a line, in clear or hashed; CredentialFile holds hashed ones of
	// both.
	DeviceTokenFile, FrontendTokenFile, CredentialFile string
	// JWTKeyFile (PEM), JWTSecretFile and JWKSFile hold the keys that JWTs are
	// checked with; JWTIssuer and JWTAudience what their iss and aud must be.
	JWTKeyFile, JWTSecretFile, JWKSFile, JWTIssuer, JWTAudience string
	// ClientCA is a PEM file with the authorities of device certificates. It
	// needs TLSCert and TLSBlocking.
	ClientCA string
	// TokenWarning is how long before its credential expires a session is told,
	// 100 ms to 24 h, or half of the time that is left when it begins, if that
	// is less; 1 min.
	TokenWarning time.Duration
	// AdminTokenFile holds the tokens of the admin listener, which has to be on
	// loopback without one.
	AdminTokenFile string
	// Insecure allows a public listener beyond loopback that lets in everybody.
	Insecure bool
}

// checkAccess fills in the defaults and checks what can be checked without
// reading a file.
func (o *Options) checkAccess() error {
	def(&o.TokenWarning, time.Minute)
	if o.TokenWarning < 100*time.Millisecond || o.TokenWarning > 24*time.Hour {
		return fmt.Errorf("--token-warning %v is out of range; use %v to %v", o.TokenWarning, 100*time.Millisecond, 24*time.Hour)
	}
	if o.ClientCA != "" && o.TLSCert == "" {
		return fmt.Errorf("--client-ca needs TLS; give --tls-cert and --tls-key")
	}
	if o.ClientCA != "" && o.TLSMode != TLSBlocking {
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
