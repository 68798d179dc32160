package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
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

// TestRevokedTokenEndsItsSessions: and those of no other, whatever the file
// goes through.
func TestRevokedTokenEndsItsSessions(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		file := filepath.Join(t.TempDir(), "tokens")
		kept, keptLine := newToken(t, access.Grant{Role: access.RoleDevice, Name: "kept"})
		gone, goneLine := newToken(t, access.Grant{Role: access.RoleDevice, Label: "lost"})
		ann, annLine := newToken(t, access.Grant{Role: access.RoleFrontend, Name: "ann", Permissions: access.Permissions{Observe: true, Devices: []access.Pattern{"*"}}})
		writeFile(t, file, keptLine, goneLine, annLine)
		g := start(t, m, func(o *Options) { o.CredentialFile = file })
		stays, first, second := g.upgradeAs("/ws/device/kept", kept), g.upgradeAs("/ws/device/a", gone), g.upgradeAs("/ws/device/b", gone)
		fe := g.upgradeAs("/ws/frontend", ann)
		if fe.welcome.Session == "" || g.manager.Get(uuidOf(t, fe)).Name() != "ann" {
			t.Error("a bound token does not name its front end")
		}
		if _, err := g.tryUpgradeAs("/ws/device/other", kept); err == nil {
			t.Error("a token is good for another device")
		}

		// A file that cannot be used changes nothing.
		writeFile(t, file, "nonsense here")
		g.eventually("the failure is counted", func() bool { return g.stats.reloadFailures.Load() == 1 })
		if n := g.manager.Len(); n != 4 {
			t.Errorf("%d sessions after a broken file, want 4", n)
		}
		writeFile(t, file, annLine, keptLine)
		first.expectClose(protocol.CloseUnauthorized)
		second.expectClose(protocol.CloseUnauthorized)
		if _, err := g.tryUpgradeAs("/ws/device/a", gone); err == nil {
			t.Error("a revoked token lets in")
		}
		stays.text(`{"type":"still.here"}`)
		fe.await("still.here")
		if n := g.stats.reloads.Load(); n != 1 {
			t.Errorf("%d reloads counted, want 1", n)
		}
	})
}

// TestCredentialThatWasRevokedMeanwhile: a session that comes into being while
// its token is revoked is ended.
func TestCredentialThatWasRevokedMeanwhile(t *testing.T) {
	g := start(t, modes[0], withJWT(t))
	p := g.upgradeAs("/ws/device/d", signed(t, time.Hour, claims{"sub": "d", "role": "device"}))
	l := leaseOf(g.manager.Get(uuidOf(t, p)))
	l.mu.Lock()
	l.source = "token:gone#1"
	l.mu.Unlock()
	l.begin(l.sess)
	p.expectClose(protocol.CloseUnauthorized)
}

// TestExpiredSessionIsClosed: after a warning in time.
func TestExpiredSessionIsClosed(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, withJWT(t))
		for path, c := range map[string]claims{"/ws/device/d": {"sub": "d", "role": "device"}, "/ws/frontend": {"sub": "ann", "role": "frontend"}} {
			p := g.upgradeAs(path, signed(t, 1500*time.Millisecond, c))
			var e protocol.Expiry
			if err := json.Unmarshal(p.await(protocol.TypeTokenExpiring).Payload, &e); err != nil || e.ExpiresInMS == nil || *e.ExpiresInMS <= 0 || *e.ExpiresInMS > 1500 {
				t.Errorf("warned with %+v, %v", e, err)
			}
			p.expectClose(protocol.CloseUnauthorized)
		}
		if n := g.manager.Stats().Closes()["unauthorized"]; n != 2 {
			t.Errorf("%d closes counted as unauthorized, want 2", n)
		}
		if _, err := g.tryUpgradeAs("/ws/device/d", signed(t, -time.Second, claims{"sub": "d", "role": "device"})); err == nil {
			t.Error("an expired JWT lets in")
		}
	})
}

