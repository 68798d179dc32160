package admission

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/access"
)

// TestTokenFilesInClear holds the form that token files have had from the
// start: one token a line, good for the whole role.
func TestTokenFilesInClear(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	const a, b = "0123456789abcdef", "ABCDEF._~-0123456789"
	for name, c := range map[string]struct {
		content string
		admits  []string
		fails   string
	}{
		"one":                    {a, []string{a}, ""},
		"several":                {"# staff\n" + a + "\n\n  " + b + "\t\r\n# end", []string{a, b}, ""},
		"longest":                {strings.Repeat("x", 512), []string{strings.Repeat("x", 512)}, ""},
		"empty":                  {"", nil, "holds no token"},
		"only comments":          {"# nothing\n\n", nil, "holds no token"},
		"short":                  {a + "\n0123456789abcde", nil, "line 2: a token of 15 characters, 16 to 512 allowed"},
		"long":                   {strings.Repeat("x", 513), nil, "line 1: a token of 513 characters"},
		"a space inside":         {"0123456789 abcdef", nil, "line 1: 2 words; a line must be one token of 16 to 512 characters"},
		"a comma":                {"0123456789abcdef,", nil, "line 1: character 17"},
		"not ASCII":              {"0123456789abcdefé", nil, "character 17"},
		"too large":              {strings.Repeat("0123456789abcdef\n", 1<<19), nil, "is this the right file?"},
		"binary":                 {"\x7fELF\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", nil, "not allowed"},
		"comment behind a token": {a + " # staff", nil, "a comment needs a line of its own"},
	} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		for option, o := range map[string]access.Config{"--device-token-file: ": {DeviceTokenFile: file}, "--frontend-token-file: ": {FrontendTokenFile: file}} {
			role, other := access.RoleDevice, access.RoleFrontend
			if o.DeviceTokenFile == "" {
				role, other = other, role
			}
			a, err := New(Options{CredentialOptions: CredentialOptions{Config: o}})
			if c.fails != "" {
				if err == nil || !strings.HasPrefix(err.Error(), option) || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("%s: %v, want an error with %q", name, err, c.fails)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for _, token := range c.admits {
				id, err := a.authenticator.Authenticate(role, "any-name", token, nil)
				if err != nil || id.Name != "" || rightsOf(id) != nil {
					t.Errorf("%s: %+v %v", name, id, err)
				}
				for _, wrong := range []string{"", token[1:], token + "0", strings.ToUpper(token) + "x", " " + token} {
					if _, err := a.authenticator.Authenticate(role, "any-name", wrong, nil); err == nil {
						t.Errorf("%s: %q is admitted", name, wrong)
					}
				}
				if _, err := a.authenticator.Authenticate(other, "any-name", "", nil); err != nil {
					t.Errorf("%s: the other role is kept out: %v", name, err)
				}
			}
		}
	}
	if _, err := New(Options{CredentialOptions: CredentialOptions{Config: access.Config{DeviceTokenFile: file + ".absent"}}}); err == nil {
		t.Error("an absent file is no error")
	}
}

func TestPresentedToken(t *testing.T) {
	for _, c := range []struct {
		header  string
		offered []string
		want    string
	}{
		{"", nil, ""},
		{"Bearer abc", nil, "abc"},
		{"bearer  abc ", nil, "abc"},
		{"BEARER abc", []string{"bearer.def"}, "abc"},
		{"Bearer", []string{"bearer.def"}, "def"},
		{"Bearer ", []string{"bearer.def"}, ""},
		{"Basic abc", []string{"labgate.v1", "bearer.def", "bearer.ghi"}, "def"},
		{"", []string{"labgate.v1", "Bearer.def"}, ""},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.header != "" {
			r.Header.Set("Authorization", c.header)
		}
		if got := presentedToken(r, c.offered); got != c.want {
			t.Errorf("%q %v: %q, want %q", c.header, c.offered, got, c.want)
		}
	}
}
