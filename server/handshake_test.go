package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

const (
	deviceToken   = "device-token-0123456789"
	frontendToken = "frontend-token-0123456789"
)

// refusalCase is a request that is not upgraded.
type refusalCase struct {
	name    string
	request string
	status  int
	code    protocol.ErrorCode
	says    string // in the message
	header  string // of the answer, "Name: value"
}

// edited is a handshake with one header line replaced, or left out when with
// is empty.
func edited(path, line, with string) string {
	r := request(path)
	i := strings.Index(r, line)
	j := i + strings.Index(r[i:], "\r\n") + 2
	if with != "" {
		with += "\r\n"
	}
	return r[:i] + with + r[j:]
}

func refusals() []refusalCase {
	long := strings.Repeat("x", 129)
	return []refusalCase{
		{"name too long", request("/ws/device/" + long), 400, "bad_message", `"device_id"`, ""},
		{"name empty", request("/ws/device/"), 400, "bad_message", `"device_id"`, ""},
		{"name begins with a dot", request("/ws/device/.d"), 400, "bad_message", `"device_id"`, ""},
		{"name escaped", request("/ws/device/a%2Fb"), 400, "bad_message", `"device_id"`, ""},
		{"name with a slash", request("/ws/device/a/b"), 400, "bad_message", `"device_id"`, ""},
		{"user", request("/ws/frontend/" + long), 400, "bad_message", `"user"`, ""},
		{"name escaped twice", request("/ws/device/rig%253A1"), 400, "bad_message", `"device_id"`, ""},
		{"HTTP/1.0", strings.Replace(request("/ws/device/d"), "HTTP/1.1", "HTTP/1.0", 1), 400, "bad_message", "HTTP/1.0", ""},
		{"two keys", request("/ws/device/d", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZA=="), 400, "bad_message", "Sec-WebSocket-Key: more than one", ""},
		{"two versions", request("/ws/device/d", "Sec-WebSocket-Version: 8"), 400, "bad_message", "Sec-WebSocket-Version: more than one", ""},
		{"with a body", request("/ws/device/d", "Content-Length: 2") + "{}", 400, "bad_message", "Content-Length", ""},
		{"unknown path", request("/ws/machine/d"), 404, "not_found", "/ws/device/{device_id}", ""},
		{"unknown path beside", request("/ws/frontends"), 404, "not_found", "/ws/frontend", ""},
		{"method", "POST" + request("/ws/device/d")[3:], 405, "bad_message", "POST", "Allow: GET"},
		{"no Connection", edited("/ws/device/d", "Connection:", ""), 426, "bad_message", "Upgrade", "Upgrade: websocket"},
		{"other Connection", edited("/ws/device/d", "Connection:", "Connection: keep-alive"), 426, "bad_message", "Upgrade", ""},
		{"no Upgrade", edited("/ws/device/d", "Upgrade:", ""), 426, "bad_message", "Upgrade", ""},
		{"other Upgrade", edited("/ws/device/d", "Upgrade:", "Upgrade: h2c"), 426, "bad_message", "Upgrade", ""},
		{"no version", edited("/ws/device/d", "Sec-WebSocket-Version:", ""), 426, "bad_message", "Sec-WebSocket-Version", "Sec-Websocket-Version: 13"},
		{"version 8", edited("/ws/device/d", "Sec-WebSocket-Version:", "Sec-WebSocket-Version: 8"), 426, "bad_message", "Sec-WebSocket-Version", "Sec-Websocket-Version: 13"},
		{"no key", edited("/ws/device/d", "Sec-WebSocket-Key:", ""), 400, "bad_message", "Sec-WebSocket-Key", ""},
		{"short key", edited("/ws/device/d", "Sec-WebSocket-Key:", "Sec-WebSocket-Key: c2hvcnQ="), 400, "bad_message", "Sec-WebSocket-Key", ""},
		{"odd key", edited("/ws/device/d", "Sec-WebSocket-Key:", "Sec-WebSocket-Key: ~~~"), 400, "bad_message", "Sec-WebSocket-Key", ""},
		{"origin", request("/ws/device/d", "Origin: https://elsewhere.test"), 403, "not_allowed", "elsewhere.test", ""},
		{"origin null", request("/ws/device/d", "Origin: null"), 403, "not_allowed", "origin", ""},
		{"sub-protocol", edited("/ws/device/d", "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: mqtt, labgate.v2"), 400, "bad_message", "Sec-WebSocket-Protocol", ""},
		{"HTTP/1.0", strings.Replace(request("/ws/device/d"), "HTTP/1.1", "HTTP/1.0", 1), 400, "bad_message", "HTTP/1.1", ""},
		{"unknown query", request("/ws/device/d?kind=x"), 400, "bad_message", `"kind"`, ""},
		{"query of a front end", request("/ws/device/d?telemetry=all"), 400, "bad_message", `"telemetry"`, ""},
		{"query of a device", request("/ws/frontend?type=x"), 400, "bad_message", `"type"`, ""},
		{"query twice", request("/ws/device/d?type=a&type=b"), 400, "bad_message", `"type": given 2 times`, ""},
		{"query too long", request("/ws/device/d?customer=" + strings.Repeat("x", 257)), 400, "bad_message", `"customer": at most 256 bytes`, ""},
		{"query not UTF-8", request("/ws/device/d?customer=%ff"), 400, "bad_message", `"customer"`, ""},
		{"query with a line end", request("/ws/device/d?customer=a%0ab"), 400, "bad_message", `"customer"`, ""},
		{"query cannot be read", request("/ws/device/d?customer=%zz"), 400, "bad_message", "query", ""},
		{"meta name", request("/ws/device/d?meta.a%20b=x"), 400, "bad_message", `"meta.a b"`, ""},
		{"meta without a name", request("/ws/device/d?meta.=x"), 400, "bad_message", `"meta."`, ""},
		{"too many meta", request("/ws/device/d?" + metaQuery(33)), 400, "bad_message", "32 meta", ""},
		{"telemetry", request("/ws/frontend?telemetry=some"), 400, "bad_message", `"telemetry": its value`, ""},
		{"origin of another site", request("/ws/frontend", "Origin: http://evil.test"), 403, "not_allowed", "evil.test", ""},
		{"a name made to point here", request("/ws/frontend", "Origin: https://gateway.test"), 403, "not_allowed", "gateway.test", ""},
		{"a token in the query", request("/ws/frontend?token=" + frontendToken), 400, "bad_message", "Authorization", ""},
		{"a token as the query", request("/ws/device/d?" + frontendToken), 400, "bad_message", "a name of", ""},
	}
}

// check sends the request and compares the answer, behind which the connection
// must end.
func (c *refusalCase) check(t *testing.T, g *gateway) {
	t.Helper()
	c.checkOn(t, g.dial())
}

func (c *refusalCase) checkOn(t *testing.T, conn net.Conn) {
	t.Helper()
	write(t, conn, c.request)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
	var answer struct{ Error protocol.Error }
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Errorf("%s: %q: %v", c.name, body, err)
	}
	if e := answer.Error; res.StatusCode != c.status || e.Code != c.code || !strings.Contains(e.Message, c.says) {
		t.Errorf("%s: %d %+v, want %d %s with %q", c.name, res.StatusCode, e, c.status, c.code, c.says)
	}
	if name, value, ok := strings.Cut(c.header, ": "); ok && res.Header.Get(name) != value {
		t.Errorf("%s: header %s is %q, want %q", c.name, name, res.Header.Get(name), value)
	}
	if !res.Close {
		t.Errorf("%s: the answer does not say that the connection ends: %v", c.name, res.Header)
	}
	if b, err := in.ReadByte(); err == nil {
		t.Errorf("%s: %q came behind the answer", c.name, b)
	} else if isTimeout(err) {
		t.Errorf("%s: the connection was not closed", c.name)
	}
	conn.Close()
}

func TestHandshakeRefusals(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		for _, c := range refusals() {
			c.check(t, g)
		}
		if n := g.manager.Len(); n != 0 {
			t.Errorf("%d sessions", n)
		}
		counted := g.admission.Counters().RefusedRequests.All()
		if got := counted["bad_message"] + counted["not_allowed"] + counted["not_found"]; got != uint64(len(refusals())) {
			t.Errorf("%v refusals counted, %d made", counted, len(refusals()))
		}
	})
}

