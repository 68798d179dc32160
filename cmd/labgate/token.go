package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/textfile"
)

// TokenCmd makes a token and its line for a token file.
type TokenCmd struct {
	Role        string   `option:"role" enum:"device,frontend,admin" required:"true" help:"What the token is for: a device, a front end, or the admin listener."`
	Name        string   `option:"name" unset:"any" placeholder:"DEVICE" help:"The only device id for which the token is valid."`
	User        string   `option:"user" unset:"any" placeholder:"USER" help:"The only user for whom the token is valid."`
	Permissions []string `option:"permissions" unset:"observe" placeholder:"PERMISSION" help:"What a front end may do: observe, command or both."`
	Devices     []string `option:"devices" unset:"all" placeholder:"PATTERN" help:"Devices to which the permissions apply: ids, in which * stands for any characters."`
	Label       string   `option:"label" placeholder:"LABEL" help:"Name of the token in the log."`
	Hash        bool     `option:"hash" help:"Read an existing token from standard input and print only its line."`
	Append      string   `option:"append" type:"path" placeholder:"FILE" help:"Add the line to the end of this file and print only the token. The file is created if it does not exist. A gateway that uses the file notices the change by itself."`

	// stdin is the input of --hash; nil means the standard input of the
	// process.
	stdin io.Reader
}

// Run writes the line for the gateway's file and the token to two places.
// Standard output gets only one of them, so that it can be redirected to a
// file: the line, or with --append the token.
func (c *TokenCmd) Run(_ context.Context, out *Streams) error {
	grant, err := c.grant()
	if err != nil {
		return err
	}
	token := ""
	if c.Hash {
		if token, err = c.readToken(); err != nil {
			return err
		}
	} else {
		token = access.NewToken()
	}
	line, err := access.HashLine(token, grant)
	if err != nil {
		return err
	}
	if c.Append == "" {
		return c.printBoth(out, grant.Role, token, line)
	}
	if err := appendLine(c.Append, line); err != nil {
		return fmt.Errorf("--append: %w", err)
	}
	if !c.Hash {
		if _, err := fmt.Fprintln(out.Out, token); err != nil {
			return err
		}
		_, err = fmt.Fprintf(out.Err, "Give this token to the %s; Labgate does not store the token itself. Its line is at the end of %s.\n", grant.Role, c.Append)
	}
	return err
}

// printBoth prints the line to standard output and the token to standard error.
func (c *TokenCmd) printBoth(out *Streams, role access.Role, token, line string) error {
	if !c.Hash {
		if _, err := fmt.Fprintf(out.Err, "Token for the %s; Labgate does not store the token itself:\n%s\nLine for the gateway's token file; labgate token --append FILE would write the line to the file:\n", role, token); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out.Out, line)
	return err
}

// appendLine appends a line to a file with one write, so that a gateway never
// reads half of the line. Only the owner may read a new file.
func appendLine(path, line string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is not a regular file; the line would be lost", path)
	}
	text := line + "\n"
	if size := info.Size(); size > 0 {
		last := []byte{0}
		if _, err := f.ReadAt(last, size-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			text = "\n" + text
		}
	}
	_, err = f.WriteString(text)
	return err
}

// grant checks the options against each other.
func (c *TokenCmd) grant() (access.Grant, error) {
	role, known := access.ParseRole(c.Role)
	if !known {
		return access.Grant{}, errors.New("--role is missing; use device, frontend or admin")
	}
	g := access.Grant{Role: role, Label: c.Label}
	if role == access.RoleAdmin {
		if c.Name != "" || c.User != "" || c.Permissions != nil || c.Devices != nil {
			return g, errors.New("--name, --user, --permissions and --devices are not for the role admin; leave them away")
		}
		return g, nil
	}
	if role == access.RoleDevice {
		if c.User != "" || c.Permissions != nil || c.Devices != nil {
			return g, errors.New("--user, --permissions and --devices are for front ends; bind a device's token with --name")
		}
		g.Name = c.Name
		return g, nil
	}
	if c.Name != "" {
		return g, errors.New("--name is for devices; bind a front end's token with --user")
	}
	g.Name = c.User
	var err error
	if g.Permissions, err = access.ParsePermissions(c.Permissions, c.Devices); err != nil {
		return g, fmt.Errorf("--%w", err)
	}
	return g, nil
}

// readToken reads one line, with or without a line break.
func (c *TokenCmd) readToken() (string, error) {
	in := c.stdin
	if in == nil {
		in = os.Stdin
	}
	// The limit leaves room for a token that is too long, because the check
	// below gives the better error.
	data, err := io.ReadAll(io.LimitReader(in, 2*access.MaxTokenLen))
	if err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	if data, err = textfile.Decode(data); err != nil {
		return "", fmt.Errorf("standard input: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if strings.ContainsAny(token, "\r\n") {
		return "", errors.New("standard input: more than one line; give one token")
	}
	if token == "" {
		return "", errors.New("standard input: empty; give a token, as in: labgate token --hash --role device < token.txt")
	}
	return token, nil
}
