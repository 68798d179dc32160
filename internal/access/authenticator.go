package access

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"
)

// Config says what lets somebody in. Every field may be left empty. The options
// named are those of labgate serve; errors name them.
type Config struct {
	// DeviceTokenFile and FrontendTokenFile hold tokens of one role, in clear
	// or hashed (--device-token-file, --frontend-token-file). CredentialFile
	// holds hashed tokens of both (--credential-file). At most 8 MiB and 50,000
	// tokens each.
	DeviceTokenFile, FrontendTokenFile, CredentialFile string
	// AdminTokenFile holds tokens of the same form for [RoleAdmin]
	// (--admin-token-file).
	AdminTokenFile string

	// JWTKeyFile holds at most 4 public keys or certificates in PEM: RSA for
	// RS256, Ed25519 for EdDSA (--jwt-key-file). JWTSecretFile is a secret for
	// HS256 of 32 to 4096 bytes, but for a line break at its end
	// (--jwt-secret-file). JWKSFile holds keys for all three (--jwks-file). A
	// JWT whose kid is that of a key in the JWKS file must be signed by that
	// key; every other by one of the keys without a kid.
	JWTKeyFile, JWTSecretFile, JWKSFile string
	// JWTIssuer and JWTAudience are what the claim iss must be and the claim
	// aud must hold. Empty: not looked at. (--jwt-issuer, --jwt-audience)
	JWTIssuer, JWTAudience string

	// ClientCertificates: devices may present a certificate instead of a token
	// (--client-ca).
	ClientCertificates bool

	// PollInterval is how often the files are looked at.
	// Zero: [DefaultPollInterval].
	PollInterval time.Duration
}

// Authenticator says who somebody is. It is safe for concurrent use. Its Store
// holds the files; see [Store.Watch] and [Store.Close].
type Authenticator struct {
	*Store
	jwt  *jwtVerifier // nil without a key file
	cert bool
	now  func() time.Time
	// guarded tells for each role whether it needs a credential.
	guarded [roles]bool
}

// New reads all files. It starts nothing.
func New(c Config) (*Authenticator, error) { return newAuthenticator(c, osFiles{}) }

func newAuthenticator(c Config, fs files) (*Authenticator, error) {
	if c.PollInterval < 0 {
		return nil, fmt.Errorf("poll interval %v is out of range; use more than 0", c.PollInterval)
	}
	if c.PollInterval == 0 {
		c.PollInterval = DefaultPollInterval
	}
	hasKeys := c.JWTKeyFile != "" || c.JWTSecretFile != "" || c.JWKSFile != ""
	if !hasKeys && (c.JWTIssuer != "" || c.JWTAudience != "") {
		return nil, fmt.Errorf("--jwt-issuer and --jwt-audience do nothing without a key; give --jwt-key-file, --jwt-secret-file or --jwks-file")
	}
	store, err := newStore(fs, c.PollInterval, c.files())
	if err != nil {
		return nil, err
	}
	a := &Authenticator{Store: store, cert: c.ClientCertificates, now: time.Now}
	if hasKeys {
		a.jwt = newJWTVerifier(c.JWTIssuer, c.JWTAudience, func() time.Time { return a.now() })
	}
	both := hasKeys || c.CredentialFile != ""
	a.guarded[RoleDevice] = both || c.DeviceTokenFile != "" || c.ClientCertificates
	a.guarded[RoleFrontend] = both || c.FrontendTokenFile != ""
	a.guarded[RoleAdmin] = c.AdminTokenFile != ""
	return a, nil
}

// files lists the files to watch. The order decides where two of them hold the
// same token.
func (c *Config) files() []*watchedFile {
	var all []*watchedFile
	tokens := func(option, path string, role Role) {
		if path != "" {
			all = append(all, &watchedFile{option: option, path: path, holds: "token", limit: maxTokenFile, parse: func(data []byte) (part, error) {
				credentials, err := parseTokens(data, role)
				return part{credentials: credentials}, err
			}})
		}
	}
	keys := func(option, path string, parse func([]byte) ([]key, error)) {
		if path != "" {
			all = append(all, &watchedFile{option: option, path: path, holds: "key", limit: maxKeyFile, parse: func(data []byte) (part, error) {
				keys, err := parse(data)
				return part{keys: keys}, err
			}})
		}
	}
	tokens("--device-token-file", c.DeviceTokenFile, RoleDevice)
	tokens("--frontend-token-file", c.FrontendTokenFile, RoleFrontend)
	tokens("--credential-file", c.CredentialFile, 0)
	tokens("--admin-token-file", c.AdminTokenFile, RoleAdmin)
	keys("--jwt-key-file", c.JWTKeyFile, parsePEMKeys)
	keys("--jwt-secret-file", c.JWTSecretFile, parseSecret)
	keys("--jwks-file", c.JWKSFile, parseJWKS)
	return all
}