// TestHandshakeAccepted holds the requests that look odd but are not wrong.
func TestHandshakeAccepted(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.AllowedOrigins = []string{"https://lab.test"} })
		own := "http://127.0.0.1:80"
		if m.tls != "" {
			own = "https://127.0.0.1:80"
		}
		for name, r := range map[string]string{
			"no sub-protocol":       edited("/ws/frontend", "Sec-WebSocket-Protocol:", ""),
			"several sub-protocols": edited("/ws/frontend", "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: bearer.x,labgate.v1"),
			"Connection list":       edited("/ws/frontend", "Connection:", "Connection: keep-alive, Upgrade"),
			"other letter case":     edited("/ws/frontend", "Upgrade:", "upgrade: WebSocket"),
			"own origin":            strings.Replace(request("/ws/frontend", "Origin: "+own), "Host: gateway.test", "Host: 127.0.0.1:80", 1),
			"allowed origin":        request("/ws/frontend", "Origin: HTTPS://lab.test"),
			"extensions":            request("/ws/frontend", "Sec-WebSocket-Extensions: permessage-deflate"),
			"slash":                 request("/ws/frontend/"),
			"user escaped":          request("/ws/frontend/%41nn"),
			"32 meta":               request("/ws/device/d?" + metaQuery(32)),
		} {
			p := newPeer(t, g.dial())
			p.write([]byte(r))
			head, err := p.readHead()
			if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				t.Errorf("%s: %q %v", name, head, err)
				continue
			}
			// RFC 6455 section 1.3 has this key and its answer.
			for _, want := range []string{"Upgrade: websocket\r\n", "Connection: Upgrade\r\n", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"} {
				if !strings.Contains(head, want) {
					t.Errorf("%s: %q lacks %q", name, head, want)
				}
			}
			if got, want := strings.Contains(head, "Sec-WebSocket-Protocol: labgate.v1\r\n"), name != "no sub-protocol"; got != want {
				t.Errorf("%s: sub-protocol %v in %q", name, got, head)
			}
			if strings.Contains(head, "Extensions") {
				t.Errorf("%s: an extension was agreed on: %q", name, head)
			}
			p.await(protocol.TypeWelcome)
		}
	})
}

