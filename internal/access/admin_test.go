package access

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestAdminTokens: an administrator's token is good for the admin listener
// alone, and no other credential is.
func TestAdminTokens(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	line, err := HashLine(tokenA, Grant{Role: RoleAdmin, Label: "monitor"})
	if err != nil || !strings.HasSuffix(line, " role=admin label=monitor") {
		t.Fatalf("%s %v", line, err)
	}
	const clear = "a-token-in-clear-0123456789"
	const frontend = "frontend-token-0123456789"
	a, err := New(Config{AdminTokenFile: write("admin", line+"\n"+clear+"\n"), FrontendTokenFile: write("frontends", frontend), JWTSecretFile: write("secret", testSecret)})
	if err != nil {
		t.Fatal(err)
	}
	if a.OpenTo(RoleAdmin) || a.OpenTo(RoleFrontend) || a.OpenTo(0) || a.OpenTo(roles) {
		t.Error("open")
	}
	for _, token := range []string{tokenA, clear} {
		if id, err := a.Authenticate(RoleAdmin, "", token, nil); err != nil || id.Role != RoleAdmin || id.Observe || id.Command {
			t.Errorf("%+v %v", id, err)
		}
		var refusal *Refusal
		if _, err := a.Authenticate(RoleFrontend, "", token, nil); !errors.As(err, &refusal) || refusal.Reason != WrongRole {
			t.Errorf("as a front end: %v", err)
		}
	}
	signed := sign(t, jwt.SigningMethodHS256, []byte(testSecret), members{"alg": "HS256"}, members{"sub": "ada", "role": "frontend", "exp": time.Now().Unix() + 60})
	if _, err := a.Authenticate(RoleFrontend, "", signed, nil); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"none": "", "front end's": frontend, "JWT": signed, "wrong": tokenB} {
		if id, err := a.Authenticate(RoleAdmin, "", token, nil); err == nil {
			t.Errorf("%s: %+v", name, id)
		}
	}
	open, err := New(Config{})
	if err != nil || !open.OpenTo(RoleAdmin) {
		t.Errorf("without a file: %v", err)
	}
	for name, content := range map[string]string{
		"a file of its own": line,
		"not for the role":  strings.Replace(line, "role=admin", "role=admin user=ada", 1),
	} {
		c := Config{CredentialFile: write("x", content)}
		if name == "not for the role" {
			c = Config{AdminTokenFile: c.CredentialFile}
		}
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, g := range []Grant{{Role: RoleAdmin, Name: "ada"}, {Role: RoleAdmin, Permissions: everything()}} {
		if _, err := HashLine(tokenA, g); err == nil {
			t.Errorf("%+v is accepted", g)
		}
	}
}
