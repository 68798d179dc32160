// Package web contains the page that the gateway serves at "/": an operator's
// live view in plain JavaScript. The page has no build step and loads nothing
// from the internet, because a laboratory may have no internet access.
package web

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed index.html icon.svg *.css *.js
var files embed.FS

// policy lets the page load its own files and connect to its own gateway, and
// nothing else. With trusted types the browser refuses innerHTML and similar
// functions, so that data from devices cannot become markup by mistake.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// asset is one served file.
type asset struct {
	body        []byte
	contentType string
	etag        string
}

// Handler serves the page at "/" and its files beside it, and answers all other
// paths with 404 and a JSON body. Browsers must check each time whether a file
// has changed (RFC 9110 section 13.1.2), so that after an update of the gateway
// no old script runs in a new page.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := assets[r.URL.Path]
		if !ok {
			fail(w, http.StatusNotFound, `{"error":{"code":"not_found","message":"nothing is here; the page is at /, the API under /v1/, WebSockets under /ws/"}}`)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			fail(w, http.StatusMethodNotAllowed, `{"error":{"code":"bad_message","message":"the page can only be read; use GET or HEAD"}}`)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.contentType)
		h.Set("ETag", a.etag)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if matches(r.Header.Get("If-None-Match"), a.etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
		// For HEAD the server leaves the body out.
		_, _ = w.Write(a.body)
	})
}

// load returns the embedded files by the path of their URL.
func load() map[string]asset {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic("web: embedded files: " + err.Error()) // impossible: the compiler embedded the files
	}
	assets := make(map[string]asset, len(entries))
	for _, entry := range entries {
		name := entry.Name()
		body, err := files.ReadFile(name)
		if err != nil {
			panic("web: embedded files: " + err.Error())
		}
		sum := sha256.Sum256(body)
		at := "/" + name
		if name == "index.html" {
			at = "/"
		}
		assets[at] = asset{body: body, contentType: contentTypes[path.Ext(name)], etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
	}
	return assets
}

// matches reports whether an If-None-Match field contains the tag, by the weak
// comparison of RFC 9110 section 8.8.3.2.
func matches(field, etag string) bool {
	for tag := range strings.SplitSeq(field, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

func fail(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body + "\n"))
}