func metaQuery(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&meta.k%d=%d", i, i)
	}
	return b.String()[1:]
}

func TestHandshakeTokens(t *testing.T) {
	dir := t.TempDir()
	devices, frontends := filepath.Join(dir, "devices"), filepath.Join(dir, "frontends")
	for file, token := range map[string]string{devices: deviceToken, frontends: frontendToken} {
		if err := os.WriteFile(file, []byte("# one\n"+token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	header := func(token string) string { return "Authorization: Bearer " + token }
	bySubprotocol := func(path, token string) string {
		return edited(path, "Sec-WebSocket-Protocol:", "Sec-WebSocket-Protocol: labgate.v1, bearer."+token)
	}
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, func(o *Options) { o.DeviceTokenFile, o.FrontendTokenFile = devices, frontends })
		for _, path := range []string{"/ws/device/d", "/ws/frontend/ann"} {
			right, other := deviceToken, frontendToken
			if path != "/ws/device/d" {
				right, other = other, right
			}
			for name, r := range map[string]string{
				"none":                           request(path),
				"wrong":                          request(path, header("wrong-token-0123456789")),
				"the other role's":               request(path, header(other)),
				"empty":                          request(path, header("")),
				"other scheme":                   request(path, "Authorization: Basic "+right),
				"longer":                         request(path, header(right+"0")),
				"sub-protocol wrong":             bySubprotocol(path, "wrong-token-0123456789"),
				"sub-protocol, the other role's": bySubprotocol(path, other),
			} {
				says := "token"
				if strings.Contains(name, "other role") {
					says = "for the role"
				}
				c := refusalCase{path + " " + name, r, 401, protocol.ErrNotAllowed, says, `WWW-Authenticate: Bearer realm="labgate"`}
				c.check(t, g)
			}
			for name, r := range map[string]string{
				"header":       request(path, header(right)),
				"letter case":  request(path, "authorization: bearer "+right),
				"sub-protocol": bySubprotocol(path, right),
			} {
				p := newPeer(t, g.dial())
				p.write([]byte(r))
				head, err := p.readHead()
				if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
					t.Errorf("%s %s: %q %v", path, name, head, err)
				}
				if strings.Contains(head, right) {
					t.Errorf("%s %s: the token is in the answer", path, name)
				}
			}
		}
		// The HTTP API takes the front ends' token.
		for token, want := range map[string]int{"": 401, deviceToken: 401, frontendToken: 200} {
			req, err := http.NewRequest("GET", g.url("/v1/devices"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			res, err := g.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("API with token %q: %s", token, res.Status)
			}
		}
	})
}
