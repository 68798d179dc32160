package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/internal/access"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/protocol/description"
)

const pressDescription = `{"title": "Press",  "channels":[{"name":"force","unit":"N"}], "actions": {
  "test.start": {"input": {"type":"object","properties":{"speed":{"type":"number","maximum":10}},"required":["speed"]}},
  "test.stop": {"urgent": true, "timeout_ms": 2000}}}`

// request makes a request with headers, and returns the response and its body.
func (g *gateway) request(method, path, body string, header ...string) (*http.Response, string) {
	g.t.Helper()
	req, err := http.NewRequest(method, g.url(path), strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := g.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res, string(text)
}

func TestDescriptionOverHTTP(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		press := g.upgrade("/ws/device/press-1")
		if res, body := g.request("GET", "/v1/devices/press-1/description", ""); res.StatusCode != 404 || !strings.Contains(body, "gateway.describe") {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		press.text(`{"type":"gateway.describe","id":"1","payload":%s}`, pressDescription)
		press.await(protocol.TypeDescribed)

		version := description.Version([]byte(pressDescription))
		res, body := g.request("GET", "/v1/devices/press-1/description", "")
		if res.StatusCode != 200 || body != pressDescription || res.Header.Get("ETag") != `"`+version+`"` || res.Header.Get("Cache-Control") != "private, no-cache" {
			t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
		}
		for _, c := range []struct {
			tags   string
			status int
		}{
			{`"` + version + `"`, 304}, {`W/"` + version + `"`, 304}, {`"x", "` + version + `"`, 304}, {`*`, 304},
			{`"x"`, 200}, {version, 200}, {`"` + version[:15] + `"`, 200},
		} {
			res, body := g.request("GET", "/v1/devices/press-1/description", "", "If-None-Match", c.tags)
			if res.StatusCode != c.status || (body == "") != (c.status == 304) || res.Header.Get("ETag") == "" {
				t.Errorf("%s: %d %v %s", c.tags, res.StatusCode, res.Header, body)
			}
		}
		// The connection is usable behind a 304.
		if res, body := g.request("GET", "/v1/schemas/description.json", ""); res.StatusCode != 200 || body != string(description.Schema) || res.Header.Get("Content-Type") != "application/schema+json" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
		if status, answer := g.call("GET", "/v1/devices/press-1", ""); status != 200 || answer["description_version"] != version {
			t.Errorf("%d %v", status, answer)
		}
		if res, _ := g.request("GET", "/v1/devices/no%20name/description", ""); res.StatusCode != 400 {
			t.Error(res.StatusCode)
		}
		if res, _ := g.request("GET", "/v1/devices/press-2/description", ""); res.StatusCode != 404 {
			t.Error(res.StatusCode)
		}
	})
}

