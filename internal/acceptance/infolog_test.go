package acceptance

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// TestLogSaysWhoDidWhat: at level info the log has the begin and end of
// sessions, refusals, and commands with their askers, without any payload.
func TestLogSaysWhoDidWhat(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t)
	device, fe := gatewaytest.Connect(t, g.Addr, "/ws/device/tensile-1"), gatewaytest.Connect(t, g.Addr, "/ws/frontend/ada")
	device.Await(protocol.TypeWelcome)
	fe.Await(protocol.TypeWelcome)
	fe.Text(`{"type":"test.start","id":"c-1","dst":"tensile-1","payload":"private"}`)
	device.Await("test.start")
	device.Text(`{"type":"done","re":"c-1","payload":"private"}`)
	fe.Await("done")
	foreign := gatewaytest.Dialer{Headers: []string{"Origin: https://elsewhere.example"}}
	if _, err := foreign.TryConnect(t, g.Addr, "/ws/frontend"); err == nil {
		t.Fatal("a page of another origin may connect")
	}
	req, err := http.NewRequest("GET", "http://"+g.Addr+"/v1/devices", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	fe.Reset()

	for _, c := range []struct {
		message string
		fields  map[string]any
	}{
		{"session began", map[string]any{"role": "device", "name": "tensile-1", "remote": device.Conn.LocalAddr().String()}},
		{"session began", map[string]any{"role": "frontend", "name": "ada", "remote": fe.Conn.LocalAddr().String()}},
		{"command ended", map[string]any{"type": "test.start", "id": "c-1", "device": "tensile-1", "src": "@user/ada", "remote": fe.Conn.LocalAddr().String(), "outcome": "answered"}},
		{"handshake refused", map[string]any{"path": "/ws/frontend", "status": 403.0, "origin": "https://elsewhere.example"}},
		{"request refused", map[string]any{"method": "GET", "path": "/v1/devices", "status": 403.0}},
		{"session ended", map[string]any{"role": "frontend", "name": "ada", "reason": "connection_lost", "code": 1006.0}},
	} {
		gatewaytest.EventuallyWithin(t, patience, c.message, func() bool {
			for line := range strings.Lines(g.Stderr.Tail(1 << 20)) {
				var got map[string]any
				if json.Unmarshal([]byte(line), &got) != nil || got["message"] != c.message || got["level"] != "info" {
					continue
				}
				same := true
				for field, want := range c.fields {
					same = same && got[field] == want
				}
				if same {
					return true
				}
			}
			return false
		})
	}
	if log := g.Stderr.Tail(1 << 20); strings.Contains(log, "private") {
		t.Errorf("a payload is in the log:\n%s", log)
	}
}
