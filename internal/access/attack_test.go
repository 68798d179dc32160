package access

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestKidAloneDecidesNothing: a kid selects a key and never replaces the check
// of the signature, whatever keys share the kid or had it before.
func TestKidAloneDecidesNothing(t *testing.T) {
	watched(t, map[string]string{
		// One kid, two keys of different types, and unnamed keys beside them.
		"jwks-file":       jwks(jwkRSA("k", &theRSA().PublicKey), jwkEd25519("k", edPublic())),
		"jwt-key-file":    pemPublic(t, otherRSA().Public()),
		"jwt-secret-file": testSecret,
	}, func(t *testing.T, a *Authenticator, fs *memory, _ *journal) {
		soon := with(deviceClaims, "exp", time.Now().Add(time.Hour).Unix())
		by := func(method jwt.SigningMethod, key any, kid string) string {
			return sign(t, method, key, members{"alg": method.Alg(), "kid": kid}, soon)
		}
		check := func(step string, want map[string]Reason, tokens map[string]string) {
			t.Helper()
			for name, token := range tokens {
				if _, err := a.Authenticate(RoleDevice, "tensile-1", token, nil); reason(t, err) != want[name] {
					t.Errorf("%s: %s: %v, want %q", step, name, err, want[name])
				}
			}
		}
		tokens := map[string]string{
			"RSA":               by(jwt.SigningMethodRS256, theRSA(), "k"),
			"Ed25519":           by(jwt.SigningMethodEdDSA, theEd25519(), "k"),
			"unnamed RSA":       by(jwt.SigningMethodRS256, otherRSA(), "k"),
			"unnamed secret":    by(jwt.SigningMethodHS256, []byte(testSecret), "k"),
			"public as secret":  by(jwt.SigningMethodHS256, []byte(pemPublic(t, theRSA().Public())), "k"),
			"unnamed, own kid":  by(jwt.SigningMethodRS256, otherRSA(), "other"),
			"named, other kid":  by(jwt.SigningMethodRS256, theRSA(), "other"),
			"Ed25519, no match": by(jwt.SigningMethodEdDSA, theEd25519(), "K"),
		}
		refused := map[string]Reason{"unnamed RSA": Wrong, "unnamed secret": Wrong, "public as secret": Wrong, "named, other kid": Wrong, "Ed25519, no match": Wrong}
		check("at first", refused, tokens)
		// Another key under the same kid: the old key is forgotten.
		fs.replace("jwks-file", jwks(jwkRSA("k", &otherRSA().PublicKey), jwkEd25519("k", edPublic())))
		pass(time.Second)
		refused["RSA"] = Wrong
		delete(refused, "unnamed RSA")
		check("after a change", refused, tokens)
	})
}

// TestNoKeyIsFetched: keys in a token are not used, and addresses in a token are
// not connected to.
func TestNoKeyIsFetched(t *testing.T) {
	var requests atomic.Int32
	issuer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = w.Write([]byte(jwks(jwkRSA("r", &otherRSA().PublicKey), jwkRSA("", &otherRSA().PublicKey))))
	}))
	var connections atomic.Int32
	issuer.Config.ConnState = func(net.Conn, http.ConnState) { connections.Add(1) }
	issuer.Start()
	defer issuer.Close()
	a := jwtGateway(t, Config{})
	own := jwkRSA("r", &otherRSA().PublicKey)
	for name, header := range map[string]members{
		"jku":       {"jku": issuer.URL + "/jwks.json"},
		"x5u":       {"x5u": issuer.URL + "/cert.pem"},
		"jwk":       {"jwk": own},
		"x5c":       {"x5c": []string{b64(theAuthority().cert.Raw)}},
		"iss":       {"iss": issuer.URL},
		"kid a URL": {"kid": issuer.URL + "/jwks.json"},
		"all":       {"jku": issuer.URL, "x5u": issuer.URL, "jwk": own, "x5t": "a", "x5t#S256": "a", "jwks_uri": issuer.URL},
	} {
		for _, kid := range []any{"r", nil, "unknown"} {
			h := with(rsHeader, "kid", kid)
			for k, v := range header {
				h[k] = v
			}
			token := sign(t, jwt.SigningMethodRS256, otherRSA(), h, with(deviceClaims, "iss", issuer.URL, "jwks_uri", issuer.URL))
			if id, err := a.Authenticate(RoleDevice, "tensile-1", token, nil); err == nil {
				t.Errorf("%s, kid %v: %+v", name, kid, id)
			}
		}
	}
	if requests.Load() != 0 || connections.Load() != 0 {
		t.Errorf("%d connections, %d requests", connections.Load(), requests.Load())
	}
}

// TestCostOfForgedJWTs bounds the allocations that a peer without a credential
// can cause: a constant for a token beyond the limit, and otherwise a small
// multiple of the limit on members.
func TestCostOfForgedJWTs(t *testing.T) {
	a := jwtGateway(t, Config{})
	header := func(json string) string { return b64([]byte(json)) }
	room := func(json string, size int) string {
		n := size*3/4 - len(json) - 16
		return strings.Replace(json, "ROOM", strings.Repeat("a", max(n, 0)), 1)
	}
	for name, c := range map[string]struct {
		token  string
		allocs float64
	}{
		"a megabyte of dots":   {strings.Repeat(".", 1<<20), 20},
		"4 KiB of dots":        {strings.Repeat(".", maxJWTLen), 20},
		"a megabyte":           {strings.Repeat("a", 1<<20) + ".a.a", 20},
		"long header":          {header(room(`{"alg":"EdDSA","kid":"e","x":"ROOM"}`, maxJWTLen)) + ".e30.AAAA", 60},
		"many header members":  {header("{"+manyMembers(300)+`"alg":"EdDSA"}`) + ".e30.AAAA", 16 * maxMembers},
		"most header members":  {header("{"+manyMembers(maxMembers)+`"alg":"EdDSA"}`) + ".e30.AAAA", 16 * maxMembers},
		"deep header":          {header(`{"x":`+strings.Repeat("[", 1400)+strings.Repeat("]", 1400)+`}`) + ".e30.AAAA", 60},
		"long signature":       {header(`{"alg":"EdDSA","kid":"e"}`) + ".e30." + strings.Repeat("A", 3900), 60},
		"claims never decoded": {header(`{"alg":"EdDSA","kid":"e"}`) + "." + header("{"+manyMembers(300)+`"x":0}`) + ".AAAA", 60},
	} {
		if got := testing.AllocsPerRun(20, func() {
			if _, err := a.Authenticate(RoleDevice, "tensile-1", c.token, nil); err == nil {
				t.Errorf("%s is accepted", name)
			}
		}); got > c.allocs {
			t.Errorf("%s: %v allocations, at most %v wanted", name, got, c.allocs)
		}
	}
}