func TestActionsOverHTTP(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		press := g.upgrade("/ws/device/press-1")
		press.text(`{"type":"gateway.describe","id":"1","payload":%s}`, pressDescription)
		press.await(protocol.TypeDescribed)
		answers := make(chan string, 1)
		commands := make(chan protocol.Message, 1)
		go func() {
			for answer := range answers {
				f, err := press.next()
				if err != nil {
					t.Error(err)
					return
				}
				m := press.message(f)
				commands <- m
				press.text(`{"type":"done","re":%q%s}`, m.ID, answer)
			}
		}()
		defer close(answers)
		const json = "application/json"
		for _, c := range []struct {
			path, body, answer string
			status             int
			want               string
			check              func(protocol.Message) bool
		}{
			{"test.start", `{"speed": 5}`, `,"payload":{"ok": true}`, 200, `{"ok": true}`, func(m protocol.Message) bool { return string(m.Payload) == `{"speed": 5}` && !m.Urgent }},
			{"test.stop?urgent=true&timeout_ms=2000", ``, ``, 204, ``, func(m protocol.Message) bool { return m.Payload == nil && m.Urgent && m.TimeoutMS == 2000 }},
			{"test.stop", `null`, `,"payload":null`, 200, `null`, func(m protocol.Message) bool { return string(m.Payload) == "null" }},
			{"test.stop", ``, `,"payload":{"ok":false,"error":"not running"}`, 409, `{"ok":false,"error":"not running"}`, func(protocol.Message) bool { return true }},
		} {
			answers <- c.answer
			header := []string{"Content-Type", json}
			if c.body == "" {
				header = nil
			}
			res, body := g.request("POST", "/v1/devices/press-1/actions/"+c.path, c.body, header...)
			if m := <-commands; !c.check(m) {
				t.Errorf("%s: the device got %+v", c.path, m)
			}
			if res.StatusCode != c.status || body != c.want || body != "" && res.Header.Get("Content-Type") != json {
				t.Errorf("%s: %d %v %q", c.path, res.StatusCode, res.Header, body)
			}
		}
		for _, c := range []struct {
			path, body, contentType string
			status                  int
			want                    string
		}{
			{"press-1/actions/test.start", `{"speed":11}`, json, 400, `at \"/speed\": 11 is too large; allowed: at most 10`},
			{"press-1/actions/test.start", ``, "", 400, `at \"/speed\": is missing`},
			{"press-1/actions/test.start", `{"speed":5}`, "text/plain", 415, "Content-Type"},
			{"press-1/actions/test.start", `{"speed":5`, json, 400, "payload"},
			{"press-1/actions/test.start", `{"speed":5},"dst":"x"`, json, 400, "something follows"},
			{"press-1/actions/Start", `{}`, json, 400, "dotted lower-case words"},
			{"press-1/actions/gateway.kick", `{}`, json, 403, "gateway's own"},
			{"press-1/actions/test.stop?urgent=maybe", ``, "", 400, "true nor false"},
			{"press-1/actions/test.stop?timeout_ms=0", ``, "", 400, "1 to 600000"},
			{"press-1/actions/test.stop?speed=5", ``, "", 400, "urgent and timeout_ms"},
			{"press-2/actions/test.stop", ``, "", 404, "device_offline"},
		} {
			res, body := g.request("POST", "/v1/devices/"+c.path, c.body, append([]string{}, header(c.contentType)...)...)
			if res.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%s %s: %d %s", c.path, c.body, res.StatusCode, body)
			}
		}
	})
}

func header(contentType string) []string {
	if contentType == "" {
		return nil
	}
	return []string{"Content-Type", contentType}
}

// Who may not observe a device does not get its description, and who may not
// command it cannot invoke its actions.
func TestDescriptionPermissions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	observer := func(devices access.Pattern) (token, line string) {
		return newToken(t, access.Grant{Role: access.RoleFrontend, Permissions: access.Permissions{Observe: true, Devices: []access.Pattern{devices}}})
	}
	dev, devLine := newToken(t, access.Grant{Role: access.RoleDevice})
	ovens, ovensLine := observer("oven-*")
	presses, pressesLine := observer("press-*")
	writeFile(t, file, devLine, ovensLine, pressesLine)
	g := start(t, modes[0], func(o *Options) { o.CredentialFile = file })
	press := g.upgradeAs("/ws/device/press-1", dev)
	press.text(`{"type":"gateway.describe","id":"1","payload":%s}`, pressDescription)
	press.await(protocol.TypeDescribed)
	for _, path := range []string{"/v1/devices/press-1/description", "/v1/devices/press-1/td", "/v1/schemas/description.json"} {
		for token, want := range map[string]int{ovens: 404, presses: 200, "nobody": 401} {
			if want == 404 && strings.Contains(path, "schemas") {
				want = 200
			}
			if res, body := g.request("GET", path, "", "Authorization", "Bearer "+token); res.StatusCode != want {
				t.Errorf("%s with %s: %d %s", path, token, res.StatusCode, body)
			}
		}
	}
	if res, body := g.request("POST", "/v1/devices/press-1/actions/test.stop", "", "Authorization", "Bearer "+presses); res.StatusCode != 403 {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if _, body := g.request("GET", "/v1/devices/press-1/td", "", "Authorization", "Bearer "+presses); !strings.Contains(body, `"scheme":"bearer"`) {
		t.Error(body)
	}
}

