package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
)

const jwtSecret = "a-secret-of-at-least-32-bytes-0123456789"

// claims of a JWT.
type claims map[string]any

// signed returns a JWT that is good for d.
func signed(t testing.TB, d time.Duration, c claims) string {
	t.Helper()
	c["exp"] = float64(time.Now().Add(d).UnixMilli()) / 1000
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256"}`)) + "." + encode(payload)
	mac := hmac.New(sha256.New, []byte(jwtSecret))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

// writeFile writes a file in one step and returns its path.
func writeFile(t testing.TB, path string, lines ...string) string {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// newToken returns a token and the line that grants its bearer g.
func newToken(t testing.TB, g access.Grant) (token, line string) {
	t.Helper()
	token = access.NewToken()
	line, err := access.HashLine(token, g)
	if err != nil {
		t.Fatal(err)
	}
	return token, line
}

func withJWT(t testing.TB) func(*Options) {
	file := writeFile(t, filepath.Join(t.TempDir(), "secret"), jwtSecret)
	return func(o *Options) { o.JWTSecretFile = file }
}

// upgradeAs makes the handshake with a token.
func (g *gateway) upgradeAs(path, token string) *peer {
	g.t.Helper()
	p, err := g.tryUpgradeAs(path, token)
	if err != nil {
		g.t.Fatalf("%s: %v", path, err)
	}
	return p
}

func (g *gateway) tryUpgradeAs(path, token string) (*peer, error) {
	conn, err := g.tryDial()
	if err != nil {
		return nil, err
	}
	return g.upgradeOverAs(conn, path, token)
}

// callAs makes a request to the HTTP API with a token.
func (g *gateway) callAs(token, method, path, body string) (int, map[string]any) {
	g.t.Helper()
	req, err := http.NewRequest(method, g.url(path), strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := g.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	var answer map[string]any
	_ = json.Unmarshal(data, &answer) // none has an empty one
	return res.StatusCode, answer
}
