package web_test

import (
	"context"
	"encoding/json"
	"fmt"
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
	// The device is not back: its state is unknown.
	p.waitText("#panel-status", "offline")
	p.waitText("#panel-state", "unknown")
	d = connectDevice(t, addr, "tensile-1", nil, nil)
	p.waitText("#panel-status", "online")
	defer d.stream()()
	p.wait(`Number(document.querySelector("#received").value) >= 1000`)
}

// TestKicked: a page whose session an operator closed does not reconnect by
// itself.
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

// TestToken: a page without a valid token says so, and connects with a valid
// token, also after a reload.
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
	p.waitText("#device-note", "Without a token that the gateway accepts this page may not see devices.")
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
	p.waitText("#device-note", "No device is connected that this token may see.")
	p.call("Page.reload", map[string]any{}, nil)
	p.wait(`document.querySelector("#node").textContent !== "" && document.querySelector("#link").dataset.phase === "online"`)
	var stored string
	p.eval(`sessionStorage.getItem("labgate.token") + (localStorage.length || "")`, &stored)
	if stored != token {
		t.Errorf("stored is %q, want the token in the session's storage and nothing else", stored)
	}
}

// TestSilentGateway uses a gateway that accepts and then sends nothing more, as
// after a pulled cable: the page must notice, because its Stop no longer works.
// The page's monotonic clock runs ten times as fast; the clock of the computer
// is set back by an hour meanwhile, which must not matter.
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
	p := openTabWith(t, s.URL+"/", fastClock(10)+`{ const began = Date.now(); Date.now = () => began - (document.querySelector("#link")?.dataset.phase === "online" ? 3_600_000 : 0); }`)
	p.waitText("#link-text", "Connected")
	p.waitText("#log", "The connection was lost")
}

// TestAnswerOfAnother: the page ignores an answer that comes from another device
// than the one that it asked.
func TestAnswerOfAnother(t *testing.T) {
	t.Parallel()
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
		say := func(text string) { _ = conn.Write(r.Context(), websocket.MessageText, []byte(text)) }
		say(`{"type":"gateway.welcome","payload":{"node":"n","devices":[{"device_id":"press-1","stream":1,"node":"n"}]}}`)
		for {
			_, data, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			var m protocol.Message
			if json.Unmarshal(data, &m) != nil {
				return
			}
			switch m.Type {
			case protocol.TypeSubscribe:
				say(fmt.Sprintf(`{"type":"gateway.subscribed","re":%q,"payload":%s}`, m.ID, m.Payload))
			case "test.start":
				for _, src := range []string{"press-2", "@user/press-1", "press-1"} {
					say(fmt.Sprintf(`{"src":%q,"type":"test.start.result","re":%q,"payload":{"ok":false,"error":"said by %s"}}`, src, m.ID, src))
				}
			}
		}
	}))
	defer s.Close()
	p := openPage(t, strings.TrimPrefix(s.URL, "http://"), "press-1")
	p.click("#start")
	p.waitText("#answer", "said by press-1")
}

// fastClock is a script that makes the page's monotonic clock run faster.
func fastClock(factor int) string {
	return fmt.Sprintf("{ const now = performance.now.bind(performance), began = now(); performance.now = () => began + %d * (now() - began); }", factor)
}

// TestReturnsSoon has the gateway away for several attempts, with the longest
// pauses that chance may choose: a visible page tries again within 2 s; a page
// in the background waits longer, until it becomes visible.
func TestReturnsSoon(t *testing.T) {
	t.Parallel()
	first := startGateway(t, "127.0.0.1:0", nil)
	addr := first.Addr()
	p := openTabWith(t, "http://"+addr+"/", `
		Math.random = () => 0.99;
		Object.defineProperty(document, "visibilityState", { get: () => window.visibility ?? "visible" });`)
	p.waitText("#link-text", "Connected")
	p.eval(`{
		window.attempts = window.longest = 0;
		new MutationObserver(() => {
			if (document.querySelector("#link").dataset.phase === "connecting") window.attempts++;
			const seconds = document.querySelector("#link-countdown").textContent.match(/in (\d+) s/);
			window.longest = Math.max(window.longest, Number(seconds?.[1] ?? 0));
		}).observe(document.querySelector("#link"), { attributes: true, childList: true, subtree: true });
	}`, nil)
	stopGateway(t, first)
	p.wait("window.attempts >= 6")
	var longest float64
	if p.eval("window.longest", &longest); longest > 2 {
		t.Errorf("a page in view waited %v s before an attempt, want at most 2", longest)
	}
	p.eval(`window.visibility = "hidden"`, nil)
	p.wait("window.longest > 10")
	p.eval(`window.visibility = "visible"; document.dispatchEvent(new Event("visibilitychange")); window.longest = 0`, nil)
	startGateway(t, addr, nil)
	p.waitText("#link-text", "Connected")
	if p.eval("window.longest", &longest); longest > 2 {
		t.Errorf("a page that came into view waited %v s, want at most 2", longest)
	}
}
