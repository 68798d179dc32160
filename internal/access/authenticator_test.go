package access

import (
	"crypto/x509"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func TestAuthenticate(t *testing.T) {
	cert := certificate(commonName("tensile-2"))
	nameless := certificate(commonName("No Name"))
	old := certificate(func(c *x509.Certificate) {
		c.Subject.CommonName, c.NotBefore, c.NotAfter = "d", time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	})
	early := certificate(func(c *x509.Certificate) { c.Subject.CommonName, c.NotBefore = "d", time.Now().Add(time.Minute) })
	a, _ := mustFromFiles(t, Config{}, map[string]string{
		"client-ca":           authorityPEM(),
		"device-token-file":   "shared-device-token-0\n" + tokenA,
		"frontend-token-file": "shared-frontend-token\n" + tokenA,
		"credential-file":     hashLine(t, tokenB, "role=device name=tensile-1 label=left") + "\n" + hashLine(t, "an-observer-of-presses", "role=frontend user=ada devices=press-*") + "\n",
		"jwks-file":           jwks(jwkEd25519("e", edPublic())),
	})
	jwtOf := func(role string) string {
		return sign(t, jwt.SigningMethodEdDSA, theEd25519(), edHeader, members{"sub": "tensile-3", "role": role, "exp": time.Now().Unix() + 60})
	}
	for _, c := range []struct {
		name  string
		role  Role
		as    string
		token string
		cert  *x509.Certificate
		want  Reason
		is    string // the Identity's name, if accepted
	}{
		{"shared, device", RoleDevice, "x", "shared-device-token-0", nil, "", ""},
		{"shared, front end", RoleFrontend, "", "shared-frontend-token", nil, "", ""},
		{"of both roles", RoleDevice, "x", tokenA, nil, "", ""},
		{"of both roles", RoleFrontend, "x", tokenA, nil, "", ""},
		{"bound", RoleDevice, "tensile-1", tokenB, nil, "", "tensile-1"},
		{"bound, without a name", RoleFrontend, "", "an-observer-of-presses", nil, "", "ada"},
		{"JWT", RoleDevice, "tensile-3", jwtOf("device"), nil, "", "tensile-3"},
		{"JWT, without a name", RoleFrontend, "", jwtOf("frontend"), nil, "", "tensile-3"},
		{"certificate", RoleDevice, "tensile-2", "", cert, "", "tensile-2"},
		{"token of one and certificate of another", RoleDevice, "tensile-1", tokenB, cert, "", "tensile-1"},

		{"nothing, device", RoleDevice, "x", "", nil, Missing, ""},
		{"nothing, front end", RoleFrontend, "x", "", nil, Missing, ""},
		{"certificate of a front end", RoleFrontend, "tensile-2", "", cert, Missing, ""},
		{"wrong", RoleDevice, "x", "some-other-token-1234", nil, Wrong, ""},
		{"wrong, with a certificate", RoleDevice, "tensile-2", "some-other-token-1234", cert, Wrong, ""},
		{"beginning of one", RoleDevice, "x", tokenA[:20], nil, Wrong, ""},
		{"letter case", RoleDevice, "x", strings.ToLower(tokenA), nil, Wrong, ""},
		{"the hash itself", RoleDevice, "tensile-1", strings.Fields(hashLine(t, tokenB, ""))[0][7:], nil, Wrong, ""},
		{"short", RoleDevice, "x", "x", nil, Wrong, ""},
		{"endless", RoleDevice, "x", strings.Repeat("x", 1<<20), nil, Wrong, ""},
		{"bytes", RoleDevice, "x", "\x00\xff\n%s%n{}\"", nil, Wrong, ""},
		{"device's token", RoleFrontend, "x", "shared-device-token-0", nil, WrongRole, ""},
		{"front end's token", RoleDevice, "x", "an-observer-of-presses", nil, WrongRole, ""},
		{"front end's JWT", RoleDevice, "tensile-3", jwtOf("frontend"), nil, WrongRole, ""},
		{"another device", RoleDevice, "tensile-2", tokenB, nil, WrongName, ""},
		{"another user", RoleFrontend, "eve", "an-observer-of-presses", nil, WrongName, ""},
		{"another device's JWT", RoleDevice, "tensile-1", jwtOf("device"), nil, WrongName, ""},
		{"another device's certificate", RoleDevice, "tensile-1", "", cert, WrongName, ""},
		{"certificate without an id", RoleDevice, "x", "", nameless, Wrong, ""},
		{"old certificate", RoleDevice, "d", "", old, Expired, ""},
		{"early certificate", RoleDevice, "d", "", early, NotYet, ""},
		{"no role", 0, "x", tokenA, nil, WrongRole, ""},
		{"unknown role", 9, "x", tokenA, nil, WrongRole, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := a.Authenticate(c.role, c.as, c.token, chainOf(c.cert))
			if got := reason(t, err); got != c.want {
				t.Fatalf("%q: %v; want %q", got, err, c.want)
			}
			if err != nil {
				if !reflect.DeepEqual(id, Identity{}) {
					t.Errorf("refused with %+v", id)
				}
				mustHide(t, shown(err), c.token[:min(len(c.token), 600)])
				mustHide(t, err.Error(), "tensile-1", "tensile-2", "tensile-3")
				return
			}
			if id.Name != c.is || id.Role != c.role || !a.InForce(id.Source) {
				t.Errorf("%+v", id)
			}
			mustHide(t, id.Source, c.token)
		})
	}
	id, err := a.Authenticate(RoleFrontend, "ada", "an-observer-of-presses", nil)
	if err != nil || !id.MayObserve("press-1") || id.MayObserve("tensile-1") || id.MayCommand("press-1") {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := a.Authenticate(RoleDevice, "tensile-1", tokenB, nil); err != nil || !strings.HasPrefix(id.Source, "token:left#") {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestOpen(t *testing.T) {
	key := pemPublic(t, edPublic())
	for _, c := range []struct {
		name              string
		config            Config
		files             map[string]string
		devices, frontend bool
	}{
		{"nothing", Config{}, nil, true, true},
		{"devices' tokens", Config{}, map[string]string{"device-token-file": tokenA}, false, true},
		{"front ends' tokens", Config{}, map[string]string{"frontend-token-file": tokenA}, true, false},
		{"certificates", Config{}, map[string]string{"client-ca": authorityPEM()}, false, true},
		{"credentials of devices only", Config{}, map[string]string{"credential-file": hashLine(t, tokenA, "role=device") + "\n"}, false, false},
		{"JWTs", Config{}, map[string]string{"jwt-key-file": key}, false, false},
	} {
		a, _ := mustFromFiles(t, c.config, c.files)
		if a.OpenTo(RoleDevice) != c.devices || a.OpenTo(RoleFrontend) != c.frontend || a.OpenTo(0) {
			t.Errorf("%s: open to devices %v, to front ends %v", c.name, a.OpenTo(RoleDevice), a.OpenTo(RoleFrontend))
		}
		for role, open := range map[Role]bool{RoleDevice: c.devices, RoleFrontend: c.frontend} {
			id, err := a.Authenticate(role, "x", "any token whatever", nil)
			if open != (err == nil) {
				t.Errorf("%s: %s: %v", c.name, role, err)
			}
			if open && (id.Source != SourceOpen || !a.InForce(id.Source) || id.Role != role || id.Name != "" || id.MayCommand("d") != (role == RoleFrontend)) {
				t.Errorf("%s: %+v", c.name, id)
			}
		}
	}
	if a, _ := mustFromFiles(t, Config{}, nil); a.InForce("") || a.InForce("token:x#1") || a.InForce("jwt:x#1/y") {
		t.Error("what was never there is in force")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		files  map[string]string
		says   string
	}{
		"tokens":           {Config{}, map[string]string{"device-token-file": "\n" + tokenA[:15]}, "--device-token-file: device-token-file: line 2: a token of 15"},
		"no token":         {Config{}, map[string]string{"frontend-token-file": "# none\n"}, "--frontend-token-file: frontend-token-file: holds no token"},
		"empty":            {Config{}, map[string]string{"credential-file": ""}, "holds no token"},
		"clear":            {Config{}, map[string]string{"credential-file": tokenA}, "--hash"},
		"sentence":         {Config{}, map[string]string{"device-token-file": tokenA + "\nhello world token\n"}, "--device-token-file: device-token-file: line 2: 3 words; a line must be one token of 16 to 512 characters"},
		"no key":           {Config{}, map[string]string{"jwks-file": jwks()}, "--jwks-file: jwks-file: holds no key"},
		"keys":             {Config{}, map[string]string{"jwt-key-file": testSecret}, "--jwt-key-file: jwt-key-file: holds no PEM block"},
		"secret":           {Config{}, map[string]string{"jwt-secret-file": testSecret[1:]}, "--jwt-secret-file: jwt-secret-file: a secret of 31"},
		"large":            {Config{}, map[string]string{"jwks-file": strings.Repeat(" ", maxKeyFile+1)}, "more than 262144 bytes"},
		"issuer alone":     {Config{JWTIssuer: "lab"}, nil, "--jwt-issuer"},
		"audience alone":   {Config{JWTAudience: "lab"}, map[string]string{"device-token-file": tokenA}, "--jwt-audience"},
		"one good one bad": {Config{}, map[string]string{"device-token-file": tokenA, "jwks-file": "x"}, "--jwks-file"},
	} {
		_, _, err := fromFiles(t, c.config, c.files)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", name, err, c.says)
			continue
		}
		mustHide(t, err.Error())
	}
}

func TestSourcesCovers(t *testing.T) {
	s := Sources{"jwt:rs256#1", "token:a#1", "token:b#2"}
	for source, want := range map[string]bool{
		"token:a#1": true, "token:a#2": false, "token:b#2": true, "": false, "jwt:rs256#1": true, "jwt:rs256#1/ada": true,
		"jwt:rs256#1/ada/4": true, "jwt:rs256#12/ada": false, "jwt:rs256": false, "/jwt:rs256#1": false, "token:a": false,
	} {
		if s.Covers(source) != want {
			t.Errorf("%q: %v", source, !want)
		}
	}
	if Sources(nil).Covers("") {
		t.Error("nothing covers nothing")
	}
}

// TestSourcesDiffer: no two credentials share a Source, and another process
// gives the same credential another Source, so that nobody can check a guess.
func TestSourcesDiffer(t *testing.T) {
	files := map[string]string{"device-token-file": tokenA + "\n" + tokenB, "frontend-token-file": tokenA}
	sources := map[string]bool{}
	for range 2 { // each Authenticator stands for a process
		a, _ := mustFromFiles(t, Config{}, files)
		for role, tokens := range map[Role][]string{RoleDevice: {tokenA, tokenB}, RoleFrontend: {tokenA}} {
			for _, token := range tokens {
				id, err := a.Authenticate(role, "", token, nil)
				if err != nil || sources[id.Source] {
					t.Errorf("%q, %v", id.Source, err)
				}
				sources[id.Source] = true
			}
		}
	}
}

func TestRoles(t *testing.T) {
	for _, r := range []Role{RoleDevice, RoleFrontend} {
		if got, ok := ParseRole(r.String()); !ok || got != r {
			t.Error(r)
		}
	}
	if _, ok := ParseRole(Role(0).String()); ok || fmt.Sprint(Role(0)) != "none" {
		t.Error("the zero role is one")
	}
}
