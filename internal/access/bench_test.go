package access

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// BenchmarkAuthenticate measures what a handshake costs, with a file of 10,000
// tokens.
func BenchmarkAuthenticate(b *testing.B) {
	var file strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&file, "%s\n", hashLine(b, fmt.Sprintf("token-of-device-%05d-and-more-to-be-as-long", i), fmt.Sprintf("role=device name=d%d", i)))
	}
	a, _ := mustFromFiles(b, Config{}, map[string]string{
		"credential-file": file.String(),
		"client-ca":       authorityPEM(),
		"jwks-file":       jwks(jwkRSA("r", &theRSA().PublicKey), jwkEd25519("e", edPublic()), jwkSecret("s", testSecret)),
	})
	claims := with(deviceClaims, "sub", "d1", "exp", time.Now().Add(time.Hour).Unix())
	cert := chainOf(certificate(commonName("d1")))
	valid := sign(b, jwt.SigningMethodEdDSA, theEd25519(), edHeader, claims)
	for _, c := range []struct {
		name, token string
		ok          bool
	}{
		{"Token", "token-of-device-00001-and-more-to-be-as-long", true},
		{"WrongToken", "token-of-device-xxxxx-and-more-to-be-as-long", false},
		{"HS256", sign(b, jwt.SigningMethodHS256, []byte(testSecret), hsHeader, claims), true},
		{"RS256", sign(b, jwt.SigningMethodRS256, theRSA(), rsHeader, claims), true},
		{"EdDSA", valid, true},
		{"ForgedEdDSA", flip(valid, len(valid)-40), false},
		{"Certificate", "", true},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(RoleDevice, "d1", c.token, cert); (err == nil) != c.ok {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMayCommand(b *testing.B) {
	p := Permissions{Command: true}
	for i := range maxPatterns {
		p.Devices = append(p.Devices, Pattern(fmt.Sprintf("hall-%d-*-press", i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		if !p.MayCommand("hall-63-left-press") {
			b.Fatal("no")
		}
	}
}

// BenchmarkParseTokens measures what a changed file of 10,000 lines costs.
func BenchmarkParseTokens(b *testing.B) {
	var file strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&file, "%s%064x role=frontend user=u%d permissions=observe,command devices=tensile-*,press-1\n", hashPrefix, i, i)
	}
	data := []byte(file.String())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := parseTokens(data, 0); err != nil {
			b.Fatal(err)
		}
	}
}
