package acceptance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
)

// echoMode is one way to run the gateway's connections.
type echoMode struct {
	name string
	args []string
	tls  bool
}

var echoModes = []echoMode{
	{name: "nonblocking"},
	{name: "blocking", args: []string{"--io-mode", "blocking"}},
	{name: "mixed", args: []string{"--io-mode", "mixed", "--mixed-threshold", "2"}},
	{name: "tls-blocking", tls: true},
	{name: "tls-nonblocking", args: []string{"--tls-mode", "nonblocking"}, tls: true},
}

// startEcho runs a gateway with --debug-echo.
func startEcho(t *testing.T, m echoMode, args ...string) *gatewaytest.Gateway {
	t.Helper()
	args = append(append([]string{"--debug-echo"}, m.args...), args...)
	if m.tls {
		cert, key := selfSigned(t)
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	return gatewaytest.StartGateway(t, args...)
}

// selfSigned writes a certificate and its key, and returns the paths of the
// files.
func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// echoPeer is a connection to /ws/echo, without a goroutine.
type echoPeer struct {
	*gatewaytest.Socket
	got []echoed
}

// echoed is a received message or control frame.
type echoed struct {
	op   wsframe.Opcode
	data string
}

// HandleMessage implements wsframe.Handler.
func (p *echoPeer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	p.got = append(p.got, echoed{op, string(payload)})
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *echoPeer) HandleControl(op wsframe.Opcode, payload []byte) error {
	return p.HandleMessage(op, payload)
}

// dialEcho opens a connection and makes the handshake, without a sub-protocol
// and with further header fields. The connection has a deadline.
func dialEcho(g *gatewaytest.Gateway, m echoMode, headers ...string) (*echoPeer, error) {
	d := gatewaytest.Dialer{Headers: headers, Subprotocol: "-"}
	if m.tls {
		d.TLS = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	}
	s, err := d.Dial(g.Addr, "/ws/echo?case=1&agent=any")
	if err != nil {
		return nil, err
	}
	return &echoPeer{Socket: s}, s.Conn.SetDeadline(time.Now().Add(gatewaytest.Patience))
}

// next returns the next message or control frame.
func (p *echoPeer) next() (echoed, error) {
	for len(p.got) == 0 {
		if err := p.ReadInto(p); err != nil {
			return echoed{}, err
		}
	}
	f := p.got[0]
	p.got = p.got[1:]
	return f, nil
}

// end answers the gateway's close frame and waits for the end of TCP.
func (p *echoPeer) end(payload string) error {
	_ = p.Write(frame(0x88, payload))
	if f, err := p.next(); err == nil {
		return fmt.Errorf("behind the close frame came %v %.60q", f.op, f.data)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return fmt.Errorf("the connection was not closed")
	}
	return nil
}

// frame is a masked frame with any first byte.
func frame(b0 byte, payload string) []byte {
	b := wsframe.AppendMaskedFrame(nil, wsframe.OpText, 0x37fa213d, []byte(payload))
	b[0] = b0
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// TestEchoHandshake: /ws/echo needs no sub-protocol, chooses none except
// labgate.v1, and declines extensions. Without --debug-echo the endpoint does
// not exist.
func TestEchoHandshake(t *testing.T) {
	t.Parallel()
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m)
			g.Stderr.Await(t, "--debug-echo is on")
			for header, subprotocol := range map[string]string{
				"X-Nothing: 1": "",
				"Sec-WebSocket-Protocol: chat, superchat":                                                      "",
				"Sec-WebSocket-Protocol: chat, labgate.v1":                                                     "labgate.v1",
				"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame": "",
			} {
				p, err := dialEcho(g, m, header)
				if err != nil {
					t.Fatal(err)
				}
				if h := p.Response.Header; h.Get("Sec-Websocket-Protocol") != subprotocol || len(h.Values("Sec-Websocket-Extensions")) > 0 {
					t.Errorf("%s: %v", header, h)
				}
				_ = p.Write(frame(0x81, "first"))
				if f, err := p.next(); err != nil || f != (echoed{wsframe.OpText, "first"}) {
					t.Errorf("%s: %v %v", header, f, err)
				}
				p.Conn.Close()
			}
		})
	}
	g := gatewaytest.StartGateway(t)
	_, err := dialEcho(g, echoMode{})
	if r, ok := errors.AsType[*gatewaytest.RefusedError](err); !ok || r.Status != http.StatusNotFound {
		t.Errorf("without --debug-echo: %v", err)
	}
}