// Files describe devices, are read again when they change, and are checked at the
// start.
func TestDescriptionFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tester.json", "{\"title\":\"by type\"}\n")
	g := start(t, modes[0], func(o *Options) { o.Descriptions = dir })
	fe := g.upgrade("/ws/frontend")
	g.upgrade("/ws/device/press-1?type=tester")
	if m := fe.await(protocol.TypeDeviceOnline); !strings.Contains(string(m.Payload), description.Version([]byte(`{"title":"by type"}`))) {
		t.Errorf("%s", m.Payload)
	}
	if _, body := g.request("GET", "/v1/devices/press-1/description", ""); body != `{"title":"by type"}` {
		t.Error(body)
	}
	write("press-1.json", `{"title":"by id"}`)
	if m := fe.await(protocol.TypeDeviceDescribed); !strings.Contains(string(m.Payload), description.Version([]byte(`{"title":"by id"}`))) {
		t.Errorf("%s", m.Payload)
	}
	write("tester.json", `{"title":5}`)
	if read, failed := g.Reload(); read != 2 || failed != 1 {
		t.Errorf("%d files read, %d failed", read, failed)
	}
	if _, err := New(Options{ListenOptions: ListenOptions{Descriptions: dir}}); err == nil || !strings.Contains(err.Error(), `tester.json: at "/title": is a number`) {
		t.Error(err)
	}
}

// A device of package client describes itself on each connection, and a front end of
// package client gets the device's refusal as an error.
func TestClientDescribesAndRefuses(t *testing.T) {
	g := start(t, modes[0], nil)
	cfg := client.Config{URL: strings.Replace(g.url(""), "http", "ws", 1)}
	about := description.Description{Title: "Press", Actions: map[string]description.Action{"test.start": {}}}
	refused := make(chan protocol.Message, 1)
	device := func(id string, about *description.Description) {
		t.Helper()
		d, err := client.DialDevice(t.Context(), cfg, client.DeviceConfig{
			ID: id, Description: about,
			OnCommand: func(context.Context, protocol.Message) (any, error) { return nil, errors.New("the door is open") },
			OnMessage: func(m protocol.Message) {
				if m.Type == protocol.TypeError {
					refused <- m
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
	}
	device("press-1", &about)
	described := func() bool {
		_, body := g.request("GET", "/v1/devices/press-1/description", "")
		return body == `{"title":"Press","actions":{"test.start":{}}}`
	}
	g.eventually("press-1 is described", described)

	device("press-2", &description.Description{Channels: []description.Channel{{Name: "no name"}}})
	if m := <-refused; !strings.Contains(string(m.Payload), "/channels/0/name") {
		t.Errorf("%s", m.Payload)
	}
	if _, err := client.DialDevice(t.Context(), cfg, client.DeviceConfig{ID: "press-3", Description: &description.Description{Title: strings.Repeat("x", 70_000)}}); err == nil || !strings.Contains(err.Error(), "at most 65536") {
		t.Error(err)
	}

	fe, err := client.DialFrontend(t.Context(), cfg, client.FrontendConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer fe.Close()
	answer, err := fe.Command(t.Context(), "press-1", "test.start", nil)
	if no := (*client.CommandRefusedError)(nil); !errors.As(err, &no) || *no != (client.CommandRefusedError{Device: "press-1", Type: "test.start", Reason: "the door is open"}) || answer.Type != "test.start.result" {
		t.Errorf("%+v, %v", answer, err)
	}
}