// Open reports whether every device and every front end gets in.
func (a *Authenticator) Open() bool { return a.OpenTo(RoleDevice) && a.OpenTo(RoleFrontend) }

// OpenTo reports whether everybody gets in who asks for that role. A role is
// guarded as soon as there is a file or a certificate authority that could let
// somebody in as that.
func (a *Authenticator) OpenTo(role Role) bool {
	return role > 0 && role < roles && !a.guarded[role]
}

// Authenticate returns who presents the token, or, for a device without a
// token, the verified client certificate (see [FromCertificate]), given that it
// may take the role and the name. An empty name fits every credential: the
// caller then takes [Identity.Name], which is empty for a credential that is
// not bound. The error is a *[Refusal].
//
// To renew a session's JWT in place, authenticate the new one with the
// session's role and name.
func (a *Authenticator) Authenticate(role Role, name, presentedToken string, cert *x509.Certificate) (Identity, error) {
	if role == 0 || role >= roles {
		return Identity{}, refuse(WrongRole, "", "there is no such role; use device or frontend")
	}
	if a.OpenTo(role) {
		id := Identity{Role: role, Source: SourceOpen}
		if role == RoleFrontend {
			id.Permissions = everything()
		}
		return id, nil
	}
	id, refusal := a.identify(role, presentedToken, cert)
	if refusal != nil {
		return Identity{}, refusal
	}
	if id.Role != role {
		return Identity{}, refuse(WrongRole, id.Source, "the credential is not one for the role %s; use one for it", role)
	}
	if id.Name != "" && name != "" && id.Name != name {
		what := "user"
		if role == RoleDevice {
			what = "device"
		}
		return Identity{}, refuse(WrongName, id.Source, "the credential is bound to another %s; use one for this %s", what, what)
	}
	return id, nil
}

// identify returns the identity of what is presented, of whatever role and
// name.
func (a *Authenticator) identify(role Role, token string, cert *x509.Certificate) (Identity, *Refusal) {
	if token != "" {
		return a.identifyToken(role, token)
	}
	if !a.cert || role != RoleDevice {
		return Identity{}, refuse(Missing, "", "a token is needed; %s", howToPresent)
	}
	if cert == nil {
		return Identity{}, refuse(Missing, "", "a client certificate or a token is needed; %s", howToPresent)
	}
	id, err := FromCertificate(cert)
	if err != nil {
		return Identity{}, refuse(Wrong, "", "%v", err)
	}
	// TLS looked at the time when the connection began.
	switch now := a.now(); {
	case now.After(cert.NotAfter):
		return Identity{}, refuse(Expired, id.Source, "the certificate has expired; get a new one")
	case now.Before(cert.NotBefore):
		return Identity{}, refuse(NotYet, id.Source, "the certificate is not valid yet; wait, or set the clocks")
	}
	return id, nil
}

func (a *Authenticator) identifyToken(role Role, token string) (Identity, *Refusal) {
	snapshot := a.current.Load()
	if len(token) >= MinTokenLen && len(token) <= MaxTokenLen {
		hash := sha256.Sum256([]byte(token))
		// A token may be there for both roles, granting each its own.
		for _, r := range [...]Role{role, RoleDevice, RoleFrontend, RoleAdmin} {
			if id, known := snapshot.tokens[r][hash]; known {
				return id, nil
			}
		}
	}
	if a.jwt != nil && role != RoleAdmin && looksLikeJWT(token) {
		return a.jwt.verify(token, &snapshot.keys)
	}
	return Identity{}, refuse(Wrong, "", "the token is not valid; check that it is whole and still in force, and %s", howToPresent)
}
