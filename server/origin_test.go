package server

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

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
			mayRead := ""
			if c.origin == friend {
				mayRead = friend
			}
			if res.StatusCode != c.want || res.Header.Get("Access-Control-Allow-Origin") != mayRead || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %s %v, want %d", c.name, res.Status, res.Header, c.want)
			}
		}
		// By a name that somebody may have made to point to 127.0.0.1, but not by
		// one that is known.
		for host, want := range map[string]int{"evil.test": 403, "evil.test:8080": 403, "127.0.0.1.evil.test": 403, "friend.test": 200, "friend.test:443": 200, "friend.test:8080": 200, "localhost:8080": 200, "a.localhost": 200, "[::1]:8080": 200, "10.0.0.7": 200} {
			req, err := http.NewRequest("GET", g.url("/v1/devices"), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			res, err := g.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("by the name %s: %s, want %d", host, res.Status, want)
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

// TestAllowedPageUsesAPI follows a page of an allowed origin as a browser does
// (Fetch Standard, CORS protocol): a preflight without a token, then the request,
// whose response the page may read, also when it is a refusal.
func TestAllowedPageUsesAPI(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		const friend = "https://friend.test"
		g := start(t, m, func(o *Options) {
			o.AllowedOrigins = []string{friend + ":443/", "null"}
			o.DeviceTokenFile, o.FrontendTokenFile = writeFile(t, filepath.Join(t.TempDir(), "devices"), deviceToken), writeFile(t, filepath.Join(t.TempDir(), "frontends"), frontendToken)
		})
		ask := func(method, path, origin, token string, extra ...string) *http.Response {
			t.Helper()
			req, err := http.NewRequest(method, g.url(path), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", origin)
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			for i := 0; i+1 < len(extra); i += 2 {
				req.Header.Set(extra[i], extra[i+1])
			}
			res, err := g.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			return res
		}
		for _, origin := range []string{friend, "null"} {
			res := ask("OPTIONS", "/v1/sessions/x", origin, "", "Access-Control-Request-Method", "DELETE", "Access-Control-Request-Headers", "authorization")
			if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != origin || res.Header.Get("Vary") != "Origin" ||
				res.Header.Get("Access-Control-Allow-Methods") != "GET, POST, DELETE" || res.Header.Get("Access-Control-Allow-Headers") != "Authorization, Content-Type, If-None-Match" {
				t.Errorf("preflight of %s: %s %v", origin, res.Status, res.Header)
			}
			for token, want := range map[string]int{frontendToken: 200, "": 401} {
				res := ask("GET", "/v1/devices", origin, token)
				if res.StatusCode != want || res.Header.Get("Access-Control-Allow-Origin") != origin || res.Header.Get("Access-Control-Expose-Headers") != "ETag, Retry-After" {
					t.Errorf("%s with token %q: %s %v", origin, token, res.Status, res.Header)
				}
			}
			if res := ask("OPTIONS", "/v1/devices", origin, ""); res.StatusCode != 401 {
				t.Errorf("OPTIONS of %s that is no preflight: %s", origin, res.Status)
			}
		}
		// A page of no allowed origin learns nothing, whatever it brings.
		for _, res := range []*http.Response{
			ask("OPTIONS", "/v1/devices", "https://evil.test", "", "Access-Control-Request-Method", "GET"),
			ask("GET", "/v1/devices", "https://evil.test", frontendToken),
			ask("GET", "/v1/devices", "https://friend.test:8443", frontendToken),
		} {
			if res.StatusCode != 403 || res.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("another page: %s %v", res.Status, res.Header)
			}
		}
	})
}

// TestTokenOfProgram: libraries for programs send an Origin of their own; with a
// bearer token, which no page can set on a WebSocket, the origin is not looked
// at. What a browser may add by itself proves nothing.
func TestTokenOfProgram(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) {
			o.DeviceTokenFile, o.FrontendTokenFile = writeFile(t, filepath.Join(t.TempDir(), "devices"), deviceToken), writeFile(t, filepath.Join(t.TempDir(), "frontends"), frontendToken)
		})
		bearer := "Authorization: Bearer " + deviceToken
		for name, c := range map[string]struct {
			headers []string
			want    string
		}{
			"a library's origin":             {[]string{"Origin: file://", bearer}, "101"},
			"any origin":                     {[]string{"Origin: https://elsewhere.test", bearer}, "101"},
			"a wrong token":                  {[]string{"Origin: file://", bearer + "x"}, "401"},
			"a browser that says so":         {[]string{"Origin: https://elsewhere.test", bearer, "Sec-Fetch-Site: cross-site"}, "403"},
			"a password that a browser kept": {[]string{"Origin: https://elsewhere.test", "Authorization: Basic bGFiOmxhYg=="}, "403"},
			"no token":                       {[]string{"Origin: file://"}, "403"},
			"a page's token":                 {[]string{"Origin: https://elsewhere.test", "Sec-WebSocket-Protocol: bearer." + deviceToken}, "403"},
			"two origins":                    {[]string{"Origin: https://gateway.test", "Origin: https://elsewhere.test"}, "403"},
		} {
			p := newPeer(t, g.dial())
			p.write([]byte(request("/ws/device/uno", c.headers...)))
			// The body of a refusal is no frame, which is the error.
			if head, err := p.readHead(); !strings.HasPrefix(head, "HTTP/1.1 "+c.want+" ") {
				t.Errorf("%s: %q %v, want %s", name, head, err, c.want)
			}
		}
	})
}