// TestRenewInPlace: a session goes on with another JWT of the same subject, and
// with what that one permits.
func TestRenewInPlace(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, withJWT(t))
		long := func(c claims) string { return signed(t, time.Hour, c) }
		one, two := g.upgradeAs("/ws/device/one", long(claims{"sub": "one", "role": "device"})), g.upgradeAs("/ws/device/two", long(claims{"sub": "two", "role": "device"}))
		begun := time.Now()
		fe := g.upgradeAs("/ws/frontend", signed(t, 2*time.Second, claims{"sub": "ann", "role": "frontend", "devices": []string{"one"}}))
		if d := fe.welcome.Devices; len(d) != 1 || d[0].DeviceID != "one" {
			t.Errorf("welcomed with %v", d)
		}
		fe.await(protocol.TypeTokenExpiring)
		for name, token := range map[string]string{
			"other user": long(claims{"sub": "bob", "role": "frontend"}),
			"other role": long(claims{"sub": "ann", "role": "device"}),
			"expired":    signed(t, -time.Second, claims{"sub": "ann", "role": "frontend"}),
			"forged":     long(claims{"sub": "ann", "role": "frontend"}) + "x",
		} {
			time.Sleep(renewPause)
			fe.text(`{"type":"gateway.renew","id":"no","payload":{"token":%q}}`, token)
			if e := fe.errorOf("no"); e.Code != protocol.ErrNotAllowed || strings.Contains(e.Message, token) {
				t.Errorf("%s: %+v", name, e)
			}
		}
		time.Sleep(renewPause)
		fe.text(`{"type":"gateway.renew","id":"yes","payload":{"token":%q}}`, long(claims{"sub": "ann", "role": "frontend", "devices": []string{"two"}, "permissions": []string{"observe", "command"}}))
		var e protocol.Expiry
		if r := fe.await(protocol.TypeRenewed); r.Re != "yes" || json.Unmarshal(r.Payload, &e) != nil || e.ExpiresInMS == nil || *e.ExpiresInMS < 3_500_000 {
			t.Errorf("renewed: %+v", r)
		}
		fe.text(`{"type":"gateway.renew","id":"again","payload":{"token":"x"}}`)
		if e := fe.errorOf("again"); e.Code != protocol.ErrRateLimited {
			t.Errorf("at once again: %+v", e)
		}
		time.Sleep(time.Until(begun.Add(2200 * time.Millisecond)))
		one.text(`{"type":"from.one"}`)
		fe.text(`{"type":"a.command","dst":"two"}`)
		two.await("a.command")
		two.text(`{"type":"from.two"}`)
		fe.await("from.two")
		fe.text(`{"type":"a.command","id":"c","dst":"one"}`)
		if e := fe.errorOf("c"); e.Code != protocol.ErrNotAllowed {
			t.Errorf("command to one: %+v", e)
		}
	})
}

// errorOf awaits the error that answers a message.
func (p *peer) errorOf(re string) (e protocol.ErrorPayload) {
	p.t.Helper()
	m := p.await(protocol.TypeError)
	if err := json.Unmarshal(m.Payload, &e); err != nil || m.Re != re {
		p.t.Fatalf("%+v %s, want the error of %q", m, m.Payload, re)
	}
	return e
}

// TestRenewingAnOpenSession: where no token was asked for nothing expires.
func TestRenewingAnOpenSession(t *testing.T) {
	g := start(t, modes[0], nil)
	p := g.upgrade("/ws/device/d")
	p.text(`{"type":"gateway.renew","id":"1","payload":{"token":"whatever"}}`)
	if m := p.await(protocol.TypeRenewed); string(m.Payload) != `{}` {
		t.Errorf("renewed with %s", m.Payload)
	}
}

// TestPermissionsInTheAPI: what is not permitted is not seen, or refused with
// 403.
func TestPermissionsInTheAPI(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		file := filepath.Join(t.TempDir(), "tokens")
		dev, devLine := newToken(t, access.Grant{Role: access.RoleDevice})
		grant := func(observe, command bool, devices ...access.Pattern) (string, string) {
			return newToken(t, access.Grant{Role: access.RoleFrontend, Permissions: access.Permissions{Observe: observe, Command: command, Devices: devices}})
		}
		some, someLine := grant(true, true, "press-*")
		viewer, viewerLine := grant(true, false, "*")
		all, allLine := grant(true, true, "x", "*")
		writeFile(t, file, devLine, someLine, viewerLine, allLine)
		g := start(t, m, func(o *Options) { o.CredentialFile = file })
		press, oven := g.upgradeAs("/ws/device/press-1", dev), g.upgradeAs("/ws/device/oven-1", dev)
		fe := g.upgradeAs("/ws/frontend", some)
		for name, c := range map[string]struct {
			token             string
			devices, sessions int
			see               int // status of GET /v1/devices/oven-1
			command, end      int // status of what is done to oven-1
			endFrontend       int
		}{
			"some":   {some, 1, 1, 404, 403, 404, 404},
			"viewer": {viewer, 2, 3, 200, 403, 403, 403},
			"all":    {all, 2, 3, 200, 504, 204, 204},
		} {
			if name == "all" {
				continue // last: it ends the sessions
			}
			g.checkPermissions(t, name, c.token, c.devices, c.sessions, c.see, c.command, c.end, c.endFrontend, oven, fe)
		}
		if status, _ := g.callAs(some, "POST", "/v1/devices/press-1/commands", `{"type":"a.b","timeout_ms":1}`); status != 504 {
			t.Errorf("a permitted command: %d", status)
		}
		press.await("a.b")
		g.checkPermissions(t, "all", all, 2, 3, 200, 504, 204, 204, oven, fe)
		oven.await("a.b")
		oven.expectClose(protocol.CloseKicked)
		if status, _ := g.callAs(dev, "GET", "/v1/devices", ""); status != 401 {
			t.Errorf("a device's token: %d", status)
		}
	})
}

