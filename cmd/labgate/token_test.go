package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/labgate/labgate/internal/access"
)

// runToken parses the options as labgate does and runs the command.
func runToken(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	c := TokenCmd{stdin: strings.NewReader(stdin)}
	parser, err := kong.New(&c, kong.Name("token"), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		return "", "", err
	}
	var out, errs bytes.Buffer
	err = c.Run(context.Background(), &Streams{Out: &out, Err: &errs})
	return out.String(), errs.String(), err
}

// TestTokenLetsIn: the token that is printed gets in by the line that is
// printed, as what was asked for.
func TestTokenLetsIn(t *testing.T) {
	for _, c := range []struct {
		name             string
		args             []string
		want             access.Identity
		observe, command string // a device with which that is allowed
		not              string // one with which nothing is
	}{
		{"device", []string{"--role=device"}, access.Identity{Role: access.RoleDevice}, "", "", "x"},
		{"bound device", []string{"--role=device", "--name=tensile-1", "--label=left"}, access.Identity{Role: access.RoleDevice, Name: "tensile-1"}, "", "", "x"},
		{"front end", []string{"--role=frontend"}, access.Identity{Role: access.RoleFrontend}, "x", "", ""},
		{"all of it", []string{"--role=frontend", "--user=ada", "--permissions=observe,command", "--devices=tensile-*,press-1"}, access.Identity{Role: access.RoleFrontend, Name: "ada"}, "press-1", "tensile-9", "press-2"},
		{"admin", []string{"--role=admin", "--label=monitor"}, access.Identity{Role: access.RoleAdmin}, "", "", "x"},
		{"options again", []string{"--role=frontend", "--permissions=observe", "--permissions=command", "--devices=a", "--devices=b"}, access.Identity{Role: access.RoleFrontend}, "a", "b", "c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, errs, err := runToken(t, "", c.args...)
			if err != nil {
				t.Fatal(err)
			}
			token, line, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
			if strings.Contains(line, "\n") || strings.Contains(errs, token) || strings.Count(out, token) != 1 {
				t.Errorf("printed %q and %q", out, errs)
			}
			id := admitted(t, token, line, c.want.Role)
			if id.Role != c.want.Role || id.Name != c.want.Name {
				t.Errorf("%+v, want %+v", id, c.want)
			}
			if c.observe != "" && !id.MayObserve(c.observe) || (c.command != "") != id.MayCommand(c.command) || c.not != "" && (id.MayObserve(c.not) || id.MayCommand(c.not)) {
				t.Errorf("%+v", id)
			}
			hashed, _, err := runToken(t, token+"\n", append(c.args, "--hash")...)
			if err != nil || hashed != line+"\n" {
				t.Errorf("--hash printed %q, %v; want %q", hashed, err, line)
			}
			if again, _, _ := runToken(t, "", c.args...); strings.Contains(again, token) {
				t.Error("the same token twice")
			}
		})
	}
}

func admitted(t *testing.T, token, line string, role access.Role) access.Identity {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := access.Config{CredentialFile: file}
	if role == access.RoleAdmin {
		c = access.Config{AdminTokenFile: file}
	}
	a, err := access.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	id, err := a.Authenticate(role, "", token, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTokenRefuses(t *testing.T) {
	const secret = "c2VjcmV0LXRoaW5ncy1oZXJl"
	for _, c := range []struct {
		name  string
		stdin string
		args  []string
		says  string
	}{
		{"no role", "", nil, "--role"},
		{"role", "", []string{"--role=root"}, "--role"},
		{"name of an admin", "", []string{"--role=admin", "--name=a"}, "--name"},
		{"user of a device", "", []string{"--role=device", "--user=a"}, "--user"},
		{"permissions of a device", "", []string{"--role=device", "--permissions=observe"}, "--permissions"},
		{"devices of a device", "", []string{"--role=device", "--devices=*"}, "--devices"},
		{"name of a front end", "", []string{"--role=frontend", "--name=a"}, "--name"},
		{"name", "", []string{"--role=device", "--name=a b"}, "name: use 1 to 128"},
		{"user", "", []string{"--role=frontend", "--user=@a"}, "user: use 1 to 128"},
		{"label", "", []string{"--role=device", "--label=a b"}, "label: character 2"},
		{"permission", "", []string{"--role=frontend", "--permissions=admin"}, "--permissions: number 1"},
		{"pattern", "", []string{"--role=frontend", "--devices=a,b?"}, "--devices: number 2"},
		{"empty", "\n", []string{"--role=device", "--hash"}, "standard input: empty"},
		{"two lines", secret + "\n" + secret, []string{"--role=device", "--hash"}, "more than one line"},
		{"short", secret[:8], []string{"--role=device", "--hash"}, "a token of 8 characters"},
		{"long", strings.Repeat(secret, 100), []string{"--role=device", "--hash"}, "16 to 512"},
		{"character", secret + "=\n", []string{"--role=device", "--hash"}, "character 25"},
	} {
		out, errs, err := runToken(t, c.stdin, c.args...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.says)
		} else if strings.Contains(err.Error()+out+errs, secret[:8]) {
			t.Errorf("%s: the token is in %q", c.name, err)
		}
	}
}
