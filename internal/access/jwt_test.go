package access

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// noon is the time of the tests.
var noon = time.Unix(1_800_000_000, 0)

// unix returns the Unix time of so many seconds after noon.
func unix(seconds int64) int64 { return noon.Unix() + seconds }

var (
	edHeader     = members{"alg": "EdDSA", "typ": "JWT", "kid": "e"}
	rsHeader     = members{"alg": "RS256", "kid": "r"}
	hsHeader     = members{"alg": "HS256", "kid": "s"}
	deviceClaims = members{"sub": "tensile-1", "role": "device", "exp": unix(60)}
	userClaims   = members{"sub": "ada", "role": "frontend", "exp": unix(60), "iss": "lab", "aud": "gateway", "jti": "42", "permissions": []string{"observe", "command"}, "devices": []string{"tensile-*"}}
)

// jwtGateway returns an Authenticator with one key of each type, at noon.
func jwtGateway(t testing.TB, c Config) *Authenticator {
	t.Helper()
	a, _ := mustFromFiles(t, c, map[string]string{"jwks-file": jwks(jwkRSA("r", &theRSA().PublicKey), jwkEd25519("e", edPublic()), jwkSecret("s", testSecret))})
	a.now = func() time.Time { return noon }
	return a
}

func TestJWT(t *testing.T) {
	a := jwtGateway(t, Config{})
	ed := func(claims any) string { return sign(t, jwt.SigningMethodEdDSA, theEd25519(), edHeader, claims) }
	for _, c := range []struct {
		name, token string
		role        Role
		want        Identity
	}{
		{"EdDSA", ed(deviceClaims), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
		{"RS256", sign(t, jwt.SigningMethodRS256, theRSA(), rsHeader, deviceClaims), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
		{"HS256", sign(t, jwt.SigningMethodHS256, []byte(testSecret), hsHeader, deviceClaims), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
		{"front end", ed(userClaims), RoleFrontend, Identity{Name: "ada", Expires: time.Unix(unix(60), 0), Permissions: Permissions{true, true, []Pattern{"tensile-*"}}}},
		{"front end that says nothing", ed(with(userClaims, "permissions", nil, "devices", nil)), RoleFrontend, Identity{Name: "ada", Expires: time.Unix(unix(60), 0), Permissions: Permissions{Observe: true, Devices: []Pattern{"*"}}}},
		{"front end with nothing", ed(with(userClaims, "permissions", []string{}, "devices", []string{})), RoleFrontend, Identity{Name: "ada", Expires: time.Unix(unix(60), 0)}},
		{"permissions of a device", ed(with(deviceClaims, "permissions", []string{"command"})), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
		{"fraction", ed(with(deviceClaims, "exp", float64(unix(60))+0.5)), RoleDevice, Identity{Name: "tensile-1", Expires: time.UnixMilli(unix(60)*1000 + 500)}},
		{"clock of the issuer ahead", ed(with(deviceClaims, "nbf", unix(30), "iat", unix(30))), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
		{"other claims", ed(with(deviceClaims, "Role", "frontend", "SUB", "press-1", "scope", members{"role": []any{nil, 1}}, "admin", true)), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
		{"keys in the header", sign(t, jwt.SigningMethodEdDSA, theEd25519(), with(edHeader, "jku", "http://127.0.0.1:1/", "jwk", jwkSecret("e", "x")), deviceClaims), RoleDevice, Identity{Name: "tensile-1", Expires: time.Unix(unix(60), 0)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := a.Authenticate(c.role, "", c.token, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.want.Devices == nil {
				c.want.Devices = id.Devices[:len(id.Devices):len(id.Devices)]
				if len(id.Devices) > 0 {
					t.Errorf("devices %v", id.Devices)
				}
			}
			source := id.Source
			c.want.Role, c.want.Source = c.role, source
			if !reflect.DeepEqual(id, c.want) {
				t.Errorf("%+v, want %+v", id, c.want)
			}
			if !strings.HasPrefix(source, "jwt:") || !strings.Contains(source, "/"+id.Name) || !a.InForce(source) {
				t.Errorf("source %q, in force %v", source, a.InForce(source))
			}
			mustHide(t, source, c.token)
		})
	}
}

// TestJWTAttacks presents tokens that must be refused.
func TestJWTAttacks(t *testing.T) {
	a := jwtGateway(t, Config{JWTIssuer: "lab", JWTAudience: "gateway"})
	good := with(userClaims)
	ed := func(header, claims any) string { return sign(t, jwt.SigningMethodEdDSA, theEd25519(), header, claims) }
	hs := func(secret string, header, claims any) string {
		return sign(t, jwt.SigningMethodHS256, []byte(secret), header, claims)
	}
	none := func(header any) string {
		return sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, header, good)
	}
	valid := ed(edHeader, good)
	if _, err := a.Authenticate(RoleFrontend, "ada", valid, nil); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(valid, ".")
	raw := func(claims string) string { return ed(edHeader, claims) }
	text := fmt.Sprintf(`"sub":"ada","iss":"lab","aud":"gateway","exp":%d`, unix(60))
	rsaPEM := pemPublic(t, theRSA().Public())
	for _, c := range []struct {
		name, token string
		want        Reason
		says        string
	}{
		// Algorithms and keys.
		{"none", none(members{"alg": "none"}), Wrong, "algorithm"},
		{"none with a kid", none(members{"alg": "none", "kid": "e"}), Wrong, "algorithm"},
		{"nOnE", none(members{"alg": "nOnE", "kid": "e"}), Wrong, "algorithm"},
		{"no algorithm", none(members{"kid": "e"}), Wrong, "algorithm"},
		{"no signature", parts[0] + "." + parts[1] + ".", Wrong, "has signed"},
		{"HS256 with the RSA key in PEM", hs(rsaPEM, with(hsHeader, "kid", "r"), good), Wrong, "has signed"},
		{"HS256 with the RSA key's modulus", hs(string(theRSA().N.Bytes()), with(hsHeader, "kid", "r"), good), Wrong, "has signed"},
		{"HS256 with the Ed25519 key", hs(string(edPublic()), with(hsHeader, "kid", "e"), good), Wrong, "has signed"},
		{"HS256 with no secret", hs("", hsHeader, good), Wrong, "has signed"},
		{"HS512 with the secret", sign(t, jwt.SigningMethodHS512, []byte(testSecret), with(hsHeader, "alg", "HS512"), good), Wrong, "algorithm"},
		{"PS256", sign(t, jwt.SigningMethodPS256, theRSA(), with(rsHeader, "alg", "PS256"), good), Wrong, "algorithm"},
		{"PS256 as RS256", sign(t, jwt.SigningMethodPS256, theRSA(), rsHeader, good), Wrong, "has signed"},
		{"EdDSA as RS256", ed(with(edHeader, "alg", "RS256"), good), Wrong, "has signed"},
		{"lower case", ed(with(edHeader, "alg", "eddsa"), good), Wrong, "algorithm"},
		{"another RSA key", sign(t, jwt.SigningMethodRS256, otherRSA(), rsHeader, good), Wrong, "has signed"},
		{"key of its own", sign(t, jwt.SigningMethodRS256, otherRSA(), with(rsHeader, "jwk", jwkRSA("r", &otherRSA().PublicKey)), good), Wrong, "has signed"},
		{"unknown kid", ed(with(edHeader, "kid", "x"), good), Wrong, "has signed"},
		{"kid of another key", ed(with(edHeader, "kid", "r"), good), Wrong, "has signed"},
		{"no kid", ed(with(edHeader, "kid", nil), good), Wrong, "has signed"},
		{"empty kid", ed(with(edHeader, "kid", ""), good), Wrong, "has signed"},
		{"kid as a path", hs("", with(hsHeader, "kid", "../../dev/null"), good), Wrong, "has signed"},
		{"kid as a number", ed(with(edHeader, "kid", 1), good), Wrong, "kid: must be a string"},
		{"long kid", ed(with(edHeader, "kid", strings.Repeat("e", 129)), good), Wrong, "kid: 129 bytes"},
		{"crit", ed(with(edHeader, "crit", []string{"exp"}), good), Wrong, "extensions"},
		{"b64", ed(with(edHeader, "b64", false), good), Wrong, "extensions"},
		{"algorithm twice", ed(`{"alg":"none","alg":"EdDSA","kid":"e"}`, good), Wrong, "same name"},
		{"algorithm as a list", ed(`{"alg":["EdDSA"],"kid":"e"}`, good), Wrong, "alg: must be a string"},
		{"header not an object", ed(`["EdDSA"]`, good), Wrong, "not a JSON object"},
		{"many header members", ed("{"+manyMembers(200)+`"alg":"EdDSA","kid":"e"}`, good), Wrong, "more than 128"},

		// Bytes.
		{"changed claims", parts[0] + "." + b64([]byte(`{"sub":"eve"}`)) + "." + parts[2], Wrong, "has signed"},
		{"changed signature", parts[0] + "." + parts[1] + "." + flip(parts[2], 20), Wrong, "has signed"},
		{"padding", parts[0] + "." + parts[1] + "." + parts[2] + "==", Wrong, "signature is not base64url"},
		{"loose last bits", parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-1] + loose(parts[2]), Wrong, "signature is not base64url"},
		{"line break in it", parts[0] + "." + parts[1] + "." + parts[2] + "\n", Wrong, ""},
		{"header not base64", "{}." + parts[1] + "." + parts[2], Wrong, "header is not base64url"},
		{"empty", "..", Wrong, ""},
		{"two parts", parts[0] + "." + parts[1], Wrong, "not valid"},
		{"four parts", valid + ".x", Wrong, "not valid"},
		{"five parts", valid + "." + parts[0] + "." + parts[1], Wrong, "not valid"},
		{"oversized", ed(edHeader, with(good, "x", strings.Repeat("y", 4000))), Wrong, "at most 4096 allowed"},
		{"a megabyte", strings.Repeat("e", 1<<20) + ".e.e", Wrong, "at most 4096 allowed"},

		// JSON that two decoders may understand differently.
		{"role twice", raw(`{"role":"device","role":"frontend",` + text + `}`), Wrong, "same name"},
		{"role twice with an escape", raw(`{"role":"device","\u0072ole":"frontend",` + text + `}`), Wrong, "same name"},
		{"role in upper case", raw(`{"ROLE":"frontend",` + text + `}`), Wrong, "claim role is missing"},
		{"role as a list", raw(`{"role":["frontend"],` + text + `}`), Wrong, "role: must be a string"},
		{"role as an object", raw(`{"role":{"role":"frontend"},` + text + `}`), Wrong, "role: must be a string"},
		{"role null", raw(`{"role":null,` + text + `}`), Wrong, "role: must be a string"},
		{"role inside", raw(`{"x":{"role":"frontend"},` + text + `}`), Wrong, "claim role is missing"},
		{"unknown role", ed(edHeader, with(good, "role", "admin")), Wrong, "must be device or frontend"},
		{"deep", raw(`{"x":` + strings.Repeat("[", 1200) + strings.Repeat("]", 1200) + `,` + text + `}`), Wrong, "role is missing"},
		{"two objects", raw(`{"role":"frontend",` + text + `}{}`), Wrong, "not JSON"},
		{"a list", raw(`[{"role":"frontend",` + text + `}]`), Wrong, "not a JSON object"},
		{"not UTF-8", raw("{\"role\":\"frontend\",\"x\":\"\xff\"," + text + `}`), Wrong, "not JSON"},
		{"null", raw(`null`), Wrong, "not a JSON object"},
		{"a JWT inside", ed(with(edHeader, "cty", "JWT"), valid), Wrong, "not JSON"},
		{"trailing comma", raw(`{"role":"frontend",` + text + `,}`), Wrong, "not JSON"},
		{"many members", raw("{" + manyMembers(130) + `"role":"frontend",` + text + `}`), Wrong, "more than 128"},

		// Who.
		{"no sub", ed(edHeader, with(good, "sub", nil)), Wrong, "claim sub"},
		{"empty sub", ed(edHeader, with(good, "sub", "")), Wrong, "claim sub"},
		{"sub as a number", ed(edHeader, with(good, "sub", 7)), Wrong, "sub: must be a string"},
		{"sub not a name", ed(edHeader, with(good, "sub", "@frontends")), Wrong, "claim sub"},
		{"sub with a break", ed(edHeader, with(good, "sub", "ada\n")), Wrong, "claim sub"},
		{"other user", ed(edHeader, with(good, "sub", "eve")), WrongName, "another user"},
		{"other letter case", ed(edHeader, with(good, "sub", "Ada")), WrongName, "another user"},
		{"device", ed(edHeader, with(good, "role", "device")), WrongRole, "role frontend"},
		{"permissions as a string", ed(edHeader, with(good, "permissions", "observe")), Wrong, "permissions: must be a list"},
		{"permissions with null", ed(edHeader, with(good, "permissions", []any{nil})), Wrong, "permissions: must be a list"},
		{"permissions null", raw(`{"role":"frontend","permissions":null,` + text + `}`), Wrong, "permissions: must be a list"},
		{"unknown permission", ed(edHeader, with(good, "permissions", []string{"admin"})), Wrong, "permissions: number 1"},
		{"devices as an object", ed(edHeader, with(good, "devices", members{})), Wrong, "devices: must be a list"},
		{"bad pattern", ed(edHeader, with(good, "devices", []string{"[a-z]*"})), Wrong, "devices: number 1"},
		{"many patterns", ed(edHeader, with(good, "devices", strings.Split(strings.Repeat("a,", 65), ",")[:65])), Wrong, "65 patterns"},
		{"long jti", ed(edHeader, with(good, "jti", strings.Repeat("j", 129))), Wrong, "jti: 129 bytes"},
		{"no iss", ed(edHeader, with(good, "iss", nil)), Wrong, "claim iss"},
		{"other iss", ed(edHeader, with(good, "iss", "lab.evil")), Wrong, "claim iss"},
		{"iss as a list", ed(edHeader, with(good, "iss", []string{"lab"})), Wrong, "iss: must be a string"},
		{"no aud", ed(edHeader, with(good, "aud", nil)), Wrong, "claim aud"},
		{"empty aud", ed(edHeader, with(good, "aud", []string{})), Wrong, "claim aud"},
		{"other aud", ed(edHeader, with(good, "aud", []string{"other", "gateway2"})), Wrong, "claim aud"},
		{"aud as a number", ed(edHeader, with(good, "aud", 1)), Wrong, "aud: must be a list"},

		// When.
		{"no exp", ed(edHeader, with(good, "exp", nil)), Wrong, "exp is missing"},
		{"exp null", raw(`{"role":"frontend","sub":"ada","iss":"lab","aud":"gateway","exp":null}`), Wrong, "exp: must be a number"},
		{"exp as a string", ed(edHeader, with(good, "exp", fmt.Sprint(unix(60)))), Wrong, "exp: must be a number"},
		{"exp beyond time", ed(edHeader, with(good, "exp", math.MaxFloat64)), Wrong, "exp: must be a number"},
		{"exp beyond numbers", raw(`{"role":"frontend","sub":"ada","iss":"lab","aud":"gateway","exp":1e400}`), Wrong, "exp: must be a number"},
		{"exp below", ed(edHeader, with(good, "exp", -1)), Wrong, "exp: must be a number"},
		{"expired", ed(edHeader, with(good, "exp", unix(-60))), Expired, "has expired"},
		{"expired within the leeway", ed(edHeader, with(good, "exp", unix(-1))), Expired, "has expired"},
		{"expires now", ed(edHeader, with(good, "exp", unix(0))), Expired, "has expired"},
		{"exp 0", ed(edHeader, with(good, "exp", 0)), Expired, "has expired"},
		{"expired and of another issuer", ed(edHeader, with(good, "exp", unix(-60), "iss", "x")), Wrong, "claim iss"},
		{"nbf ahead", ed(edHeader, with(good, "nbf", unix(31))), NotYet, "not valid yet"},
		{"iat ahead", ed(edHeader, with(good, "iat", unix(31))), NotYet, "not valid yet"},
		{"nbf as a string", ed(edHeader, with(good, "nbf", "0")), Wrong, "nbf: must be a number"},
		{"iat as an object", ed(edHeader, with(good, "iat", members{})), Wrong, "iat: must be a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := a.Authenticate(RoleFrontend, "ada", c.token, nil)
			if got := reason(t, err); got != c.want || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%q: %v; want %q: %q", got, err, c.want, c.says)
			}
			if len(err.Error()) > 300 {
				t.Errorf("%d bytes", len(err.Error()))
			}
			for _, part := range strings.Split(c.token, ".") {
				mustHide(t, shown(err), part[:min(len(part), 2000)])
			}
			mustHide(t, err.Error(), "tensile-*", "tensile-1")
		})
	}
	for _, c := range []struct {
		aud  any
		want Reason
	}{{"gateway", ""}, {[]string{"x", "gateway"}, ""}, {"gateway2", Wrong}} {
		if _, err := a.Authenticate(RoleFrontend, "ada", ed(edHeader, with(good, "aud", c.aud)), nil); reason(t, err) != c.want {
			t.Errorf("aud %v: %v", c.aud, err)
		}
	}
}

// TestUnnamedKeys: keys from PEM and secret files are tried on tokens whose kid
// belongs to no key, each with its own algorithm only.
func TestUnnamedKeys(t *testing.T) {
	a, _ := mustFromFiles(t, Config{}, map[string]string{
		"jwt-key-file":    pemPublic(t, theRSA().Public()) + pemPublic(t, edPublic()),
		"jwt-secret-file": testSecret + "\n",
		"jwks-file":       jwks(jwkRSA("other", &otherRSA().PublicKey)),
	})
	a.now = func() time.Time { return noon }
	for _, c := range []struct {
		name, token string
		want        Reason
	}{
		{"RSA", sign(t, jwt.SigningMethodRS256, theRSA(), members{"alg": "RS256"}, deviceClaims), ""},
		{"Ed25519", sign(t, jwt.SigningMethodEdDSA, theEd25519(), members{"alg": "EdDSA"}, deviceClaims), ""},
		{"secret", sign(t, jwt.SigningMethodHS256, []byte(testSecret), members{"alg": "HS256"}, deviceClaims), ""},
		{"a kid that nobody has", sign(t, jwt.SigningMethodRS256, theRSA(), members{"alg": "RS256", "kid": "2027"}, deviceClaims), ""},
		{"the kid of another key", sign(t, jwt.SigningMethodRS256, theRSA(), members{"alg": "RS256", "kid": "other"}, deviceClaims), Wrong},
		{"a named key without its kid", sign(t, jwt.SigningMethodRS256, otherRSA(), members{"alg": "RS256"}, deviceClaims), Wrong},
		{"a named key", sign(t, jwt.SigningMethodRS256, otherRSA(), members{"alg": "RS256", "kid": "other"}, deviceClaims), ""},
		{"HS256 with the PEM file", sign(t, jwt.SigningMethodHS256, []byte(pemPublic(t, theRSA().Public())), members{"alg": "HS256"}, deviceClaims), Wrong},
	} {
		_, err := a.Authenticate(RoleDevice, "tensile-1", c.token, nil)
		if reason(t, err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":0,`, i)
	}
	return b.String()
}

// loose returns the last character of a base64url segment of 64 bytes, with one
// of its unused bits changed.
func loose(segment string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, segment[len(segment)-1])^1])
}

func flip(s string, i int) string {
	if s[i] == 'A' {
		return s[:i] + "B" + s[i+1:]
	}
	return s[:i] + "A" + s[i+1:]
}

// FuzzJWT: every signed token is refused or within the limits, and no error
// quotes it.
func FuzzJWT(f *testing.F) {
	f.Add([]byte(`{"alg":"HS256","kid":"s"}`), []byte(`{"sub":"ada","role":"frontend","exp":1800000060,"permissions":["observe"],"devices":["a*"]}`))
	f.Add([]byte(`{"alg":"HS256","kid":"s"}`), []byte(`{"sub":"t","role":"device","exp":1.8e9,"nbf":0,"iat":1,"jti":"x","aud":["a"],"iss":"b"}`))
	f.Add([]byte(`{"alg":"none"}`), []byte(`{}`))
	a, _ := mustFromFiles(f, Config{}, map[string]string{"jwks-file": jwks(jwkSecret("s", testSecret))})
	a.now = func() time.Time { return noon }
	f.Fuzz(func(t *testing.T, header, claims []byte) {
		token := sign(t, jwt.SigningMethodHS256, []byte(testSecret), string(header), string(claims))
		for _, role := range []Role{RoleDevice, RoleFrontend} {
			id, err := a.Authenticate(role, "", token, nil)
			if err != nil {
				mustNotQuote(t, shown(err), token)
				continue
			}
			if id.Role != role || id.Name == "" || !id.Expires.After(noon) || id.Expires.Year() > 9999 || len(id.Devices) > maxPatterns || len(id.Source) > 300 || !a.InForce(id.Source) {
				t.Fatalf("%+v", id)
			}
		}
	})
}
