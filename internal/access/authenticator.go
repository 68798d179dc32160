package access

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"
)

// Config says which credentials are accepted. Every field may be empty. Errors
// name the options.
type Config struct {
	// DeviceTokenFile and FrontendTokenFile hold tokens of one role, in clear
	// or hashed. CredentialFile holds hashed tokens of both roles.
	// AdminTokenFile holds tokens for [RoleAdmin]. Each file has at most 8 MiB
	// and 50,000 tokens.
	DeviceTokenFile   string `option:"device-token-file" type:"path" placeholder:"FILE" group:"auth" help:"File with the tokens of devices, one on each line: the token itself, or a line made by labgate token. When the file changes, the gateway reads the file again and closes the sessions of removed tokens with 4001. Devices need no token when neither this option nor --credential-file, --client-ca or a key for JWTs is given."`
	FrontendTokenFile string `option:"frontend-token-file" type:"path" placeholder:"FILE" group:"auth" help:"File with the tokens of front ends and of the HTTP API, as for --device-token-file. Front ends need no token when neither this option nor --credential-file or a key for JWTs is given."`
	CredentialFile    string `option:"credential-file" type:"path" placeholder:"FILE" group:"auth" help:"File with lines made by labgate token, for devices and front ends in one file."`
	AdminTokenFile    string `option:"admin-token-file" type:"path" placeholder:"FILE" group:"auth" help:"File with tokens for the admin listener, which requires a token on every path except /healthz and /readyz. This option is required when --admin-listen is beyond loopback."`

	// JWTKeyFile holds at most 4 public keys or certificates in PEM: RSA for
	// RS256, Ed25519 for EdDSA. JWTSecretFile holds a secret for HS256 of 32 to
	// 4,096 bytes. JWKSFile holds keys for all three algorithms, 64 at most;
	// keys that cannot be used are ignored, see [FileReport]. Each file has at
	// most 256 KiB.
	//
	// A JWT whose kid belongs to a key of the JWKS file must be signed with
	// that key, any other JWT with one of the keys without a kid.
	JWTKeyFile    string `option:"jwt-key-file" type:"path" placeholder:"FILE" group:"auth" help:"PEM file with the public keys of those who issue JWTs: RSA for RS256, Ed25519 for EdDSA. A JWT needs the claims sub (device id or user), role (device or frontend) and exp; for a front end it may have permissions (observe, command) and devices (patterns)."`
	JWTSecretFile string `option:"jwt-secret-file" type:"path" placeholder:"FILE" group:"auth" help:"File with the secret of those who issue JWTs with HS256: at least 32 bytes."`
	JWKSFile      string `option:"jwks-file" type:"path" placeholder:"FILE" group:"auth" help:"JSON Web Key Set (RFC 7517): a file with keys for RS256, EdDSA and HS256. A JWT names its key by the header kid."`
	// JWTIssuer must be the claim iss, and JWTAudience must be in the claim
	// aud. Empty: any.
	JWTIssuer   string `option:"jwt-issuer" placeholder:"ISSUER" unset:"not checked" group:"auth" help:"Required value of the claim iss of a JWT."`
	JWTAudience string `option:"jwt-audience" placeholder:"AUDIENCE" unset:"not checked" group:"auth" help:"Required value in the claim aud of a JWT."`

	// ClientCAFile holds certificates of authorities in PEM, at most 1 MiB. A
	// device may present a certificate that one of them has signed in place of
	// a token. It needs the server's TLSCert and TLSBlocking.
	ClientCAFile string `option:"client-ca" type:"path" placeholder:"FILE" group:"auth" help:"PEM file with the authorities of device certificates. In place of a token, a device may present a certificate with the device id as its common name. Needs TLS with --tls-mode blocking. The gateway reads this file only when it starts."`

	// pollInterval is how often the files are checked for changes.
	// Zero: defaultPollInterval.
	pollInterval time.Duration
}

// Authenticator decides whose credentials are accepted. It is safe for
// concurrent use. Its Store holds the files; see [Store.Watch] and
// [Store.Close].
type Authenticator struct {
	*Store
	jwt *jwtVerifier // nil without a key file
	// authorities have signed the certificates of devices. Nil: certificates
	// are not accepted.
	authorities     *x509.CertPool
	now             func() time.Time
	needsCredential [roles]bool // by role
}

// New reads all files and starts nothing.
func New(c Config) (*Authenticator, error) { return newAuthenticator(c, osFiles{}) }

