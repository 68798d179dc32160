package wsconn

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

func TestRequest(t *testing.T) {
	h := Handshake{Host: "h:1", Path: "/p?q=1", Subprotocol: "s", Token: "t"}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(h.Request())))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": h.key,
		"Sec-WebSocket-Protocol": "s", "Authorization": "Bearer t",
	} {
		if got := req.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if req.Host != "h:1" || req.URL.String() != "/p?q=1" || len(h.key) != 24 {
		t.Errorf("host %s, URL %s, key %q", req.Host, req.URL, h.key)
	}
	h = Handshake{Host: "h", Path: "/"}
	if text := string(h.Request()); strings.Contains(text, "Protocol") || strings.Contains(text, "Authorization") {
		t.Errorf("request %q", text)
	}
}

// TestResponseInPieces: the response is complete with its empty line, and what
// follows belongs to the caller.
func TestResponseInPieces(t *testing.T) {
	h := Handshake{Path: "/p"}
	h.Request()
	all := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + Accept(h.key) + "\r\n\r\nnext")
	for n := range len(all) - len("next") {
		if rest, done, err := h.Response(all[:n]); done || err != nil || len(rest) != n {
			t.Fatalf("%d bytes: %v, %v, %d left", n, done, err, len(rest))
		}
	}
	if rest, done, err := h.Response(all); !done || err != nil || string(rest) != "next" {
		t.Errorf("%v, %v, %q left", done, err, rest)
	}
	if _, _, err := h.Response(make([]byte, maxResponseHead+1)); err == nil || !strings.Contains(err.Error(), "more than 16384 bytes") {
		t.Errorf("a head without end: %v", err)
	}
	if _, _, err := h.Response([]byte("HTTP/1.1 403 Forbidden\r\n\r\nbecause")); err == nil || !strings.Contains(err.Error(), "GET /p: the server refused: 403 Forbidden because") {
		t.Errorf("a refusal: %v", err)
	}
}

func TestResponse(t *testing.T) {
	const key = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 section 1.3
	good := []string{"HTTP/1.1 101 Switching Protocols", "Upgrade: WebSocket", "Connection: upgrade",
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol: labgate.v1"}
	for _, tc := range []struct {
		line int
		with string
		says string
	}{
		{line: -1},
		{0, "HTTP/1.1 401 Unauthorized", "401"},
		{0, "SSH-2.0", "no HTTP response"},
		{1, "X: y", "Upgrade"},
		{2, "X: y", "Connection"},
		{3, "Sec-WebSocket-Accept: x", "Accept"},
		{4, "Sec-WebSocket-Protocol: other", "sub-protocol"},
		{4, "X: y", "sub-protocol"},
	} {
		lines := append([]string(nil), good...)
		if tc.line >= 0 {
			lines[tc.line] = tc.with
		}
		h := Handshake{Subprotocol: "labgate.v1", key: key}
		_, _, err := h.Response([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
		if (err != nil) != (tc.says != "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%q: error %v, want one saying %q", tc.with, err, tc.says)
		}
	}
}