func (g *gateway) checkPermissions(t *testing.T, name, token string, devices, sessions, see, command, end, endFrontend int, oven, fe *peer) {
	t.Helper()
	if _, answer := g.callAs(token, "GET", "/v1/devices", ""); len(answer["devices"].([]any)) != devices {
		t.Errorf("%s: devices %v", name, answer)
	}
	if _, answer := g.callAs(token, "GET", "/v1/sessions", ""); len(answer["sessions"].([]any)) != sessions {
		t.Errorf("%s: sessions %v", name, answer)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/v1/devices/oven-1", "", see},
		{"GET", "/v1/sessions/" + oven.welcome.Session, "", see},
		{"POST", "/v1/devices/oven-1/commands", `{"type":"a.b","timeout_ms":1}`, command},
		{"DELETE", "/v1/sessions/" + oven.welcome.Session, "", end},
		{"DELETE", "/v1/sessions/" + fe.welcome.Session, "", endFrontend},
	} {
		status, answer := g.callAs(token, c.method, c.path, c.body)
		code, _ := errorOf(answer)
		if status != c.want || status == 403 && code != "not_allowed" {
			t.Errorf("%s: %s %s: %d %v, want %d", name, c.method, c.path, status, answer, c.want)
		}
	}
}

// TestExposure: beyond loopback only with authentication, or when insecurity is
// asked for; the admin listener only with a token.
func TestExposure(t *testing.T) {
	dir := t.TempDir()
	tokens := writeFile(t, filepath.Join(dir, "tokens"), deviceToken)
	secret := writeFile(t, filepath.Join(dir, "secret"), jwtSecret)
	for name, c := range map[string]struct {
		listen, admin string
		o             AccessOptions
		says          string
	}{
		"loopback":              {"127.0.0.1:0", "", AccessOptions{}, ""},
		"loopback of IPv6":      {"[::1]:0", "[::1]:0", AccessOptions{}, ""},
		"localhost":             {"localhost:0", "localhost:0", AccessOptions{}, ""},
		"another of 127/8":      {"127.8.9.1:0", "", AccessOptions{}, ""},
		"all":                   {":8080", "", AccessOptions{}, "--listen :8080 is not on loopback, and anybody who reaches it could connect as one of the devices and frontends"},
		"all of IPv4":           {"0.0.0.0:8080", "", AccessOptions{}, "--insecure"},
		"all of IPv6":           {"[::]:8080", "", AccessOptions{}, "--insecure"},
		"a name":                {"lab.example:8080", "", AccessOptions{}, "--insecure"},
		"front ends are open":   {":8080", "", AccessOptions{DeviceTokenFile: tokens}, "as one of the frontends; give --frontend-token-file"},
		"devices are open":      {":8080", "", AccessOptions{FrontendTokenFile: tokens}, "as one of the devices; give --device-token-file"},
		"both need a token":     {":8080", "", AccessOptions{DeviceTokenFile: tokens, FrontendTokenFile: tokens}, ""},
		"JWT":                   {":8080", "", AccessOptions{JWTSecretFile: secret}, ""},
		"insecure":              {":8080", "", AccessOptions{Insecure: true}, ""},
		"admin":                 {"", ":8081", AccessOptions{}, "--admin-listen :8081 is not on loopback"},
		"admin, insecure":       {"", ":8081", AccessOptions{Insecure: true}, "--admin-token-file"},
		"admin with a token":    {"", ":8081", AccessOptions{AdminTokenFile: tokens}, ""},
		"certificates, no TLS":  {"", "", AccessOptions{ClientCA: tokens}, "--client-ca needs TLS"},
		"warning":               {"", "", AccessOptions{TokenWarning: time.Millisecond}, "--token-warning 1ms is out of range"},
		"a claim without a key": {"", "", AccessOptions{JWTIssuer: "x"}, "--jwt-issuer"},
	} {
		_, err := New(Options{Listen: c.listen, AdminListen: c.admin, AccessOptions: c.o})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// TestAdminToken: every path of the admin listener but the probes asks for it,
// and pages of other sites get nothing.
func TestAdminToken(t *testing.T) {
	const token = "admin-token-0123456789"
	file := writeFile(t, filepath.Join(t.TempDir(), "tokens"), token)
	guarded := start(t, modes[0], func(o *Options) { o.AdminTokenFile, o.FrontendTokenFile = file, writeFile(t, file+"2", frontendToken) })
	open := start(t, modes[0], nil)
	ask := func(g *gateway, path string, header ...string) int {
		t.Helper()
		req, err := http.NewRequest("GET", "http://"+g.AdminAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
			req.Header.Set(header[i], header[i+1])
		}
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/nothing"} {
		known := 200
		if path == "/nothing" {
			known = 404
		}
		for _, header := range []string{"", "Bearer " + frontendToken, "Bearer wrong-token-0123456789", "Basic " + token, "Bearer " + token + "0"} {
			if status := ask(guarded, path, "Authorization", header); status != 401 {
				t.Errorf("%s with %q: %d", path, header, status)
			}
		}
		if status := ask(guarded, path, "Authorization", "Bearer "+token); status != known {
			t.Errorf("%s with the token: %d", path, status)
		}
		if status := ask(open, path); status != known {
			t.Errorf("%s without need of a token: %d", path, status)
		}
		for _, site := range []string{"cross-site", "same-site"} {
			if status := ask(open, path, "Sec-Fetch-Site", site); status != 403 {
				t.Errorf("%s from %s: %d", path, site, status)
			}
		}
		if status := ask(open, path, "Host", "evil.test:8081"); status != 403 {
			t.Errorf("%s by a name that points here: %d", path, status)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status := ask(guarded, path); status != 200 {
			t.Errorf("%s: %d", path, status)
		}
	}
	// The admin's token is not one of the public listener.
	if status, _ := guarded.callAs(token, "GET", "/v1/devices", ""); status != 401 {
		t.Errorf("the admin's token at the HTTP API: %d", status)
	}
}

// TestForeignPages: a page of another site can neither read nor do anything.
func TestForeignPages(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		const friend = "https://friend.test"
		g := start(t, m, func(o *Options) { o.AllowedOrigins = []string{friend} })
		own := strings.TrimSuffix(g.url(""), "/")
		for _, c := range []struct {
			name, method, contentType, origin, site string
			want                                    int
		}{
			{"simple form", "POST", "application/x-www-form-urlencoded", "http://evil.test", "cross-site", 403},
			{"form of an old browser", "POST", "text/plain", "http://evil.test", "", 403},
			{"form without an origin", "POST", "text/plain", "", "cross-site", 403},
			{"form that says neither", "POST", "multipart/form-data", "", "", 415},
			{"own page, but a form", "POST", "text/plain", own, "same-origin", 415},
			{"script", "POST", "application/json", "http://evil.test", "cross-site", 403},
			{"sandboxed page", "POST", "application/json", "null", "cross-site", 403},
			{"another origin of the site", "POST", "application/json", "http://127.0.0.1:1", "same-site", 403},
			{"an origin that lies", "POST", "application/json", own, "cross-site", 403},
			{"image", "GET", "", "", "cross-site", 403},
			{"own page", "POST", "application/json", own, "same-origin", 200},
			{"own page of an old browser", "POST", "application/json", own, "", 200},
			{"typed address", "GET", "", "", "none", 200},
			{"allowed origin", "POST", "application/json", friend, "cross-site", 200},
			{"program", "POST", "application/json", "", "", 200},
		} {
			path := "/v1/devices"
			if c.method == "POST" {
				path = "/v1/broadcast"
			}
			req, err := http.NewRequest(c.method, g.url(path), strings.NewReader(`{"type":"a.b"}`))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{"Content-Type": c.contentType, "Origin": c.origin, "Sec-Fetch-Site": c.site} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			res, err := g.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != c.want || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %s %v, want %d", c.name, res.Status, res.Header, c.want)
			}
		}
		// Behind TLS an origin without it is not the gateway's own.
		if m.tls != "" {
			req := strings.Replace(request("/ws/frontend", "Origin: http://127.0.0.1:80"), "Host: gateway.test", "Host: 127.0.0.1:80", 1)
			c := refusalCase{"plain page", req, 403, protocol.ErrNotAllowed, "origin", ""}
			c.check(t, g)
		}
	})
}

