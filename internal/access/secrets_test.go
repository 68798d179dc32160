package access

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestNoSecretInAnyError breaks files and tokens in many thousand ways and
// searches the errors for their contents.
func TestNoSecretInAnyError(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	private, err := x509.MarshalPKCS8PrivateKey(theEd25519())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"device-token-file":   tokenA + "\n" + tokenB + "\n",
		"frontend-token-file": tokenA + "\n" + hashLine(t, tokenB, "role=frontend user=ada permissions=observe,command devices=a*,b"),
		"credential-file":     hashLine(t, tokenA, "role=device name=tensile-1 label=left"),
		"jwt-key-file":        "-----BEGIN PRIVATE KEY-----\n" + b64(private) + "\n-----END PRIVATE KEY-----\n" + testSecret,
		"jwt-secret-file":     testSecret,
		"jwks-file":           jwks(jwkSecret("s", testSecret), with(jwkEd25519("e", edPublic()), "d", testSecret)),
	}
	secrets := []string{b64(private), b64([]byte(testSecret)), strings.Fields(hashLine(t, tokenA, ""))[0][7:]}
	failures := 0
	for option, good := range files {
		for range 2000 {
			_, _, err := fromFiles(t, Config{}, map[string]string{option: mutate(rng, good)})
			if err != nil {
				failures++
				mustHide(t, shown(err), secrets...)
			}
		}
	}
	a := jwtGateway(t, Config{})
	token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), hsHeader, userClaims)
	for range 5000 {
		presented := mutate(rng, token)
		if _, err := a.Authenticate(RoleFrontend, "ada", presented, nil); err != nil {
			failures++
			mustHide(t, shown(err), strings.Split(token, ".")...)
		}
	}
	if failures < 10000 {
		t.Errorf("only %d errors were looked at", failures)
	}
}

// mutate changes a few bytes, cuts, doubles or moves a piece.
func mutate(rng *rand.Rand, s string) string {
	const letters = "aZ0 .=:,#*\n\"{}[]\\/-_~%\x00\xff"
	b := []byte(s)
	for range 1 + rng.IntN(3) {
		if len(b) < 2 {
			break
		}
		i, j := rng.IntN(len(b)), rng.IntN(len(b))
		i, j = min(i, j), max(i, j)
		switch rng.IntN(4) {
		case 0:
			b[i] = letters[rng.IntN(len(letters))]
		case 1:
			b = append(b[:i:i], b[j:]...)
		case 2:
			b = append(b[:j:j], b[i:]...)
		case 3:
			b = append(b[:i:i], append([]byte{letters[rng.IntN(len(letters))]}, b[i:]...)...)
		}
	}
	return string(b)
}

// TestCertificateErrorsAreClean: errors do not quote names of a certificate,
// which its owner may have chosen.
func TestCertificateErrorsAreClean(t *testing.T) {
	for _, name := range []string{"\x1b[31m red", "a\nlevel=error", strings.Repeat("x", 10000)} {
		_, err := deviceOf(&x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now()})
		if err == nil || strings.Contains(err.Error(), name) || len(err.Error()) > 300 {
			t.Errorf("%q: %v", name[:5], err)
		}
	}
}

// TestRefusalText: the text for the peer is the detail, without the Source.
func TestRefusalText(t *testing.T) {
	var err error = refuse(WrongName, "token:tensile-1#0", "no")
	if err.Error() != "no" || fmt.Sprintf("%v %s", err, err) != "no no" {
		t.Errorf("%v", err)
	}
	var r *Refusal
	if !errors.As(fmt.Errorf("x: %w", err), &r) || r.Source == "" {
		t.Error("lost")
	}
}
