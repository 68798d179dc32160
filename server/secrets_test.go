package server

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

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
			time.Sleep(2 * renewPause)
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
		g.eventually("the failure is counted", func() bool { return g.admission.Counters().ReloadFailures.Load() == 1 })
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
		for _, want := range []string{"session began", "handshake refused", "their sessions were ended"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q, so this test looks at too little", want)
			}
		}
		if !strings.Contains(metrics, `labgate_credentials_refused_total{node="test",reason="expired"}`) {
			t.Error("no refused credentials are counted")
		}
	})
}
