package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawRequest is what a client sends, and what comes of that in every mode.
type rawRequest struct {
	name, raw string
	// answers are the statuses, in order; none when the connection just ends.
	answers []int
	// ends says that the connection is closed behind the answers. Otherwise it
	// takes another request, unless the last answer is 101.
	ends bool
}

func rawGet(fields ...string) string {
	return "GET /v1/devices/none HTTP/1.1\r\n" + strings.Join(append(fields, "", ""), "\r\n")
}

func rawPost(body string, fields ...string) string {
	return "POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + strings.Join(append(fields, "", ""), "\r\n") + body
}

func rawRequests() []rawRequest {
	const host, message, chunks = "Host: localhost", `{"type":"a.b"}`, "e\r\n{\"type\":\"a.b\"}\r\n0\r\n"
	ok, refused := []int{404}, []int{400}
	legal := []rawRequest{
		{name: "plain", raw: rawGet(host), answers: ok},
		{name: "two at once", raw: rawGet(host) + rawGet(host), answers: []int{404, 404}},
		{name: "absolute form", raw: strings.Replace(rawGet(host), "GET ", "GET http://localhost", 1), answers: ok},
		{name: "handshake in absolute form", raw: strings.Replace(request("/ws/frontend"), "GET ", "GET http://gateway.test", 1), answers: []int{101}},
		{name: "white space around values", raw: rawGet("Host: \t localhost \t ", "Accept:\t*/*\t"), answers: ok},
		{name: "no white space", raw: rawGet("Host:localhost"), answers: ok},
		{name: "handshake with tabs", raw: edited("/ws/frontend", "Upgrade:", "Upgrade:\twebsocket\t "), answers: []int{101}},
		{name: "empty Origin", raw: rawGet(host, "Origin:"), answers: ok},
		{name: "handshake with an empty Origin", raw: request("/ws/frontend", "Origin: "), answers: []int{101}},
		{name: "empty line before", raw: "\r\n" + rawGet(host), answers: ok},
		{name: "empty lines before", raw: "\r\n\n\r\n" + rawGet(host), answers: ok},
		{name: "empty line before a handshake", raw: "\r\n" + request("/ws/frontend"), answers: []int{101}},
		{name: "empty line between", raw: rawGet(host) + "\r\n" + rawGet(host), answers: []int{404, 404}},
		{name: "empty lines between", raw: rawGet(host) + "\r\n\r\n\n" + rawGet(host) + "\r\n" + rawGet(host), answers: []int{404, 404, 404}},
		{name: "empty line behind a body", raw: rawPost(message, "Content-Length: 14") + "\r\n" + rawGet(host), answers: []int{200, 404}},
		{name: "LF alone", raw: strings.ReplaceAll(rawGet(host), "\r\n", "\n"), answers: ok},
		{name: "handshake with LF alone", raw: strings.ReplaceAll(request("/ws/frontend"), "\r\n", "\n"), answers: []int{101}},
		{name: "name in capitals", raw: rawGet("HOST: localhost"), answers: ok},
		{name: "a fold", raw: rawGet(host, "X-Folded: a", "\tb"), answers: ok},
		{name: "escaped path", raw: strings.Replace(rawGet(host), "none", "rig%3A1", 1), answers: ok},
		{name: "handshake with an escaped path", raw: request("/ws/device/rig%3A1"), answers: []int{101}},
		{name: "body", raw: rawPost(message, "Content-Length: 14"), answers: []int{200}},
		{name: "one length twice", raw: rawPost(message, "Content-Length: 14", "Content-Length: 14"), answers: []int{200}},
		{name: "chunks", raw: rawPost(chunks+"\r\n", "Transfer-Encoding: chunked"), answers: []int{200}, ends: true},
		{name: "chunk extension", raw: rawPost("e;a=b\r\n"+chunks[3:]+"\r\n", "Transfer-Encoding: chunked"), answers: []int{200}, ends: true},
		{name: "trailers, announced", raw: rawPost(chunks+"X-Sum: 1\r\n\r\n", "Transfer-Encoding: chunked", "Trailer: X-Sum"), answers: []int{200}, ends: true},
		{name: "trailers, unannounced", raw: rawPost(chunks+"X-Sum: 1\r\n\r\n", "Transfer-Encoding: chunked"), answers: []int{200}, ends: true},
		{name: "chunks and a length, with a request behind", raw: rawPost(chunks+"\r\n", "Transfer-Encoding: chunked", "Content-Length: 5") + rawGet(host), answers: []int{200}, ends: true},
		{name: "Expect", raw: rawPost(message, "Content-Length: 14", "Expect: 100-continue"), answers: []int{100, 200}},
		{name: "Expect in vain", raw: strings.Replace(rawPost(message, "Content-Length: 14", "Expect: 100-continue"), "/v1/broadcast", "/v1/nothing", 1), answers: ok, ends: true},
		{name: "HEAD", raw: strings.Replace(rawGet(host), "GET", "HEAD", 1), answers: ok},
		{name: "OPTIONS *", raw: "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", answers: ok},
		{name: "Connection: close", raw: rawGet(host, "Connection: close"), answers: ok, ends: true},
		{name: "HTTP/1.0", raw: strings.Replace(rawGet(host), "HTTP/1.1", "HTTP/1.0", 1), answers: ok, ends: true},
	}
	illegal := []rawRequest{
		{name: "white space before the colon", raw: rawGet(host, "Accept : */*"), answers: refused},
		{name: "handshake with white space before a colon", raw: edited("/ws/frontend", "Upgrade:", "Upgrade : websocket"), answers: refused},
		{name: "no colon", raw: rawGet(host, "Accept"), answers: refused},
		{name: "no name", raw: rawGet(host, ": x"), answers: refused},
		{name: "fold first", raw: rawGet(" x", host), answers: refused},
		{name: "two lengths", raw: rawPost(message, "Content-Length: 14", "Content-Length: 15"), answers: refused},
		{name: "signed length", raw: rawPost(message, "Content-Length: +14"), answers: refused},
		{name: "negative length", raw: rawPost(message, "Content-Length: -14"), answers: refused},
		{name: "no length", raw: rawPost(message, "Content-Length: x"), answers: refused},
		{name: "white space before the colon of Transfer-Encoding", raw: rawPost(chunks+"\r\n", "Transfer-Encoding : chunked"), answers: refused},
		{name: "unknown transfer coding", raw: rawPost(chunks+"\r\n", "Transfer-Encoding: gzip"), answers: []int{501}},
		{name: "two transfer codings", raw: rawPost(chunks+"\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), answers: []int{501}},
		{name: "malformed chunk", raw: rawPost("x\r\n"+chunks+"\r\n", "Transfer-Encoding: chunked"), answers: refused},
		{name: "two hosts", raw: rawGet(host, "Host: elsewhere"), answers: refused},
		{name: "handshake with two hosts", raw: request("/ws/frontend", "Host: elsewhere"), answers: refused},
		{name: "no host", raw: rawGet(), answers: refused},
		{name: "handshake without a host", raw: edited("/ws/frontend", "Host:", ""), answers: refused},
		{name: "malformed host", raw: rawGet("Host: a b"), answers: refused},
		{name: "NUL in a value", raw: rawGet(host, "X-Value: a\x00b"), answers: refused},
		{name: "handshake with NUL in a value", raw: request("/ws/frontend", "X-Value: a\x00b"), answers: refused},
		{name: "CR in a value", raw: rawGet(host, "X-Value: a\rb"), answers: refused},
		{name: "request in a body", raw: strings.Replace(rawGet(host, "Content-Length: 60"), "none", "one", 1) + rawGet(host), answers: ok},
		{name: "request in chunks", raw: rawGet(host, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(rawGet(host)), rawGet(host)), answers: ok},
		{name: "handshake with a body", raw: request("/ws/frontend", "Content-Length: 14") + message, answers: refused},
		{name: "unknown version", raw: strings.Replace(rawGet(host), "HTTP/1.1", "HTTP/2.0", 1), answers: []int{505}},
		{name: "malformed version", raw: strings.Replace(rawGet(host), "HTTP/1.1", "HTTP/1.1.1", 1), answers: refused},
		{name: "no version", raw: "GET /\r\n\r\n", answers: refused},
		{name: "no version, and nothing behind it", raw: "GET /\r\n", answers: refused},
		{name: "no method, and nothing behind it", raw: "/v1/devices\n", answers: refused},
		{name: "no colon, and nothing behind it", raw: strings.TrimSuffix(rawGet(host, "Accept"), "\r\n"), answers: refused},
		{name: "handshake without a colon, incomplete", raw: strings.TrimSuffix(request("/ws/frontend", "Accept"), "\r\n"), answers: refused},
		{name: "malformed method", raw: "G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n", answers: refused},
		{name: "malformed path", raw: "GET nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", answers: refused},
		{name: "malformed escape", raw: request("/ws/device/rig%3"), answers: refused},
		{name: "unknown expectation", raw: rawPost(message, "Content-Length: 14", "Expect: tea"), answers: []int{417}},
		{name: "head too long", raw: rawGet(host, "X-Filler: "+strings.Repeat("x", maxHead)), answers: []int{431}},
		{name: "line too long", raw: "GET /" + strings.Repeat("x", maxHead+1), answers: []int{431}},
		{name: "no request behind one", raw: rawGet(host) + "nonsense\r\n\r\n", answers: []int{404, 400}},
		{name: "a WebSocket frame", raw: string(maskedText(message)) + "\r\n\r\n", answers: refused},
	}
	for i := range illegal {
		illegal[i].ends = true
	}
	return append(legal, illegal...)
}

// TestRawRequests sends the same bytes in every mode, at once and in pieces: the
// answers are the same to the byte, and so is what becomes of the connection.
func TestRawRequests(t *testing.T) {
	var mu sync.Mutex
	first := make(map[string]string)
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		for _, c := range rawRequests() {
			for _, piece := range []int{len(c.raw), 7} {
				if len(c.raw) > 1000 {
					piece = len(c.raw)
				}
				got := c.exchange(t, g, piece)
				mu.Lock()
				if want, ok := first[c.name]; !ok {
					first[c.name] = got
				} else if got != want {
					t.Errorf("%s:\n%s\nin another mode:\n%s", c.name, got, want)
				}
				mu.Unlock()
			}
		}
		g.awaitRequests()
	})
}

