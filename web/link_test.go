package web_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/server"
	"github.com/labgate/labgate/web"
)

// TestReconnect restarts the gateway under the page.
func TestReconnect(t *testing.T) {
	t.Parallel()
	first := startGateway(t, "127.0.0.1:0", nil)
	addr := first.Addr()
	d := connectDevice(t, addr, "tensile-1", nil, nil)
	p := openPage(t, addr, "tensile-1")
	d.sendState("running")
	p.waitText("#panel-state", "running")
	stopGateway(t, first)
	p.waitText("#link-text", "going away")
	p.waitText("#log", `{"retry_after_ms":100}`)

	startGateway(t, addr, nil)
	p.waitText("#link-text", "Connected")
	// The device is not back: what was known of it no longer holds.
	p.waitText("#panel-status", "offline")
	p.waitText("#panel-state", "unknown")
	d = connectDevice(t, addr, "tensile-1", nil, nil)
	p.waitText("#panel-status", "online")
	defer d.stream()()
	p.wait(`Number(document.querySelector("#received").value) >= 1000`)
}

// TestKicked: who was shown the door does not come back by himself.
func TestKicked(t *testing.T) {
	t.Parallel()
	s := startGateway(t, "127.0.0.1:0", nil)
	connectDevice(t, s.Addr(), "tensile-1", nil, nil)
	p := openPage(t, s.Addr(), "tensile-1")
	frontendSession(t, s).Close(protocol.CloseKicked, "by a test")
	p.waitText("#link-text", "kicked (4008)")
	p.wait(`document.querySelector("#link").dataset.phase === "stopped"`)
	p.waitText("#panel-status", "unknown")
	p.waitText(`[data-device="tensile-1"] .presence`, "unknown")
	p.click("#start")
	p.waitText("#answer", "no connection")
	p.click("#connect")
	p.waitText("#link-text", "Connected")
	p.waitText("#panel-status", "online")
	p.checkClean("http://" + s.Addr())
}

// TestToken: a page without the right token says so, and with it connects, also
// after a reload.
func TestToken(t *testing.T) {
	t.Parallel()
	const token = "a-token.of_32~characters-0123456"
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startGateway(t, "127.0.0.1:0", func(o *server.Options) { o.FrontendTokenFile = file })
	p := openTab(t, "http://"+s.Addr()+"/")
	p.waitText("#link-text", "wants a token")
	p.wait(`document.activeElement.id === "token"`)
	p.write("not-the-token")
	p.press("Enter")
	p.waitText("#link-text", "does not accept this token")
	p.eval(`document.querySelector("#token").select()`, nil)
	p.write("not a token")
	p.press("Enter")
	p.waitText("#link-text", "characters that a token cannot have")
	p.eval(`document.querySelector("#token").select()`, nil)
	p.write(token)
	p.press("Enter")
	p.waitText("#link-text", "Connected")
	p.call("Page.reload", map[string]any{}, nil)
	p.wait(`document.querySelector("#node").textContent !== "" && document.querySelector("#link").dataset.phase === "online"`)
	var stored string
	p.eval(`sessionStorage.getItem("labgate.token") + (localStorage.length || "")`, &stored)
	if stored != token {
		t.Errorf("stored is %q, want the token in the session's storage and nothing else", stored)
	}
}

// TestSilentGateway has a gateway that accepts and then says nothing more, like
// one behind a cable that was pulled: the page must notice, since its Stop no
// longer works. The page's clock runs ten times as fast.
func TestSilentGateway(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	page := web.Handler()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/ws/") {
			page.ServeHTTP(w, r)
			return
		}
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		_ = conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":"gateway.welcome","payload":{"node":"mute","devices":[]}}`))
		<-over
	}))
	defer s.Close()
	defer close(over)
	p := openTab(t, "about:blank")
	p.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{
		"source": `{ const now = Date.now, began = now(); Date.now = () => began + 10 * (now() - began); }`,
	}, nil)
	p.call("Page.navigate", map[string]any{"url": s.URL + "/"}, nil)
	p.waitText("#link-text", "Connected")
	p.waitText("#log", "The connection was lost")
}
