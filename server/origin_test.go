package server

import (
	"net/http"
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
			if res.StatusCode != c.want || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %s %v, want %d", c.name, res.Status, res.Header, c.want)
			}
		}
		// By a name that somebody may have made to point to 127.0.0.1, but not by
		// one that is known.
		for host, want := range map[string]int{"evil.test": 403, "evil.test:8080": 403, "127.0.0.1.evil.test": 403, "friend.test": 200, "localhost:8080": 200, "a.localhost": 200, "[::1]:8080": 200, "10.0.0.7": 200} {
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
