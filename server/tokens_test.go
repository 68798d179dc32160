package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadTokens(t *testing.T) {
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
		"a space inside":         {"0123456789 abcdef", nil, "line 1: character 11 is not allowed"},
		"a comma":                {"0123456789abcdef,", nil, "line 1: character 17"},
		"not ASCII":              {"0123456789abcdefé", nil, "character 17"},
		"too large":              {strings.Repeat("0123456789abcdef\n", 1<<16), nil, "is this the right file?"},
		"a line without an end":  {strings.Repeat("x", 1<<20), nil, "a token of 1048576 characters"},
		"binary":                 {"\x7fELF\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", nil, "not allowed"},
		"comment behind a token": {a + " # staff", nil, "not allowed"},
	} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := loadTokens(file)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v, want an error with %q", name, err, c.fails)
			}
			continue
		}
		if err != nil || len(got) != len(c.admits) {
			t.Errorf("%s: %d tokens, %v", name, len(got), err)
		}
		for _, token := range c.admits {
			if !got.admit(token) {
				t.Errorf("%s: %q is not admitted", name, token)
			}
			for _, other := range []string{"", token[1:], token + "0", strings.ToUpper(token) + "x", " " + token} {
				if got.admit(other) {
					t.Errorf("%s: %q is admitted", name, other)
				}
			}
		}
	}
	if _, err := loadTokens(file + ".absent"); err == nil {
		t.Error("an absent file is no error")
	}
	open, err := loadTokens("")
	if err != nil || !open.admit("") || !open.admit("anything") {
		t.Error("without a file somebody is kept out")
	}
	if (tokens{}).admit("") {
		t.Error("a list without tokens lets somebody in")
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

func TestTokenFilesAreRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for option, o := range map[string]Options{
		"--device-token-file: ":   {DeviceTokenFile: file},
		"--frontend-token-file: ": {FrontendTokenFile: file},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), option) {
			t.Errorf("%s%v", option, err)
		}
	}
}
