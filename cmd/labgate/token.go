package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/labgate/labgate/internal/access"
)

// TokenCmd makes a token and the line of a token file that lets its bearer in.
type TokenCmd struct {
	Role        string   `help:"What the token is for: device, frontend, or admin for the admin listener." enum:"device,frontend,admin" required:""`
	Name        string   `help:"The only device id that it is good for. Default: any." placeholder:"DEVICE"`
	User        string   `help:"The only user that it is good for. Default: any." placeholder:"USER"`
	Permissions []string `help:"What a front end may do: observe, command or both. Default: observe." placeholder:"PERMISSION"`
	Devices     []string `help:"Which devices a front end may do that with: ids, in which * stands for any characters. Default: all." placeholder:"PATTERN"`
	Label       string   `help:"What the token is called in the log." placeholder:"LABEL"`
	Hash        bool     `help:"Read a token from standard input and print only its line."`

	// stdin is where --hash reads from; nil: the process's.
	stdin io.Reader
}

// Run prints the token, once, and its line: two lines on standard output. What
// to do with them goes to standard error.
func (c *TokenCmd) Run(_ context.Context, out *Streams) error {
	grant, err := c.grant()
	if err != nil {
		return err
	}
	if c.Hash {
		token, err := c.readToken()
		if err != nil {
			return err
		}
		line, err := access.HashLine(token, grant)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out.Out, line)
		return err
	}
	token := access.NewToken()
	line, err := access.HashLine(token, grant)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out.Out, "%s\n%s\n", token, line); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.Err, "The first line is the token: give it to the %s, it is kept nowhere. The second goes into the gateway's file of %s tokens, which is read again by itself.\n", grant.Role, grant.Role)
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

// readToken reads one line; it may lack its line break.
func (c *TokenCmd) readToken() (string, error) {
	in := c.stdin
	if in == nil {
		in = os.Stdin
	}
	// Room for a token that is too long and for a line break: the check that
	// follows says what is wrong.
	data, err := io.ReadAll(io.LimitReader(in, 2*access.MaxTokenLen))
	if err != nil {
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
