package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labgate/labgate/server"
)

// TestPagesOfOtherOrigins: the browser itself decides what a page of another origin
// may read. A page of an allowed origin reads answers and refusals,
// sends what needs a preflight, and opens a WebSocket; any other page gets nothing.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	pageOf := func() string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!doctype html><title>elsewhere</title>")
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	friend, stranger := pageOf(), pageOf()
	s := startGateway(t, "127.0.0.1:0", func(o *server.Options) { o.AllowedOrigins = []string{friend} })
	type result struct {
		Read, Refused, Posted, Deleted string
		Socket                         bool
	}
	const use = `(async (base) => {
		const call = async (method, path, init = {}) => {
			try {
				const answer = await fetch("http://" + base + path, { method, ...init });
				return answer.status + " " + Object.keys(await answer.json().catch(() => ({}))).join();
			} catch (e) {
				return e.name;
			}
		};
		const json = { body: '{"type":"note.sent"}', headers: { "Content-Type": "application/json" } };
		return {
			read: await call("GET", "/v1/devices"),
			refused: await call("GET", "/v1/devices/nobody"),
			posted: await call("POST", "/v1/broadcast", json),
			deleted: await call("DELETE", "/v1/sessions/7b4bedea-74b3-45c0-975f-09520838eabf"),
			socket: await new Promise((done) => {
				const ws = new WebSocket("ws://" + base + "/ws/frontend", ["labgate.v1"]);
				ws.onmessage = () => { done(true); ws.close(); };
				ws.onerror = () => done(false);
			}),
		};
	})(%q)`
	for _, c := range []struct {
		name, page string
		want       result
	}{
		{"allowed", friend, result{"200 devices", "404 error", "200 delivered", "404 error", true}},
		{"not allowed", stranger, result{"TypeError", "TypeError", "TypeError", "TypeError", false}},
	} {
		var got result
		openTab(t, c.page+"/").eval(fmt.Sprintf(use, s.Addr()), &got)
		if got != c.want {
			t.Errorf("a page of an origin that is %s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
