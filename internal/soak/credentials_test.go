package soak

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// credentials are a gateway's file of tokens, which the test changes all the
// time, and its secret for JWTs.
type credentials struct {
	file, secretFile string
	// device and frontend are tokens that are never revoked.
	device, frontend string

	// mu guards the rest.
	mu       sync.Mutex
	lines    map[string]string // by token
	visitors []string
}

const secret = "an-hs256-secret-for-the-soak-of-the-gateway"

func newCredentials(t *testing.T) *credentials {
	t.Helper()
	dir := t.TempDir()
	c := &credentials{file: filepath.Join(dir, "tokens"), secretFile: filepath.Join(dir, "secret"), lines: map[string]string{}}
	if err := os.WriteFile(c.secretFile, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	c.device = c.issue(access.Grant{Role: access.RoleDevice})
	all := access.Permissions{Observe: true, Command: true, Devices: []access.Pattern{"*"}}
	c.frontend = c.issue(access.Grant{Role: access.RoleFrontend, Permissions: all})
	for range 4 {
		c.visitors = append(c.visitors, c.issue(access.Grant{Role: access.RoleDevice}))
	}
	return c
}

// issue makes a token and adds it to the file.
func (c *credentials) issue(g access.Grant) string {
	token := access.NewToken()
	line, err := access.HashLine(token, g)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines[token] = line
	c.write()
	return token
}

// revoke removes a token from the file.
func (c *credentials) revoke(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.lines, token)
	c.write()
}

// write replaces the file atomically. The caller holds mu.
func (c *credentials) write() {
	var text strings.Builder
	for _, line := range c.lines {
		text.WriteString(line + "\n")
	}
	err := os.WriteFile(c.file+".new", []byte(text.String()), 0o600)
	if err == nil {
		err = os.Rename(c.file+".new", c.file)
	}
	if err != nil && !os.IsNotExist(err) { // the test is over
		panic(err)
	}
}

// visitor returns a token that may be revoked at any moment.
func (c *credentials) visitor() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.visitors[rand.IntN(len(c.visitors))]
}

// jwt returns a JWT that expires after d.
func (c *credentials) jwt(role, subject string, d time.Duration) string {
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q,"role":%q,"exp":%.3f}`, subject, role, float64(time.Now().Add(d).UnixMilli())/1000))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// turnOver replaces a token that visitors use.
func turnOver(g *gateway, _ int) {
	c := g.credentials
	fresh := c.issue(access.Grant{Role: access.RoleDevice})
	time.Sleep(time.Second)
	c.mu.Lock()
	i := rand.IntN(len(c.visitors))
	old := c.visitors[i]
	c.visitors[i] = fresh
	c.mu.Unlock()
	c.revoke(old)
}

// loseToken connects with a new token, and revokes the token.
func loseToken(g *gateway, i int) {
	id := fmt.Sprintf("steady-token-%d", i%3)
	token := g.credentials.issue(access.Grant{Role: access.RoleDevice, Name: id})
	defer g.credentials.revoke(token)
	var d *device
	for end := time.Now().Add(gatewaytest.Patience); d == nil; time.Sleep(50 * time.Millisecond) {
		var err error
		if d, err = newDevice(g.Addr, id, token); err != nil && (g.over() || time.Now().After(end)) {
			g.wrong("a new token is not let in: %v", err)
			return
		}
	}
	time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	g.credentials.revoke(token)
	g.expectUnauthorized(d, "its token was revoked", 0)
}

// outliveJWT connects with a JWT and stays until the JWT expires.
func outliveJWT(g *gateway, i int) {
	id := fmt.Sprintf("steady-jwt-%d", i%3)
	d, err := newDevice(g.Addr, id, g.credentials.jwt("device", id, 3*time.Second))
	if err != nil {
		g.wrong("a JWT is not let in: %v", err)
		return
	}
	g.expectUnauthorized(d, "its JWT ended", 1)
}

// renewJWT connects with a JWT, and renews it at each gateway.token_expiring.
func renewJWT(g *gateway, i int) {
	id := fmt.Sprintf("steady-renewer-%d", i%3)
	p, err := dial(g.Addr, "/ws/device/"+id, g.credentials.jwt("device", id, 3*time.Second), 0)
	if err != nil {
		g.wrong("a JWT is not let in: %v", err)
		return
	}
	renewed := 0
	p.onText = func(m protocol.Message) {
		switch m.Type {
		case protocol.TypeTokenExpiring:
			p.Text(`{"type":"gateway.renew","id":"r","payload":{"token":%q}}`, g.credentials.jwt("device", id, 3*time.Second))
		case protocol.TypeRenewed:
			if renewed++; renewed == 2 {
				p.Leave()
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run()
	}()
	select {
	case <-done:
	case <-time.After(gatewaytest.Patience):
		p.Reset()
		<-done
	}
	if renewed < 2 || p.closed != uint16(protocol.CloseNormal) {
		g.wrong("%s renewed %d times and was closed with %d", id, renewed, p.closed)
		return
	}
	g.endings[2].Add(1)
}

// expectUnauthorized waits for 4001.
func (g *gateway) expectUnauthorized(d *device, why string, counter int) {
	select {
	case <-d.done:
	case <-time.After(gatewaytest.Patience):
		d.Reset()
		<-d.done
	}
	if d.closed != uint16(protocol.CloseUnauthorized) {
		g.wrong("%s was closed with %d though %s", d.id, d.closed, why)
		return
	}
	g.endings[counter].Add(1)
}

// over reports whether the gateway has ended or drains. Then a closed
// connection is no error.
func (g *gateway) over() bool { return g.leaving.Load() || !g.Alive() }

func (g *gateway) wrong(format string, args ...any) {
	if !g.over() {
		g.complain(format, args...)
	}
}
