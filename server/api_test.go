package server

import (
	"io"
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

func TestAPI(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		if status, answer := g.call("GET", "/v1/devices", ""); status != 200 || len(answer["devices"].([]any)) != 0 {
			t.Errorf("no devices: %d %v", status, answer)
		}
		dev := g.upgrade("/ws/device/d1?type=tensile&customer=acme&meta.site=north")
		other := g.upgrade("/ws/device/d2")
		ann1, ann2, bob := g.upgrade("/ws/frontend/ann"), g.upgrade("/ws/frontend/ann"), g.upgrade("/ws/frontend/bob")

		_, answer := g.call("GET", "/v1/devices", "")
		list := answer["devices"].([]any)
		if len(list) != 2 || list[0].(map[string]any)["device_id"] != "d1" || list[1].(map[string]any)["device_id"] != "d2" {
			t.Errorf("devices: %v", answer)
		}
		status, d := g.call("GET", "/v1/devices/d1", "")
		if status != 200 || d["type"] != "tensile" || d["customer"] != "acme" || d["session"] != dev.welcome.Session || d["meta"].(map[string]any)["site"] != "north" || d["health"].(map[string]any)["state"] != "healthy" {
			t.Errorf("device: %d %v", status, d)
		}

		_, answer = g.call("GET", "/v1/sessions", "")
		if n := len(answer["sessions"].([]any)); n != 5 {
			t.Errorf("%d sessions: %v", n, answer)
		}
		status, sess := g.call("GET", "/v1/sessions/"+ann1.welcome.Session, "")
		if status != 200 || sess["role"] != "frontend" || sess["name"] != "ann" || sess["remote"] != ann1.conn.LocalAddr().String() {
			t.Errorf("session: %d %v", status, sess)
		}

		if status, answer := g.call("POST", "/v1/broadcast", `{"type":"notice.all","payload":1}`); status != 200 || answer["delivered"] != 3.0 {
			t.Errorf("broadcast: %d %v", status, answer)
		}
		for _, fe := range []*peer{ann1, ann2, bob} {
			if m := fe.await("notice.all"); m.Src != "@api" || string(m.Payload) != "1" {
				t.Errorf("broadcast message %+v", m)
			}
		}
		if status, answer := g.call("POST", "/v1/users/ann/messages", `{"type":"notice.ann","urgent":true}`); status != 200 || answer["delivered"] != 2.0 {
			t.Errorf("user message: %d %v", status, answer)
		}
		ann1.await("notice.ann")
		ann2.await("notice.ann")

		if status, _ := g.call("DELETE", "/v1/sessions/"+other.welcome.Session, ""); status != 204 {
			t.Errorf("delete: %d", status)
		}
		other.expectClose(protocol.CloseKicked)
		if status, _ := g.call("GET", "/v1/sessions/"+other.welcome.Session, ""); status != 404 {
			t.Errorf("a session that was deleted: %d", status)
		}
	})
}

func TestAPICommands(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		type result struct {
			status int
			answer map[string]any
			err    error
		}
		post := func(body string) <-chan result {
			done := make(chan result, 1)
			go func() {
				status, answer, err := g.tryCall("POST", "/v1/devices/d/commands", body)
				done <- result{status, answer, err}
			}()
			return done
		}
		done := post(`{"type":"test.start","payload":{"speed":1.50}}`)
		c := dev.await("test.start")
		if c.ID == "" || c.Src != "@api" || c.Dst != "d" || string(c.Payload) != `{"speed":1.50}` {
			t.Errorf("command %+v", c)
		}
		dev.text(`{"type":"test.started","re":%q,"payload":{"ok":true}}`, c.ID)
		if r := <-done; r.err != nil || r.status != 200 || r.answer["type"] != "test.started" || r.answer["src"] != "d" || r.answer["payload"].(map[string]any)["ok"] != true {
			t.Errorf("answer %+v", r)
		}

		done = post(`{"type":"test.start","timeout_ms":50}`)
		if r := <-done; r.err != nil || r.status != 504 {
			t.Errorf("silent device: %+v", r)
		} else if code, message := errorOf(r.answer); code != "timeout" || message == "" {
			t.Errorf("silent device: %+v", r)
		}

		done = post(`{"type":"test.stop"}`)
		dev.await("test.stop")
		dev.vanish()
		if r := <-done; r.err != nil || r.status != 502 {
			t.Errorf("device that goes: %+v", r)
		} else if code, _ := errorOf(r.answer); code != "device_disconnected" {
			t.Errorf("device that goes: %+v", r)
		}
		if r := <-post(`{"type":"test.start"}`); r.err != nil || r.status != 404 {
			t.Errorf("absent device: %+v", r)
		} else if code, _ := errorOf(r.answer); code != "device_offline" {
			t.Errorf("absent device: %+v", r)
		}
	})
}