var dates = regexp.MustCompile(`Date: [^\r]*\r\n`)

// exchange sends the request in pieces and returns the answers, without dates.
func (c *rawRequest) exchange(t *testing.T, g *gateway, piece int) string {
	t.Helper()
	conn := g.dial()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for left := c.raw; left != ""; left = left[min(piece, len(left)):] {
		if _, err := io.WriteString(conn, left[:min(piece, len(left))]); err != nil {
			break // it may have been refused by now
		}
	}
	var seen bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &seen))
	method, _, _ := strings.Cut(strings.TrimLeft(c.raw, "\r\n"), " ")
	last := 0
	for _, want := range c.answers {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Errorf("%s: %v, want %d", c.name, err, want)
			return ""
		}
		if last = res.StatusCode; last != want {
			t.Errorf("%s: %s, want %d", c.name, res.Status, want)
		}
		if last == http.StatusSwitchingProtocols {
			head, _, _ := strings.Cut(seen.String(), "\r\n\r\n")
			return head
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if !c.ends {
		write(t, conn, rawGet("Host: localhost"))
		if status, _ := readAnswer(t, conn, in, "GET"); status != 404 {
			t.Errorf("%s: the connection goes on with %d", c.name, status)
		}
	} else if b, err := in.ReadByte(); err == nil || isTimeout(err) {
		t.Errorf("%s: the connection was not closed: %q %v", c.name, b, err)
	}
	return dates.ReplaceAllString(seen.String(), "")
}
