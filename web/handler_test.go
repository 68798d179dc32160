package web_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labgate/labgate/web"
)

var assets = map[string]string{
	"/":             "text/html; charset=utf-8",
	"/style.css":    "text/css; charset=utf-8",
	"/panel.css":    "text/css; charset=utf-8",
	"/icon.svg":     "image/svg+xml",
	"/app.js":       "text/javascript; charset=utf-8",
	"/devices.js":   "text/javascript; charset=utf-8",
	"/link.js":      "text/javascript; charset=utf-8",
	"/log.js":       "text/javascript; charset=utf-8",
	"/plot.js":      "text/javascript; charset=utf-8",
	"/protocol.js":  "text/javascript; charset=utf-8",
	"/stream.js":    "text/javascript; charset=utf-8",
	"/telemetry.js": "text/javascript; charset=utf-8",
}

// servers are the page on the standard library's server and on the gateway's
// own, whose event loop writes responses itself.
func servers(t *testing.T, test func(t *testing.T, origin string)) {
	t.Run("net/http", func(t *testing.T) {
		s := httptest.NewServer(web.Handler())
		defer s.Close()
		test(t, s.URL)
	})
	t.Run("gateway", func(t *testing.T) {
		test(t, "http://"+startGateway(t, "127.0.0.1:0", nil).Addr())
	})
}

// ask makes a request on a new connection, so that no connection is left over.
func ask(t *testing.T, method, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestAssets(t *testing.T) {
	servers(t, func(t *testing.T, origin string) {
		for path, contentType := range assets {
			res, body := ask(t, http.MethodGet, origin+path, nil)
			if res.StatusCode != http.StatusOK || len(body) == 0 {
				t.Errorf("GET %s: %s with %d bytes", path, res.Status, len(body))
			}
			for name, want := range map[string]string{
				"Content-Type": contentType, "Cache-Control": "no-cache",
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("GET %s: %s is %q, want %q", path, name, got, want)
				}
			}

			head, empty := ask(t, http.MethodHead, origin+path, nil)
			if head.StatusCode != http.StatusOK || empty != "" || head.ContentLength != int64(len(body)) {
				t.Errorf("HEAD %s: %s, Content-Length %d and %d bytes; the file has %d", path, head.Status, head.ContentLength, len(empty), len(body))
			}

			etag := res.Header.Get("ETag")
			for _, known := range []string{etag, `"older", W/` + etag, "*"} {
				same, none := ask(t, http.MethodGet, origin+path, http.Header{"If-None-Match": {known}})
				if same.StatusCode != http.StatusNotModified || none != "" || same.Header.Get("ETag") != etag {
					t.Errorf("GET %s unless it is %s: %s and %d bytes, want 304 and none", path, known, same.Status, len(none))
				}
			}
			if other, _ := ask(t, http.MethodGet, origin+path, http.Header{"If-None-Match": {`"older"`}}); other.StatusCode != http.StatusOK {
				t.Errorf("GET %s with another ETag: %s, want 200", path, other.Status)
			}
		}
	})
}

// TestPolicy checks the content security policy: no inline code, nothing from
// other hosts, no strings that become markup.
func TestPolicy(t *testing.T) {
	res, _ := ask(t, http.MethodGet, httptestURL(t), nil)
	policy := map[string]string{}
	for directive := range strings.SplitSeq(res.Header.Get("Content-Security-Policy"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		policy[name] = value
	}
	want := map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'", "connect-src": "'self'",
		"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
		"require-trusted-types-for": "'script'", "trusted-types": "'none'",
	}
	for name, value := range want {
		if policy[name] != value {
			t.Errorf("%s is %q, want %q", name, policy[name], value)
		}
	}
	if len(policy) != len(want) {
		t.Errorf("the policy has %d directives, want %d: %v", len(policy), len(want), policy)
	}
}

func TestRefusals(t *testing.T) {
	servers(t, func(t *testing.T, origin string) {
		for _, c := range []struct {
			method, path string
			status       int
			code         string
		}{
			{http.MethodGet, "/nothing", http.StatusNotFound, "not_found"},
			{http.MethodGet, "/index.html", http.StatusNotFound, "not_found"},
			{http.MethodGet, "/web.go", http.StatusNotFound, "not_found"},
			{http.MethodGet, "/app.js/", http.StatusNotFound, "not_found"},
			{http.MethodPost, "/nothing", http.StatusNotFound, "not_found"},
			{http.MethodPost, "/", http.StatusMethodNotAllowed, "bad_message"},
			{http.MethodDelete, "/app.js", http.StatusMethodNotAllowed, "bad_message"},
		} {
			res, body := ask(t, c.method, origin+c.path, nil)
			var answer struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Errorf("%s %s: the body %q is not JSON: %v", c.method, c.path, body, err)
			}
			if res.StatusCode != c.status || answer.Error.Code != c.code || answer.Error.Message == "" {
				t.Errorf("%s %s: %s %q %q, want %d %q with a message", c.method, c.path, res.Status, answer.Error.Code, answer.Error.Message, c.status, c.code)
			}
			if got := res.Header.Get("Content-Type"); got != "application/json" {
				t.Errorf("%s %s: content type %q", c.method, c.path, got)
			}
			if allow := res.Header.Get("Allow"); (allow == "GET, HEAD") != (c.status == http.StatusMethodNotAllowed) {
				t.Errorf("%s %s: Allow is %q", c.method, c.path, allow)
			}
		}
	})
}

func httptestURL(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(web.Handler())
	t.Cleanup(s.Close)
	return s.URL + "/"
}
