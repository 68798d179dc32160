package server

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
)

// TestIgnoredKeysAreLogged: who reads the log at the start and after a change
// learns which keys of a JWKS are not used.
func TestIgnoredKeysAreLogged(t *testing.T) {
	key := func(kid string) string {
		return `{"kty":"oct","kid":"` + kid + `","k":"` + base64.RawURLEncoding.EncodeToString([]byte(jwtSecret)) + `"}`
	}
	file := filepath.Join(t.TempDir(), "jwks.json")
	writeFile(t, file, `{"keys":[{"kty":"EC","crv":"P-256"},`+key("a")+`]}`)
	var log logBuffer
	g := prepare(t, modes[0], func(o *Options) { o.JWKSFile, o.Logger = file, o.Logger.Output(&log) })
	g.start()
	for _, want := range []string{`"ignored":1`, `"credentials":1`, `"reasons":"key 1: kty is none of RSA, OKP and oct"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log.String())
		}
	}
	writeFile(t, file, `{"keys":[`+key("a")+`,{"kty":"RSA","use":"enc"},`+key("b")+`]}`)
	g.eventually("the change is logged", func() bool {
		return strings.Contains(log.String(), `"reasons":"key 2: use is not sig"`)
	})
}
