package admission

import (
	"net/http"
	"strings"
	"testing"
)

// TestAllowedOrigins: what people write comes to what browsers send, and what no
// browser sends is refused with what to write instead.
func TestAllowedOrigins(t *testing.T) {
	for text, want := range map[string]string{
		"https://lab.example":         "https://lab.example",
		"https://lab.example/":        "https://lab.example",
		"HTTPS://Lab.Example":         "https://lab.example",
		"https://lab.example:443":     "https://lab.example",
		"http://lab.example:080":      "http://lab.example",
		"http://lab.example:443":      "http://lab.example:443",
		"https://lab.example:":        "https://lab.example",
		"http://[FD00:0::1]:8080":     "http://[fd00::1]:8080",
		"http://[::ffff:192.0.2.1]":   "http://[::ffff:c000:201]",
		"http://192.0.2.1":            "http://192.0.2.1",
		"http://pc7":                  "http://pc7",
		"http://xn--mnchen-3ya.test":  "http://xn--mnchen-3ya.test",
		"http://lab_2.example.":       "http://lab_2.example.",
		" http://lab.example ":        "http://lab.example",
		"chrome-extension://abcdefgh": "chrome-extension://abcdefgh",
		"null":                        "null",
		"Null":                        "null",
	} {
		allowed, err := parseAllowedOrigins([]string{text})
		if err != nil || len(allowed.list) != 1 || allowed.list[0].String() != want {
			t.Errorf("%q: %v %v, want %s", text, allowed.list, err, want)
		}
	}
	for text, says := range map[string]string{
		"":                             "write for example https://lab.example",
		"lab.example":                  "write https://lab.example, or http://lab.example if",
		"lab.example:8080":             "write https://lab.example:8080, or http://lab.example:8080 if",
		"//lab.example":                "write https://lab.example, or http://lab.example if",
		"https:lab.example":            "write for example https://lab.example",
		"https://":                     "the host is missing",
		"https://:8080":                "the host is missing",
		"https://*.lab.example":        "list each origin, or write * alone",
		"https://*":                    "list each origin, or write * alone",
		"http://lab.example:*":         "list each origin, or write * alone",
		"https://lab.example/page":     "write https://lab.example",
		"https://lab.example?q":        "write https://lab.example",
		"https://lab.example/#top":     "write https://lab.example",
		"https://op:secret@lab.test:8": "write https://lab.test:8",
		"ws://lab.example:8080":        "write http://lab.example:8080",
		"wss://lab.example":            "write https://lab.example",
		"file://":                      "write null",
		"file:///srv/pages/page.html":  "write null",
		"http://lab.example:99999":     "use 0 to 65535",
		"http://lab.example:80x":       "use 0 to 65535",
		"http://fd00::1":               "in brackets",
		"http://fd00::1:8080":          "in brackets",
		"http://[fd00::1":              "[fd00::1]",
		"http://[192.0.2.1]":           "[fd00::1]",
		"http://[fe80::1%eth0]":        "[fd00::1]",
		"http://127.1":                 "for example 192.0.2.1",
		"http://0x7f000001":            "for example 192.0.2.1",
		"http://010.0.0.1":             "for example 192.0.2.1",
		"http://münchen.test":          "xn--",
		"http://lab^example":           "letters, digits",
		"https://a.test https://b.te":  "commas",
	} {
		_, err := parseAllowedOrigins([]string{"https://good.example", text})
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: %v, want an error with %q", text, err, says)
		}
		options := LimitOptions{AllowedOrigins: []string{text}}
		if err := options.Check(); err == nil || !strings.HasPrefix(err.Error(), "--allowed-origins ") {
			t.Errorf("%q: %v does not name the option", text, err)
		}
	}
}

// TestOwnOrigin: the default port may be left away on either side.
func TestOwnOrigin(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		plain, tls   bool
	}{
		{"http://lab.example", "lab.example", true, false},
		{"http://lab.example", "lab.example:80", true, false},
		{"http://lab.example:80", "LAB.example", true, false},
		{"https://lab.example", "lab.example:443", true, true},
		{"https://lab.example:443", "lab.example", true, true},
		{"https://lab.example:8443", "lab.example:8443", true, true},
		{"http://[fd00::1]:8080", "[fd00:0::1]:8080", true, false},
		{"http://lab.example", "lab.example:443", false, false},
		{"https://lab.example", "lab.example:80", false, false},
		{"https://lab.example", "lab.example:8443", false, false},
		{"https://lab.example", "other.example", false, false},
		{"app://lab.example:80", "lab.example:80", false, false},
		{"null", "", false, false},
		{"null", "null", false, false},
		{"file://", "", false, false},
		{"http://lab.example, http://lab.example", "lab.example", false, false},
	} {
		r := &http.Request{Host: c.host, Header: http.Header{"Origin": {c.origin}}}
		for tls, want := range map[bool]bool{false: c.plain, true: c.tls} {
			a := &Admission{opts: Options{TLS: tls}}
			if got := a.ownOrigin(r); got != want {
				t.Errorf("%s asks %q, TLS %v: %v, want %v", c.origin, c.host, tls, got, want)
			}
		}
	}
}

// TestAllowedPage: only a page of a listed origin is allowed, and only "null"
// allows one without an origin of its own.
func TestAllowedPage(t *testing.T) {
	for _, c := range []struct {
		allowed, origin string
		want            bool
	}{
		{"https://lab.example/", "https://lab.example", true},
		{"https://lab.example:443", "https://lab.example", true},
		{"https://lab.example", "https://lab.example.evil.test", false},
		{"https://lab.example", "http://lab.example", false},
		{"https://lab.example", "https://lab.example:8443", false},
		{"https://lab.example", "null", false},
		{"https://lab.example", "", false},
		{"https://lab.example", "not an origin", false},
		{"null", "null", true},
		{"null", "file://", true},
		{"null", "", false},
		{"null", "not an origin", false},
		{"null", "https://lab.example", false},
		{"*", "https://lab.example", true},
		{"*", "not an origin", true},
	} {
		allowed, err := parseAllowedOrigins([]string{c.allowed})
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Header: http.Header{}}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if got := allowed.page(r); got != c.want {
			t.Errorf("%q with --allowed-origins %s: %v, want %v", c.origin, c.allowed, got, c.want)
		}
	}
}

// FuzzOrigin: an origin that is read is the same when it is written and read
// again, and no text reads as two origins.
func FuzzOrigin(f *testing.F) {
	for _, text := range []string{"https://lab.example:443/", "http://[::ffff:192.0.2.1]:1", "null", "app://x:", "http://127.0.0.1.", "http://0x1", "http://a..:00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		origin, err := parseOrigin(text)
		if err != nil {
			return
		}
		again, err := parseOrigin(origin.String())
		if err != nil || again != origin {
			t.Errorf("%q is %q, which is %q, %v", text, origin, again, err)
		}
	})
}
