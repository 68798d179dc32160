package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/labgate/labgate/internal/access"
)

// runToken runs the command as labgate does, with standard input.
func runToken(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	line, err := parse(append([]string{"token"}, args...), nil)
	if err != nil {
		return "", "", err
	}
	c := line.command.(*TokenCmd)
	c.stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	err = c.Run(context.Background(), &Streams{Out: &out, Err: &errs})
	return out.String(), errs.String(), err
}

// TestTokenLetsIn: the printed line accepts the printed token, with the
// requested role and rights.
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
			line := strings.TrimSuffix(out, "\n")
			token := strings.Split(errs, "\n")[1]
			if strings.Contains(line, "\n") || strings.Contains(out, token) || strings.Count(errs, token) != 1 {
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
			if _, again, _ := runToken(t, "", c.args...); strings.Contains(again, token) {
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

// A token from a file or a pipe of another system may begin with a byte-order
// mark. Text in UTF-16 is refused with what to do.
func TestTokenText(t *testing.T) {
	const token = "NDFjqoRbzOXd2HGfz7VjTZgtwiaz8dI7-Jg9_VtbL0A"
	wide := "\xff\xfeN\x00D\x00\r\x00\n\x00"
	file := filepath.Join(t.TempDir(), "token")
	for text, want := range map[string]string{token: token, "\uFEFF" + token + "\r\n": token, wide: ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&ClientOptions{TokenFile: file}).token()
		if got != want || want == "" && (err == nil || !strings.Contains(err.Error(), "--token-file: "+file+": is text in UTF-16")) {
			t.Errorf("%q: token %q, %v", text, got, err)
		}
		out, _, err := runToken(t, text, "--hash", "--role=device")
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", text, err)
		} else if err == nil {
			admitted(t, token, strings.TrimSuffix(out, "\n"), access.RoleDevice)
		} else if !strings.Contains(err.Error(), "standard input: is text in UTF-16") {
			t.Errorf("%q: %v", text, err)
		}
	}
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

// TestTokenAppends: each line gets into the file by itself, whatever the file
// ends with, and standard output has the token alone.
func TestTokenAppends(t *testing.T) {
	for name, before := range map[string]string{"no file": "", "whole line": "# tokens\n", "no line break": "# tokens"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "tokens")
			if before != "" {
				if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tokens := []string{}
			for _, device := range []string{"a", "b"} {
				out, errs, err := runToken(t, "", "--role=device", "--name="+device, "--append", file)
				if err != nil {
					t.Fatal(err)
				}
				tokens = append(tokens, strings.TrimSuffix(out, "\n"))
				if strings.Contains(errs, tokens[len(tokens)-1]) || strings.Contains(out, "sha256") {
					t.Errorf("printed %q and %q", out, errs)
				}
			}
			out, _, err := runToken(t, "token-of-device-c\n", "--role=device", "--name=c", "--hash", "--append", file)
			if err != nil || out != "" {
				t.Errorf("--hash printed %q, %v", out, err)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
			if want := 3 + strings.Count(before, "#"); len(lines) != want {
				t.Errorf("%d lines, want %d: %q", len(lines), want, data)
			}
			for i, device := range []string{"a", "b", "c"} {
				token := append(tokens, "token-of-device-c")[i]
				if id := admitted(t, token, strings.Join(lines, "\n"), access.RoleDevice); id.Name != device {
					t.Errorf("the token of %s lets in %q", device, id.Name)
				}
			}
			if info, err := os.Stat(file); err != nil || before == "" && info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		})
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, err := runToken(t, "", "--role=device", "--name=a", "--append", pipe); out != "" || err == nil || !strings.Contains(err.Error(), pipe+": is not a regular file") {
		t.Errorf("a pipe: printed %q, %v", out, err)
	}
	if _, _, err := runToken(t, "", "--role=device", "--append", filepath.Join(t.TempDir(), "none", "tokens")); err == nil || !strings.HasPrefix(err.Error(), "--append: ") {
		t.Errorf("a directory that is not there: %v", err)
	}
}