func TestAPIRefusals(t *testing.T) {
	const limit = 64 << 10
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, m, func(o *Options) { o.MaxMessage = limit })
			g.upgrade("/ws/device/d")
			for _, c := range []struct {
				method, path, contentType, body string
				status                          int
				code, says                      string
			}{
				{"GET", "/v1/devices/nobody", "", "", 404, "device_offline", "nobody"},
				{"GET", "/v1/devices/rig%3A9", "", "", 404, "device_offline", "rig:9"},
				{"GET", "/v1/devices/rig%253A9", "", "", 400, "bad_message", `"device_id"`},
				{"GET", "/v1/devices/a%2Fb", "", "", 400, "bad_message", `"device_id"`},
				{"POST", "/v1/devices/.d/commands", "application/json", `{"type":"a.b"}`, 400, "bad_message", `"device_id"`},
				{"POST", "/v1/users/%40ann/messages", "application/json", `{"type":"a.b"}`, 400, "bad_message", `"user"`},
				{"GET", "/v1/nothing", "", "", 404, "not_found", "no such endpoint"},
				{"GET", "/elsewhere", "", "", 404, "not_found", ""},
				{"PUT", "/v1/devices", "", "", 405, "bad_message", "use GET"},
				{"GET", "/v1/broadcast", "", "", 405, "bad_message", "use POST"},
				{"GET", "/v1/sessions/7", "", "", 400, "bad_message", `"id"`},
				{"GET", "/v1/sessions/00000000-0000-4000-8000-000000000000", "", "", 404, "not_found", ""},
				{"DELETE", "/v1/sessions/00000000-0000-4000-8000-000000000000", "", "", 404, "not_found", ""},
				{"POST", "/v1/broadcast", "text/plain", `{"type":"a.b"}`, 415, "bad_message", "Content-Type"},
				{"POST", "/v1/broadcast", "", `{"type":"a.b"}`, 415, "bad_message", "Content-Type"},
				{"POST", "/v1/broadcast", "application/json", `{"type":`, 400, "bad_message", "byte"},
				{"POST", "/v1/broadcast", "application/json", ``, 400, "bad_message", ""},
				{"POST", "/v1/broadcast", "application/json; charset=utf-8", `{}`, 400, "bad_message", `"type"`},
				{"POST", "/v1/broadcast", "application/json", `{"type":"gateway.closing"}`, 403, "not_allowed", `"type"`},
				{"POST", "/v1/users/nobody/messages", "application/json", `{"type":"a.b"}`, 404, "not_found", "nobody"},
				{"POST", "/v1/devices/d/commands", "application/json", `{"type":"a.b","timeout_ms":600001}`, 400, "bad_message", `"timeout_ms"`},
				{"POST", "/v1/devices/d/commands", "application/json", `{"type":"a.b","payload":"` + strings.Repeat("x", limit) + `"}`, 413, "too_large", "--max-message"},
				{"POST", "/v1/devices/d/commands", "application/json", strings.Repeat("x", 40*limit), 413, "too_large", "--max-message"},
			} {
				status, answer, err := g.send(c.method, c.path, c.contentType, strings.NewReader(c.body))
				if err != nil {
					t.Errorf("%s %s: %v", c.method, c.path, err)
					continue
				}
				if code, message := errorOf(answer); status != c.status || code != c.code || message == "" || !strings.Contains(message, c.says) {
					t.Errorf("%s %s %.40q: %d %v, want %d %s with %q", c.method, c.path, c.body, status, answer, c.status, c.code, c.says)
				}
			}
			// A body whose length is not told beforehand.
			body := io.MultiReader(strings.NewReader(`{"type":"a.b","payload":"`), strings.NewReader(strings.Repeat("x", 2*limit)))
			status, answer, err := g.send("POST", "/v1/broadcast", "application/json", body)
			if code, _ := errorOf(answer); err != nil || status != 413 || code != "too_large" {
				t.Errorf("chunked: %d %v %v", status, answer, err)
			}
			if n := g.manager.Len(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

func TestPage(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		for range 2 {
			res, err := g.client.Get(g.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), "<html") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
				t.Errorf("%s %v, %d bytes, %v", res.Status, res.Header, len(body), err)
			}
			// A HEAD has the length but no body, and leaves the connection in
			// step.
			res, err = g.client.Head(g.url("/"))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 || res.ContentLength != int64(len(body)) {
				t.Errorf("HEAD: %s, length %d, want %d", res.Status, res.ContentLength, len(body))
			}
		}
	})
}
