package server

import (
	"fmt"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
	"github.com/labgate/labgate/internal/eventloop"
)

// checkAccess checks what can be checked without reading a file.
func (o *Options) checkAccess() error {
	if o.ClientCAFile != "" && o.TLSCert == "" {
		return fmt.Errorf("--client-ca needs TLS; give --tls-cert and --tls-key")
	}
	if o.ClientCAFile != "" && o.TLSMode != eventloop.TLSBlocking {
		return fmt.Errorf("--client-ca needs --tls-mode blocking: client certificates are not checked in %s mode; give devices tokens there", o.TLSMode)
	}
	if o.AdminTokenFile == "" && !admission.OnLoopback(o.AdminListen) {
		return fmt.Errorf("--admin-listen %s is not on loopback, and the admin listener shows metrics and profiles; give --admin-token-file, or listen on 127.0.0.1", o.AdminListen)
	}
	return nil
}

// checkExposure returns an error when peers on other machines could connect
// without a credential, as one of the open roles, and --insecure is not given.
func (o *Options) checkExposure(open []access.Role) error {
	if o.Insecure || len(open) == 0 {
		return nil
	}
	names := make([]string, len(open))
	for i, role := range open {
		names[i] = role.String() + "s"
	}
	return fmt.Errorf("--listen %s is not on loopback, and anybody who reaches it could connect as one of the %s; give --%s-token-file, --credential-file or a key for JWTs, or allow it with --insecure",
		o.Listen, strings.Join(names, " and "), open[0])
}

// Exposed reports whether the public listener is beyond loopback and lets in
// everybody, as devices, front ends or both. It is so only with Insecure.
func (s *Server) Exposed() bool { return s.admission.Exposed() }
