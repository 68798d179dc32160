package main

import (
	"time"

	"github.com/labgate/labgate/server"
)

// accessFlags are the options of labgate serve that say who gets in.
type accessFlags struct {
	DeviceTokenFile   string `group:"auth" help:"File with the tokens that devices must present, one a line: the token itself, or the line that labgate token prints. Read again when it changes; the sessions of a token that is gone are closed with 4001. Without this, --credential-file, a key for JWTs and --client-ca, devices need none." type:"path" placeholder:"FILE"`
	FrontendTokenFile string `group:"auth" help:"The same for front ends and the HTTP API." type:"path" placeholder:"FILE"`
	CredentialFile    string `group:"auth" help:"The same for both: lines that labgate token prints." type:"path" placeholder:"FILE"`
	JWTKeyFile        string `group:"auth" name:"jwt-key-file" help:"PEM file with the public keys of those who issue JWTs: RSA for RS256, Ed25519 for EdDSA. Claims: sub is the device id or user, role is device or frontend, exp is required; permissions (observe, command) and devices (patterns) of a front end." type:"path" placeholder:"FILE"`
	JWTSecretFile     string `group:"auth" name:"jwt-secret-file" help:"File with the secret of those who issue JWTs with HS256, 32 bytes at least." type:"path" placeholder:"FILE"`
	JWKSFile          string `group:"auth" name:"jwks-file" help:"JWKS file with such keys, which JWTs name by their kid." type:"path" placeholder:"FILE"`
	JWTIssuer         string `group:"auth" name:"jwt-issuer" help:"What the claim iss of a JWT must be. Default: not looked at." placeholder:"ISSUER"`
	JWTAudience       string `group:"auth" name:"jwt-audience" help:"What the claim aud of a JWT must hold. Default: not looked at." placeholder:"AUDIENCE"`
	ClientCA          string `group:"auth" name:"client-ca" help:"PEM file with the authorities of device certificates: a device may present one whose name is the device id in place of a token. Needs TLS, and --tls-mode blocking. Read at the start." type:"path" placeholder:"FILE"`

	TokenWarning   time.Duration `group:"auth" help:"How long before its JWT or certificate expires a session is told, with gateway.token_expiring; half of the time left if that is less. It renews with gateway.renew, or is closed with 4001." default:"1m"`
	AdminTokenFile string        `group:"auth" help:"File with the tokens that the admin listener asks for on every path but /healthz and /readyz. Needed when it listens beyond loopback." type:"path" placeholder:"FILE"`
	Insecure       bool          `group:"auth" help:"Let everybody in who reaches the gateway, also from other machines. Without it the gateway does not start on an address beyond loopback unless devices and front ends need a credential."`
}

func (f *accessFlags) accessOptions() server.AccessOptions {
	return server.AccessOptions{
		DeviceTokenFile: f.DeviceTokenFile, FrontendTokenFile: f.FrontendTokenFile, CredentialFile: f.CredentialFile, AdminTokenFile: f.AdminTokenFile,
		JWTKeyFile: f.JWTKeyFile, JWTSecretFile: f.JWTSecretFile, JWKSFile: f.JWKSFile, JWTIssuer: f.JWTIssuer, JWTAudience: f.JWTAudience,
		ClientCA: f.ClientCA, TokenWarning: f.TokenWarning, Insecure: f.Insecure,
	}
}

// warnExposed says when strangers on the network can connect.
func warnExposed(out *Streams, s *server.Server) {
	if s.Exposed() {
		out.Log.Warn().Str("listen", s.Addr()).Msg("INSECURE: anybody who reaches this address can connect and command every device; --insecure allows it. Give --device-token-file and --frontend-token-file, or keys for JWTs, and leave --insecure away")
	}
}