func newAuthenticator(c Config, fs files) (*Authenticator, error) {
	if c.pollInterval == 0 {
		c.pollInterval = defaultPollInterval
	}
	hasKeys := c.JWTKeyFile != "" || c.JWTSecretFile != "" || c.JWKSFile != ""
	if !hasKeys && (c.JWTIssuer != "" || c.JWTAudience != "") {
		return nil, fmt.Errorf("--jwt-issuer and --jwt-audience do nothing without a key; give --jwt-key-file, --jwt-secret-file or --jwks-file")
	}
	store, err := newStore(fs, c.pollInterval, c.files())
	if err != nil {
		return nil, err
	}
	a := &Authenticator{Store: store, now: time.Now}
	if c.ClientCAFile != "" {
		if a.authorities, err = readAuthorities(fs, c.ClientCAFile); err != nil {
			return nil, fmt.Errorf("--client-ca: %w", err)
		}
	}
	if hasKeys {
		a.jwt = newJWTVerifier(c.JWTIssuer, c.JWTAudience, func() time.Time { return a.now() })
	}
	both := hasKeys || c.CredentialFile != ""
	a.needsCredential[RoleDevice] = both || c.DeviceTokenFile != "" || c.ClientCAFile != ""
	a.needsCredential[RoleFrontend] = both || c.FrontendTokenFile != ""
	a.needsCredential[RoleAdmin] = c.AdminTokenFile != ""
	return a, nil
}

// files returns the files to watch. If two of them hold the same token, the
// earlier file decides.
func (c *Config) files() []*watchedFile {
	var all []*watchedFile
	tokens := func(option, path string, role Role) {
		if path != "" {
			all = append(all, &watchedFile{option: option, path: path, holds: "token", limit: maxTokenFile, parse: func(data []byte) (content, error) {
				credentials, err := parseTokens(data, role)
				return content{credentials: credentials}, err
			}})
		}
	}
	keys := func(option, path string, parse func([]byte) (content, error)) {
		if path != "" {
			all = append(all, &watchedFile{option: option, path: path, holds: "key", limit: maxKeyFile, parse: parse})
		}
	}
	tokens("--device-token-file", c.DeviceTokenFile, RoleDevice)
	tokens("--frontend-token-file", c.FrontendTokenFile, RoleFrontend)
	tokens("--credential-file", c.CredentialFile, 0)
	tokens("--admin-token-file", c.AdminTokenFile, RoleAdmin)
	keys("--jwt-key-file", c.JWTKeyFile, func(data []byte) (content, error) {
		keys, err := parsePEMKeys(data)
		return content{keys: keys}, err
	})
	keys("--jwt-secret-file", c.JWTSecretFile, func(data []byte) (content, error) {
		keys, err := parseSecret(data)
		return content{keys: keys}, err
	})
	keys("--jwks-file", c.JWKSFile, func(data []byte) (content, error) {
		keys, ignored, err := parseJWKS(data)
		return content{keys: keys, ignored: ignored}, err
	})
	return all
}

// OpenTo reports whether the role needs no credential. A role needs one as soon
// as there is a file of tokens, keys or authorities for it.
func (a *Authenticator) OpenTo(role Role) bool {
	return role > 0 && role < roles && !a.needsCredential[role]
}

// Authorities returns the authorities whose certificates devices may present,
// for the server's certificate request, or nil if certificates are not
// accepted.
func (a *Authenticator) Authorities() *x509.CertPool { return a.authorities }

// Authenticate returns the identity that a token proves or, for a device that
// presents no token, a client certificate. A token that is presented decides,
// whatever the certificate. certificates is what the peer presented in the TLS
// handshake, its own first (tls.ConnectionState.PeerCertificates). TLS has
// checked that the peer has the private key; Authenticate checks the rest.
//
// The identity may take the role and the name: an empty name fits every
// credential, and the caller then uses [Identity.Name], which is empty for a
// credential that is not bound. The error is a *[Refusal].
//
// To renew a session's JWT in place, authenticate the new JWT with the
// session's role and name.
func (a *Authenticator) Authenticate(role Role, name, token string, certificates []*x509.Certificate) (Identity, error) {
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
	id, refusal := a.identify(role, token, certificates)
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

// identify returns the identity that a token or a certificate proves, for any
// role and name.
func (a *Authenticator) identify(role Role, token string, certificates []*x509.Certificate) (Identity, *Refusal) {
	if token != "" {
		return a.identifyToken(role, token)
	}
	if a.authorities == nil || role != RoleDevice {
		return Identity{}, refuse(Missing, "", "a token is needed; %s", howToPresent)
	}
	if len(certificates) == 0 {
		return Identity{}, refuse(Missing, "", "a client certificate or a token is needed; %s", howToPresent)
	}
	return a.identifyCertificate(certificates)
}

func (a *Authenticator) identifyToken(role Role, token string) (Identity, *Refusal) {
	snapshot := a.current.Load()
	if len(token) >= MinTokenLen && len(token) <= MaxTokenLen {
		hash := sha256.Sum256([]byte(token))
		// One token may be in the files of several roles.
		for _, r := range [...]Role{role, RoleDevice, RoleFrontend, RoleAdmin} {
			if id, known := snapshot.tokens[r][hash]; known {
				return id, nil
			}
		}
	}
	if a.jwt != nil && role != RoleAdmin && looksLikeJWT(token) {
		return a.jwt.verify(token, &snapshot.keys)
	}
	return Identity{}, refuse(Wrong, "", "the token is not valid; check that it is complete and still in force, and %s", howToPresent)
}
