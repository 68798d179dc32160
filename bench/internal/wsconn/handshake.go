package wsconn

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// acceptGUID is the constant of RFC 6455 section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

const (
	maxResponseHead = 16 << 10 // bytes
	maxQuoted       = 200      // bytes of a refusal that an error quotes
)

// Accept is the value of Sec-WebSocket-Accept that answers a key, RFC 6455
// section 4.2.2.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + acceptGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Handshake is the opening handshake of one connection.
type Handshake struct {
	Host        string
	Path        string // with the query
	Subprotocol string // that is offered, and that the server must choose; empty: none
	Token       string // bearer token; empty: none

	key string
}

// Request is the request of RFC 6455 section 4.1.
func (h *Handshake) Request() []byte {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	h.key = base64.StdEncoding.EncodeToString(nonce[:])
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", h.Path, h.Host)
	b = fmt.Appendf(b, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", h.key)
	if h.Subprotocol != "" {
		b = fmt.Appendf(b, "Sec-WebSocket-Protocol: %s\r\n", h.Subprotocol)
	}
	if h.Token != "" {
		b = fmt.Appendf(b, "Authorization: Bearer %s\r\n", h.Token)
	}
	return append(b, "\r\n"...)
}

// Response parses the response to Request at the beginning of data and returns
// the bytes after it. done is false while the response is incomplete; rest then
// is data.
func (h *Handshake) Response(data []byte) (rest []byte, done bool, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxResponseHead {
			return nil, false, fmt.Errorf("HTTP response head of more than %d bytes", maxResponseHead)
		}
		return data, false, nil
	}
	if err := h.check(string(data[:end]), data[end+4:]); err != nil {
		return nil, false, fmt.Errorf("GET %s: %w", h.Path, err)
	}
	return data[end+4:], true, nil
}

// check applies RFC 6455 section 4.1 to the head of a response; body is only
// quoted.
func (h *Handshake) check(head string, body []byte) error {
	lines := strings.Split(head, "\r\n")
	version, status, _ := strings.Cut(lines[0], " ")
	if !strings.HasPrefix(version, "HTTP/1.") {
		return fmt.Errorf("no HTTP response: %.80q", lines[0])
	}
	if code, _, _ := strings.Cut(status, " "); code != "101" {
		return fmt.Errorf("the server refused: %s %s", status, bytes.TrimSpace(body[:min(len(body), maxQuoted)]))
	}
	fields := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		fields[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	switch {
	case !strings.EqualFold(fields["upgrade"], "websocket"):
		return errors.New("the response lacks Upgrade: websocket")
	case !strings.EqualFold(fields["connection"], "upgrade"):
		return errors.New("the response lacks Connection: Upgrade")
	case fields["sec-websocket-accept"] != Accept(h.key):
		return errors.New("Sec-WebSocket-Accept does not match the key")
	case fields["sec-websocket-protocol"] != h.Subprotocol:
		return fmt.Errorf("sub-protocol %q, want %q", fields["sec-websocket-protocol"], h.Subprotocol)
	case fields["sec-websocket-extensions"] != "":
		return fmt.Errorf("extension %q was not offered", fields["sec-websocket-extensions"])
	}
	return nil
}
