package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Tokens and secrets of the tests. No error and no Source may contain eight
// characters of one in a row; mustHide checks that.
const (
	tokenA     = "QWxpY2UtaGFzLXRoZS1rZXk"
	tokenB     = "Qm9iLWhhcy1hbm90aGVyLW9uZQ"
	testSecret = "8fJq2vNw0Zr5Tt7Yc1Lk9Xb3Gh6Md4Ps"
)

// theRSA and theEd25519 are made once, because making an RSA key is slow.
var (
	theRSA     = sync.OnceValue(newRSA)
	otherRSA   = sync.OnceValue(newRSA)
	theEd25519 = sync.OnceValue(func() ed25519.PrivateKey {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return private
	})
)

func newRSA() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
}

func pemPublic(t testing.TB, public any) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// members is a JSON object under construction.
type members = map[string]any

func jwkRSA(kid string, k *rsa.PublicKey) members {
	return members{"kty": "RSA", "kid": kid, "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
}

func jwkEd25519(kid string, k ed25519.PublicKey) members {
	return members{"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(k)}
}

func jwkSecret(kid, secret string) members {
	return members{"kty": "oct", "kid": kid, "k": b64([]byte(secret))}
}

func jwks(keys ...members) string {
	if keys == nil {
		keys = []members{}
	}
	data, err := json.Marshal(map[string][]members{"keys": keys})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// with returns a copy of m with members added or replaced. Nil removes a member.
func with(m members, pairs ...any) members {
	c := members{}
	for k, v := range m {
		c[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == nil {
			delete(c, pairs[i].(string))
		} else {
			c[pairs[i].(string)] = pairs[i+1]
		}
	}
	return c
}

// sign makes a JWT. Header and claims are members or JSON text.
func sign(t testing.TB, method jwt.SigningMethod, key, header, claims any) string {
	t.Helper()
	segment := func(v any) string {
		if text, ok := v.(string); ok {
			return b64([]byte(text))
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b64(data)
	}
	text := segment(header) + "." + segment(claims)
	sig, err := method.Sign(text, key)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(sig)
}

// memory is a file system in memory.
type memory struct {
	mu    sync.Mutex
	files map[string]memoryFile
	inode uint64
	reads int
}

type memoryFile struct {
	data string
	stamp
	err error
}

func newMemory(files map[string]string) *memory {
	m := &memory{files: map[string]memoryFile{}}
	for path, data := range files {
		m.replace(path, data)
	}
	return m
}

// replace replaces a file in one step, as a rename does.
func (m *memory) replace(path, data string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inode++
	m.files[path] = memoryFile{data: data, stamp: stamp{Modified: time.Now(), Size: int64(len(data)), Inode: m.inode}}
}

// rewrite writes a file in place. The stamp stays the same if size and time do.
func (m *memory) rewrite(path, data string, modified time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[path]
	f.data, f.Modified, f.Size = data, modified, int64(len(data))
	m.files[path] = f
}

// fail makes every access to a file return err. Nil ends that.
func (m *memory) fail(path string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[path]
	f.err = err
	m.files[path] = f
}

func (m *memory) stat(path string) (stamp, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[path]
	return f.stamp, f.err
}

func (m *memory) read(path string, limit int) ([]byte, stamp, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads++
	f := m.files[path]
	if f.err != nil {
		return nil, stamp{}, f.err
	}
	if len(f.data) > limit {
		return nil, f.stamp, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return []byte(f.data), f.stamp, nil
}

// fromFiles makes an Authenticator from file contents by the option that names
// the file, without its dashes.
func fromFiles(t testing.TB, c Config, files map[string]string) (*Authenticator, *memory, error) {
	t.Helper()
	fs := newMemory(files)
	for path := range files {
		switch path {
		case "device-token-file":
			c.DeviceTokenFile = path
		case "frontend-token-file":
			c.FrontendTokenFile = path
		case "credential-file":
			c.CredentialFile = path
		case "jwt-key-file":
			c.JWTKeyFile = path
		case "jwt-secret-file":
			c.JWTSecretFile = path
		case "jwks-file":
			c.JWKSFile = path
		case "client-ca":
			c.ClientCAFile = path
		default:
			t.Fatalf("no option --%s", path)
		}
	}
	a, err := newAuthenticator(c, fs)
	return a, fs, err
}

func mustFromFiles(t testing.TB, c Config, files map[string]string) (*Authenticator, *memory) {
	t.Helper()
	a, fs, err := fromFiles(t, c, files)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a, fs
}

// realFile writes a file on the disk and returns its path.
func realFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hashLine(t testing.TB, token, attributes string) string {
	t.Helper()
	line, err := HashLine(token, Grant{Role: RoleDevice})
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ = strings.Cut(line, " ")
	return strings.TrimSpace(line + " " + attributes)
}

// reason returns the reason of a refusal, "" without an error. Any other error
// fails the test.
func reason(t testing.TB, err error) Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("%T is not a *Refusal", err)
	}
	return r.Reason
}

// mustHide fails if the text contains eight characters of a secret in a row.
func mustHide(t testing.TB, text string, secrets ...string) {
	t.Helper()
	const piece = 8
	for _, s := range append(secrets, tokenA, tokenB, testSecret) {
		for i := 0; i+piece <= len(s); i++ {
			if strings.Contains(text, s[i:i+piece]) {
				t.Fatalf("%q is in what is shown: %q", s[i:i+piece], text)
			}
		}
	}
}

// shown returns all texts of an error that a log or a peer may get.
func shown(err error) string {
	text := fmt.Sprintf("%v %+v", err, err)
	var r *Refusal
	if errors.As(err, &r) {
		text += " " + r.Source
	}
	return text
}

func edPublic() ed25519.PublicKey { return theEd25519().Public().(ed25519.PublicKey) }