// TestEchoSizes sends messages of every length encoding up to the limit, whole
// and in fragments. One byte more is refused with 1009.
func TestEchoSizes(t *testing.T) {
	const limit = 16 << 20
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m, "--max-message", fmt.Sprint(limit))
			p, err := dialEcho(g, m)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Conn.Close()
			whole := strings.Repeat("0123456789abcde\n", limit/16)
			for _, n := range []int{0, 1, 125, 126, 127, 128, 1 << 10, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 20, limit} {
				for _, op := range []wsframe.Opcode{wsframe.OpText, wsframe.OpBinary} {
					sent := frame(0x80|byte(op), whole[:n])
					if op == wsframe.OpBinary && n > 0 {
						sent = join(frame(byte(op), whole[:n/3]), frame(0x89, "between"), frame(0x00, whole[n/3:n/2]), frame(0x80, whole[n/2:n]))
					}
					wrote := make(chan error, 1)
					go func() {
						wrote <- p.Write(sent)
					}()
					f, err := p.next()
					for err == nil && f.op == wsframe.OpPong {
						f, err = p.next()
					}
					if err != nil || f.op != op || f.data != whole[:n] {
						t.Fatalf("%v of %d bytes: %v with %d bytes, %v", op, n, f.op, len(f.data), err)
					}
					if err := <-wrote; err != nil {
						t.Fatal(err)
					}
				}
			}
			_ = p.Write(join(frame(0x02, whole), frame(0x80, "x")[:2]))
			if f, err := p.next(); err != nil || f.op != wsframe.OpClose || !strings.HasPrefix(f.data, "\x03\xf1") {
				t.Errorf("one byte more: %v %.20q %v", f.op, f.data, err)
			}
		})
	}
}

// TestEchoOfManyMessages sends as fast as possible while reading. No message
// is refused for its rate, lost or reordered.
func TestEchoOfManyMessages(t *testing.T) {
	const messages, size = 50_000, 128
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m)
			p, err := dialEcho(g, m)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Conn.Close()
			wrote := make(chan error, 1)
			go func() {
				var batch []byte
				var err error
				for i := 0; i < messages && err == nil; i++ {
					batch = append(batch, frame(0x81, fmt.Sprintf("%*d", size, i))...)
					if i%50 == 49 {
						err = p.Write(batch)
						batch = batch[:0]
					}
				}
				wrote <- err
			}()
			for i := range messages {
				f, err := p.next()
				if err != nil || f.op != wsframe.OpText || f.data != fmt.Sprintf("%*d", size, i) {
					t.Fatalf("message %d: %v %.140q %v", i, f.op, f.data, err)
				}
			}
			if err := <-wrote; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestEchoWithoutReading: a client that sends and does not read costs the
// gateway bounded memory, and does not disturb another session.
func TestEchoWithoutReading(t *testing.T) {
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m, "--write-timeout", "2s")
			other, err := dialEcho(g, m)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Conn.Close()
			p, err := dialEcho(g, m)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Conn.Close()
			before := g.ResidentKiB()
			done := make(chan struct{})
			go func() {
				defer close(done)
				chunk := bytes.Repeat(frame(0x82, strings.Repeat("x", 1000)), 100)
				for sent := 0; sent < 400<<20; sent += len(chunk) {
					if err := p.Write(chunk); err != nil {
						return
					}
				}
			}()
			peak := 0
			for ended := false; !ended; {
				_ = other.Write(frame(0x81, "alive"))
				if f, err := other.next(); err != nil || f.data != "alive" {
					t.Fatalf("the other session: %v %v", f, err)
				}
				peak = max(peak, g.ResidentKiB())
				select {
				case <-done:
					ended = true
				case <-time.After(10 * time.Millisecond):
				}
			}
			if grown := peak - before; grown > 48<<10 {
				t.Errorf("memory grew by %d KiB", grown)
			}
			gatewaytest.Eventually(t, "the session is gone", func() bool { return g.Metric("labgate_sessions") == 1 })
		})
	}
}

// TestEchoToASlowReader: a client on a poller that reads slowly but steadily
// is held back, and is not closed as one that does not read.
func TestEchoToASlowReader(t *testing.T) {
	t.Parallel()
	const messages, size = 3, 16 << 20
	for _, m := range []echoMode{echoModes[0], echoModes[4]} {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m, "--write-timeout", "500ms")
			c, err := dialRaw(g, m)
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			message := rawBytes(rawBinary, make([]byte, size))
			wrote := make(chan error, 1)
			go func() { wrote <- c.write(bytes.Repeat(message, messages), 1<<30) }()
			for got, all := 0, messages*(size+10); got < all; {
				n, err := io.CopyN(io.Discard, c.in, int64(min(all-got, size/16)))
				if got += int(n); err != nil {
					t.Fatalf("after %d of %d bytes: %v", got, all, err)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		})
	}
}
