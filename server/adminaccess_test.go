package server

import (
	"net/http"
	"path/filepath"
	"testing"
)

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
