package bench

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/labgate/labgate/protocol"
)

// acceptGUID is the constant of RFC 6455 section 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// maxAnswerHead bounds the head of the gateway's HTTP answer, in bytes.
const maxAnswerHead = 16 << 10

// handshake is what a connection needs until it is open.
type handshake struct {
	ramp  *ramp
	peer  peer
	key   string
	from  int64 // connect latency counts from here
	begun int64 // the attempt's own start, for its timeout
}

// onConnected follows the end of the TCP connect.
func (c *conn) onConnected(int64) {
	if err := sockError(c.fd); err != nil {
		c.fail(err)
		return
	}
	c.state = stateUpgrade
	c.arm(false)
	c.write(c.request())
}

// request is the upgrade of RFC 6455 section 4.1.
func (c *conn) request() []byte {
	t, token := &c.w.target, c.w.o.DeviceToken
	if c.hs.peer.frontend {
		t, token = &c.w.frontendTarget, c.w.o.FrontendToken
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	c.hs.key = base64.StdEncoding.EncodeToString(key[:])
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", t.path, c.hs.peer.path, t.host)
	fmt.Fprintf(&b, "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", c.hs.key)
	if p := c.w.o.subprotocol(); p != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", p)
	}
	if token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// subprotocol is what a connection offers and the answer must choose.
func (o *Options) subprotocol() string {
	if o.Bare != "" {
		return ""
	}
	return protocol.Subprotocol
}

// readUpgrade takes the HTTP answer from the front of data and returns what
// follows it; the state stays stateUpgrade while the answer is unfinished.
func (c *conn) readUpgrade(data []byte) (rest []byte, err error) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		if len(data) > maxAnswerHead {
			return nil, fmt.Errorf("HTTP answer above %d bytes", maxAnswerHead)
		}
		return data, nil
	}
	if err := checkUpgrade(string(data[:end]), data[end+4:], c.hs.key, c.w.o.subprotocol()); err != nil {
		return nil, fmt.Errorf("GET %s: %w", c.hs.peer.path, err)
	}
	c.state = stateGreeting
	if c.w.o.Bare != "" {
		c.state = stateOpen // nobody greets
		c.hs.ramp.opened(c, c.w.now)
	}
	return data[end+4:], nil
}

// checkUpgrade applies RFC 6455 section 4.1 to the answer's head; body is only
// quoted when the gateway refused.
func checkUpgrade(head string, body []byte, key, subprotocol string) error {
	lines := strings.Split(head, "\r\n")
	version, status, _ := strings.Cut(lines[0], " ")
	if !strings.HasPrefix(version, "HTTP/1.") {
		return fmt.Errorf("no HTTP answer: %.80q", lines[0])
	}
	if code, _, _ := strings.Cut(status, " "); code != "101" {
		return fmt.Errorf("gateway refused: %s %s", status, bytes.TrimSpace(body[:min(len(body), 200)]))
	}
	fields := map[string]string{}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		fields[strings.ToLower(name)] = strings.TrimSpace(value)
	}
	sum := sha1.Sum([]byte(key + acceptGUID))
	switch {
	case !strings.EqualFold(fields["upgrade"], "websocket"):
		return errors.New("answer lacks Upgrade: websocket")
	case !strings.EqualFold(fields["connection"], "upgrade"):
		return errors.New("answer lacks Connection: Upgrade")
	case fields["sec-websocket-accept"] != base64.StdEncoding.EncodeToString(sum[:]):
		return errors.New("Sec-WebSocket-Accept does not match the key")
	case fields["sec-websocket-protocol"] != subprotocol:
		return fmt.Errorf("sub-protocol %q, want %q", fields["sec-websocket-protocol"], subprotocol)
	case fields["sec-websocket-extensions"] != "":
		return fmt.Errorf("extension %q was not offered", fields["sec-websocket-extensions"])
	}
	return nil
}
