package server

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/admission"
)

// TestExposure: beyond loopback only with authentication, or when insecurity is
// asked for; the admin listener only with a token.
func TestExposure(t *testing.T) {
	dir := t.TempDir()
	tokens := writeFile(t, filepath.Join(dir, "tokens"), deviceToken)
	secret := writeFile(t, filepath.Join(dir, "secret"), jwtSecret)
	for name, c := range map[string]struct {
		listen, admin string
		o             admission.CredentialOptions
		says          string
	}{
		"loopback":              {"127.0.0.1:0", "", admission.CredentialOptions{}, ""},
		"loopback of IPv6":      {"[::1]:0", "[::1]:0", admission.CredentialOptions{}, ""},
		"localhost":             {"localhost:0", "localhost:0", admission.CredentialOptions{}, ""},
		"another of 127/8":      {"127.8.9.1:0", "", admission.CredentialOptions{}, ""},
		"all":                   {":8080", "", admission.CredentialOptions{}, "--listen :8080 is not on loopback, and anybody who reaches it could connect as one of the devices and frontends"},
		"all of IPv4":           {"0.0.0.0:8080", "", admission.CredentialOptions{}, "--insecure"},
		"all of IPv6":           {"[::]:8080", "", admission.CredentialOptions{}, "--insecure"},
		"a name":                {"lab.example:8080", "", admission.CredentialOptions{}, "--insecure"},
		"front ends are open":   {":8080", "", admission.CredentialOptions{Config: access.Config{DeviceTokenFile: tokens}}, "as one of the frontends; give --frontend-token-file"},
		"devices are open":      {":8080", "", admission.CredentialOptions{Config: access.Config{FrontendTokenFile: tokens}}, "as one of the devices; give --device-token-file"},
		"both need a token":     {":8080", "", admission.CredentialOptions{Config: access.Config{DeviceTokenFile: tokens, FrontendTokenFile: tokens}}, ""},
		"JWT":                   {":8080", "", admission.CredentialOptions{Config: access.Config{JWTSecretFile: secret}}, ""},
		"insecure":              {":8080", "", admission.CredentialOptions{Insecure: true}, ""},
		"admin":                 {"", ":8081", admission.CredentialOptions{}, "--admin-listen :8081 is not on loopback"},
		"admin, insecure":       {"", ":8081", admission.CredentialOptions{Insecure: true}, "--admin-token-file"},
		"admin with a token":    {"", ":8081", admission.CredentialOptions{Config: access.Config{AdminTokenFile: tokens}}, ""},
		"certificates, no TLS":  {"", "", admission.CredentialOptions{Config: access.Config{ClientCAFile: tokens}}, "--client-ca needs TLS"},
		"warning":               {"", "", admission.CredentialOptions{TokenWarning: time.Millisecond}, "--token-warning 1ms is out of range"},
		"a claim without a key": {"", "", admission.CredentialOptions{Config: access.Config{JWTIssuer: "x"}}, "--jwt-issuer"},
	} {
		_, err := New(Options{ListenOptions: ListenOptions{Listen: c.listen, AdminListen: c.admin}, CredentialOptions: c.o})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
