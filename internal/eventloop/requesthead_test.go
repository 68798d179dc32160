package eventloop

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

const handshakeHead = "GET /ws/frontend HTTP/1.1\r\nHost: gateway.test:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// FuzzHeadEnd compares the end of a head with what net/http's parser consumes,
// and holds what is served without net/http's server to what the parser takes.
func FuzzHeadEnd(f *testing.F) {
	for _, seed := range []string{
		handshakeHead, "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\n\n", "GET / HTTP/1.1\n\r\nmore", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
		"GET / HTTP/1.1\r\nA: b\r\n\r\r\n\r\n", "GET / HTTP/1.1\r\n \r\n\r\n", "\r\n\r\n", "GET", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = skipEmptyLines(b)
		end := headEnd(b, 0)
		for n := range b {
			if early := headEnd(b[:n], 0); early >= 0 && early != end {
				t.Fatalf("%q ends at %d, with more behind it at %d", b[:n], early, end)
			}
			if end >= 0 && n < end && headEnd(b, searchedTo(b[:n])) != end {
				t.Fatalf("%q: the end at %d was not found from %d on", b, end, searchedTo(b[:n]))
			}
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		r, err := http.ReadRequest(in)
		if err == nil && r.ContentLength == 0 && len(r.TransferEncoding) == 0 {
			if consumed := len(b) - in.Buffered(); consumed != end {
				t.Errorf("%q ends at %d, net/http has consumed %d", b, end, consumed)
			}
		}
		if err != nil && end >= 0 && readHandshake(b[:end]) != nil {
			t.Errorf("%q was taken for a handshake, net/http says %v", b, err)
		}
	})
}

func TestReadHandshake(t *testing.T) {
	replaced := func(old, with string) string { return strings.Replace(handshakeHead, old, with, 1) }
	for name, c := range map[string]struct {
		head string
		ok   bool
	}{
		"plain":               {handshakeHead, true},
		"LF alone":            {strings.ReplaceAll(handshakeHead, "\r\n", "\n"), true},
		"absolute form":       {replaced("GET ", "GET http://gateway.test"), true},
		"IPv6":                {replaced("gateway.test", "[::1]"), true},
		"white space":         {replaced("websocket", "\twebsocket \t"), true},
		"another path":        {replaced("/ws/", "/v1/"), false},
		"POST":                {replaced("GET", "POST"), false},
		"HTTP/1.0":            {replaced("HTTP/1.1", "HTTP/1.0"), false},
		"no Upgrade":          {replaced("Upgrade: websocket\r\n", ""), false},
		"a body":              {replaced("Upgrade: ", "Content-Length: 1\r\nUpgrade: "), false},
		"chunks":              {replaced("Upgrade: ", "Transfer-Encoding: chunked\r\nUpgrade: "), false},
		"Expect":              {replaced("Upgrade: ", "Expect: tea\r\nUpgrade: "), false},
		"two hosts":           {replaced("Upgrade: ", "host: b\r\nUpgrade: "), false},
		"no host":             {replaced("Host: gateway.test:8080\r\n", ""), false},
		"empty host":          {replaced("gateway.test:8080", ""), false},
		"odd host":            {replaced("gateway.test", "a,b"), false},
		"NUL":                 {replaced("gateway.test", "gateway\x00test"), false},
		"DEL in a value":      {replaced("Upgrade: ", "X: \x7f\r\nUpgrade: "), false},
		"CR in a value":       {replaced("Upgrade: ", "X: a\rb\r\nUpgrade: "), false},
		"space before colon":  {replaced("Upgrade: ", "Upgrade : "), false},
		"malformed escape":    {replaced("/ws/frontend", "/ws/%zz"), false},
		"not a request":       {"GET \r\n\r\n", false},
		"fields without name": {replaced("Upgrade: ", ": x\r\nUpgrade: "), false},
	} {
		if r := readHandshake([]byte(c.head)); (r != nil) != c.ok {
			t.Errorf("%s: %v, want %v", name, r != nil, c.ok)
		}
	}
}

// TestHeadScanner cuts a stream of requests everywhere: heads end where they
// should, empty lines before them are gone, and nothing else is.
func TestHeadScanner(t *testing.T) {
	const one, two = "GET /a HTTP/1.1\r\nHost: b\r\n\r\n", "GET /c HTTP/1.1\nHost: d\n\n"
	for _, c := range []struct{ stream, want string }{
		{one + two, one + "|" + two + "|"},
		{"\r\n\n" + one + "\r\n\r\n" + two + "\n", one + "|" + two + "|"},
		{one + "POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\n\r\n1\r\n" + one, one + "|POST / HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\n\r\n1\r\n" + one},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\n\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\n\n"},
		{"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n\r\n", "GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n\r\n"},
	} {
		for piece := 1; piece <= len(c.stream); piece++ {
			var s headScanner
			var got strings.Builder
			for left := []byte(c.stream); len(left) > 0; {
				n := min(piece, len(left))
				head, rest := s.take(left[:n])
				got.Write(head)
				if !s.begun && !s.done && len(head) > 0 {
					got.WriteByte('|')
				}
				left = left[n-len(rest):]
			}
			if got.String() != c.want {
				t.Fatalf("%q in pieces of %d: %q, want %q", c.stream, piece, got.String(), c.want)
			}
		}
	}
}
