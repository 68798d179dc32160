package eventloop

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"sync"
)

// maxHTTPHeader bounds a request line with all its header fields, in bytes.
const maxHTTPHeader = 16 << 10

// skipEmptyLines returns b without the empty lines that may stand before a
// request (RFC 9112 section 2.2).
func skipEmptyLines(b []byte) []byte { return bytes.TrimLeft(b, "\r\n") }

// headEnd returns the length of the head of a request that b begins with, the
// empty line behind the header fields included, or -1 when the head is not
// complete. Lines end as net/http has it: with CRLF or with LF alone. The search
// begins at from, for which searchedTo of b before it grew is early enough.
func headEnd(b []byte, from int) int {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch next := b[from:]; {
		case len(next) > 0 && next[0] == '\n':
			return from + 1
		case len(next) > 1 && next[0] == '\r' && next[1] == '\n':
			return from + 2
		}
	}
}

// searchedTo returns where headEnd may go on when b, which has no end of a head,
// has grown.
func searchedTo(b []byte) int { return max(0, len(b)-len("\n\r")) }

// headScanner follows the heads of the requests of one connection, as far as it
// can know where one request ends and the next begins: up to the first request
// that may have a body, or that asks for another protocol.
type headScanner struct {
	// begun says that a head has begun, done that nothing is known from here on.
	begun, done bool
	// The line under way: its length and its beginning. special says that a field
	// of this head makes the following bytes unknown.
	length  int
	line    [len("transfer-encoding:")]byte
	special bool
}

// take returns what of b is to be read as a request's: without empty lines
// before a head, and up to the end of the head. rest is what is behind that.
func (s *headScanner) take(b []byte) (head, rest []byte) {
	if s.done {
		return b, nil
	}
	if !s.begun {
		b = skipEmptyLines(b)
		s.begun = len(b) > 0
	}
	for i, c := range b {
		switch {
		case c != '\n':
			if s.length < len(s.line) {
				s.line[s.length] = c
			}
			s.length++
		case s.length == 0 || s.length == 1 && s.line[0] == '\r':
			if s.done = s.special; s.done {
				return b, nil
			}
			*s = headScanner{}
			return b[:i+1], b[i+1:]
		default:
			s.special = s.special || specialField(s.line[:min(s.length, len(s.line))])
			s.length = 0
		}
	}
	return b, nil
}

// specialField reports whether a line is a field that makes what comes behind
// the head something else than another request.
func specialField(line []byte) bool {
	for _, name := range []string{"content-length:", "transfer-encoding:", "upgrade:"} {
		if len(line) >= len(name) && strings.EqualFold(string(line[:len(name)]), name) {
			return true
		}
	}
	return false
}

// readers keeps the buffers of readHandshake.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// readHandshake returns the request of a head, read by net/http's parser, if the
// request is for a WebSocket and nothing about it is unusual. Everything else is
// for net/http's server to judge, which has rules beyond those of the parser:
// what is returned here passes them.
func readHandshake(head []byte) *http.Request {
	if !bytes.HasPrefix(head, []byte("GET ")) || !plainHead(head) {
		return nil
	}
	in := readers.Get().(*bufio.Reader)
	in.Reset(bytes.NewReader(head))
	r, err := http.ReadRequest(in)
	in.Reset(nil)
	readers.Put(in)
	switch {
	case err != nil, r.Proto != "HTTP/1.1", !strings.HasPrefix(r.URL.Path, WebSocketPath):
		return nil
	case r.ContentLength != 0 || r.Header["Expect"] != nil, r.Header["Connection"] == nil || r.Header["Upgrade"] == nil:
		return nil
	}
	return r
}

// plainHead reports whether a head has no control characters and exactly one
// header field Host, with the characters of a name or an address.
func plainHead(head []byte) bool {
	hosts := 0
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		for _, c := range line {
			if c < ' ' && c != '\t' || c == 0x7f {
				return false
			}
		}
		if name := []byte("Host:"); len(line) >= len(name) && bytes.EqualFold(line[:len(name)], name) {
			if hosts++; !plainHost(bytes.Trim(line[len(name):], " \t")) {
				return false
			}
		}
	}
	return hosts == 1
}

func plainHost(host []byte) bool {
	for _, c := range host {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(".-_:[]", c) >= 0) {
			return false
		}
	}
	return len(host) > 0
}

// lineChecker follows the lines of a head that is not complete. net/http refuses
// some lines before it has read the next; so a head with a line of which that may
// be true is for net/http's server at once.
type lineChecker struct {
	// checked is the length of the lines that were checked, fields says that the
	// request line is among them.
	checked int
	fields  bool
}

// plain reports whether net/http waits for more behind each complete line of b,
// which begins with what was given to plain before.
func (c *lineChecker) plain(b []byte) bool {
	for {
		n := bytes.IndexByte(b[c.checked:], '\n')
		if n < 0 {
			return true
		}
		line := bytes.TrimSuffix(b[c.checked:c.checked+n], []byte("\r"))
		if c.fields && !plainField(line) || !c.fields && !plainRequestLine(line) {
			return false
		}
		c.checked, c.fields = c.checked+n+1, true
	}
}

// plainRequestLine reports whether a line is a request line of HTTP/1.1 with a
// path (RFC 9112 section 3).
func plainRequestLine(line []byte) bool {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	letters := len(method) > 0 && !bytes.ContainsFunc(method, func(c rune) bool { return c < 'A' || c > 'Z' })
	return letters && bytes.HasPrefix(target, []byte("/")) && !bytes.ContainsFunc(target, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '%' }) &&
		string(version) == "HTTP/1.1"
}

// plainField reports whether a line is a header field that is not folded (RFC 9112
// section 5).
func plainField(line []byte) bool {
	return bytes.IndexByte(line, ':') > 0 && line[0] != ' ' && line[0] != '\t'
}