// logBuffer takes a log from several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// secretOf returns what of a token must not be seen: a JWT's signature is the
// secret part.
func secretOf(token string) string {
	if i := strings.LastIndex(token, "."); i >= 0 {
		return token[i+1:]
	}
	return token
}

// TestSecretsAreNowhere presents tokens in all right and many wrong ways, and
// looks for them in the log, the metrics and every answer.
func TestSecretsAreNowhere(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		dir := t.TempDir()
		devices, frontends := writeFile(t, filepath.Join(dir, "d"), deviceToken), writeFile(t, filepath.Join(dir, "f"), frontendToken)
		secret := writeFile(t, filepath.Join(dir, "s"), jwtSecret)
		var log logBuffer
		g := start(t, m, func(o *Options) {
			o.DeviceTokenFile, o.FrontendTokenFile, o.JWTSecretFile = devices, frontends, secret
			o.Logger = o.Logger.Output(&log)
		})
		jwt := signed(t, time.Hour, claims{"sub": "ann", "role": "frontend"})
		old := signed(t, -time.Hour, claims{"sub": "ann", "role": "frontend"})
		wrong := "wrong-token-of-somebody-else"
		tokens := []string{deviceToken, jwt, old, wrong, frontendToken} // the last is the one that is revoked
		var seen strings.Builder
		see := func(raw string) {
			conn := g.dial()
			defer conn.Close()
			write(t, conn, raw)
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			p := newPeer(t, conn)
			head, _ := p.readHead() // a refusal's body stands behind it
			seen.WriteString(head)
			if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				n, _ := conn.Read(p.buf)
				seen.Write(p.buf[:n])
			}
		}
		for _, token := range tokens {
			for _, path := range []string{"/ws/device/d", "/ws/frontend", "/ws/nowhere"} {
				see(request(path, "Authorization: Bearer "+token))
				see(request(path, "Authorization: "+token))
				see(request(path+"?token="+token, "Authorization: Bearer "+token))
				see(request(path+"?"+token, "Authorization: Bearer "+token))
				see(request(path+"?telemetry="+token, "Authorization: Bearer "+token))
				see(edited(path, "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: bearer."+token))
				see(edited(path, "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: labgate.v1, bearer."+token))
			}
			for _, path := range []string{"/v1/devices", "/v1/devices?token=" + token, "/v1/sessions?" + token, "/?token=" + token, "/nothing?token=" + token} {
				_, answer := g.callAs(token, "GET", path, "")
				fmt.Fprint(&seen, answer)
				_, answer = g.callAs("", "GET", path, "")
				fmt.Fprint(&seen, answer)
			}
		}
		p := g.upgradeAs("/ws/frontend/ann", frontendToken)
		for i, token := range tokens {
			time.Sleep(renewPause)
			p.text(`{"type":"gateway.renew","id":"%d","payload":{"token":%q}}`, i, token)
			p.text(`{"type":"gateway.renew","id":"%d","payload":%q}`, i, token)
			p.text(`{"type":"gateway.renew","id":"%d","payload":{"token":[%q]}}`, i, token)
			p.text(`{"type":"gateway.renew","id":"%d","payload":{"token":%q`, i, token)
		}
		for range 4 * len(tokens) {
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			seen.Write(f.data)
		}
		writeFile(t, devices, deviceToken, "x "+wrong)
		g.eventually("the failure is counted", func() bool { return g.stats.reloadFailures.Load() == 1 })
		writeFile(t, frontends, wrong)
		p.expectClose(protocol.CloseUnauthorized)

		_, metrics := g.askAdmin("/metrics")
		for where, text := range map[string]string{"answers": seen.String(), "metrics": metrics, "log": log.String()} {
			if len(text) < 1000 {
				t.Errorf("only %d bytes of %s were looked at", len(text), where)
			}
			for _, token := range append(tokens, jwtSecret) {
				if i := strings.Index(text, secretOf(token)); i >= 0 {
					t.Errorf("a token is in the %s: %.200s", where, text[max(0, i-100):])
				}
			}
		}
		for _, want := range []string{"session admitted", "handshake refused", "their sessions were ended"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q, so this test looks at too little", want)
			}
		}
		if !strings.Contains(metrics, `labgate_credentials_refused_total{node="test",reason="expired"}`) {
			t.Error("no refused credentials are counted")
		}
	})
}
