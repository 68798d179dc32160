package acceptance

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
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

	"github.com/labgate/labgate/internal/wsframe"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

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
func startEcho(t *testing.T, m echoMode, args ...string) *gateway {
	t.Helper()
	args = append(append([]string{"--debug-echo"}, m.args...), args...)
	if m.tls {
		cert, key := selfSigned(t)
		args = append(args, "--tls-cert", cert, "--tls-key", key)
	}
	return startGateway(t, args...)
}

// selfSigned writes a certificate and its key for this test and returns their
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
	conn   net.Conn
	reader wsframe.Reader
	buf    []byte
	got    []echoed
}

// echoed is a message or control frame that came.
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

// dialEcho opens a connection and makes the handshake with further header
// fields. It returns the answer.
func dialEcho(g *gateway, m echoMode, path string, headers ...string) (*echoPeer, *http.Response, error) {
	conn, err := net.DialTimeout("tcp", g.addr, patience)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if m.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	}
	fields := strings.Join(append(headers, "", ""), "\r\n")
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s", path, g.addr, fields)
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	p := &echoPeer{conn: conn, buf: make([]byte, 64<<10)}
	p.reader.Init(64<<20, true)
	early, _ := in.Peek(in.Buffered())
	return p, res, p.reader.Feed(bytes.Clone(early), p)
}

// next returns the next message or control frame.
func (p *echoPeer) next() (echoed, error) {
	for len(p.got) == 0 {
		n, err := p.conn.Read(p.buf)
		if bad := p.reader.Feed(p.buf[:n], p); bad != nil {
			return echoed{}, bad
		}
		if n == 0 && err != nil {
			return echoed{}, err
		}
	}
	f := p.got[0]
	p.got = p.got[1:]
	return f, nil
}

// end answers the gateway's close frame and waits for the end of TCP.
func (p *echoPeer) end(payload string) error {
	_, _ = p.conn.Write(frame(0x88, payload))
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

// TestEchoHandshake: no sub-protocol is asked for, none but ours is chosen, and
// extensions are declined; without the option there is no such endpoint.
func TestEchoHandshake(t *testing.T) {
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m)
			g.stderr.await(t, "--debug-echo is on", patience)
			for _, c := range []struct{ path, header, subprotocol string }{
				{"/ws/echo", "X-Nothing: 1", ""},
				{"/ws/echo?case=1&agent=any", "Sec-WebSocket-Protocol: chat, superchat", ""},
				{"/ws/echo", "Sec-WebSocket-Protocol: chat, labgate.v1", "labgate.v1"},
				{"/ws/echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame", ""},
			} {
				p, res, err := dialEcho(g, m, c.path, c.header)
				if err != nil {
					t.Fatal(err)
				}
				if res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
					res.Header.Get("Sec-Websocket-Protocol") != c.subprotocol || len(res.Header.Values("Sec-Websocket-Extensions")) > 0 {
					t.Errorf("%v: %s %v", c, res.Status, res.Header)
				}
				_, _ = p.conn.Write(frame(0x81, "first"))
				if f, err := p.next(); err != nil || f != (echoed{wsframe.OpText, "first"}) {
					t.Errorf("%v: %v %v", c, f, err)
				}
				p.conn.Close()
			}
		})
	}
	g := startGateway(t)
	_, res, err := dialEcho(g, echoMode{}, "/ws/echo")
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	if res == nil || res.StatusCode != http.StatusNotFound {
		t.Errorf("without --debug-echo: %v %v", res, err)
	}
}

// TestEchoSizes sends messages of every length encoding and up to the limit,
// whole and in fragments; one byte more is refused with 1009.
func TestEchoSizes(t *testing.T) {
	const limit = 16 << 20
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			g := startEcho(t, m, "--max-message", fmt.Sprint(limit))
			p, _, err := dialEcho(g, m, "/ws/echo")
			if err != nil {
				t.Fatal(err)
			}
			defer p.conn.Close()
			whole := strings.Repeat("0123456789abcde\n", limit/16)
			for _, n := range []int{0, 1, 125, 126, 127, 128, 1 << 10, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 20, limit} {
				for _, op := range []wsframe.Opcode{wsframe.OpText, wsframe.OpBinary} {
					sent := frame(0x80|byte(op), whole[:n])
					if op == wsframe.OpBinary && n > 0 {
						sent = join(frame(byte(op), whole[:n/3]), frame(0x89, "between"), frame(0x00, whole[n/3:n/2]), frame(0x80, whole[n/2:n]))
					}
					wrote := make(chan error, 1)
					go func() {
						_, err := p.conn.Write(sent)
						wrote <- err
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
			_, _ = p.conn.Write(join(frame(0x02, whole), frame(0x80, "x")[:2]))
			if f, err := p.next(); err != nil || f.op != wsframe.OpClose || !strings.HasPrefix(f.data, "\x03\xf1") {
				t.Errorf("one byte more: %v %.20q %v", f.op, f.data, err)
			}
		})
	}
}

// TestEchoOfManyMessages sends as fast as it can while it reads: nothing is
// refused for its rate, lost or out of order.
func TestEchoOfManyMessages(t *testing.T) {
	const messages, size = 50_000, 128
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			g := startEcho(t, m)
			p, _, err := dialEcho(g, m, "/ws/echo")
			if err != nil {
				t.Fatal(err)
			}
			defer p.conn.Close()
			wrote := make(chan error, 1)
			go func() {
				var batch []byte
				var err error
				for i := 0; i < messages && err == nil; i++ {
					batch = append(batch, frame(0x81, fmt.Sprintf("%*d", size, i))...)
					if i%50 == 49 {
						_, err = p.conn.Write(batch)
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
// gateway a bounded amount of memory, and another session nothing.
func TestEchoWithoutReading(t *testing.T) {
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			g := startEcho(t, m, "--write-timeout", "2s")
			other, _, err := dialEcho(g, m, "/ws/echo")
			if err != nil {
				t.Fatal(err)
			}
			defer other.conn.Close()
			p, _, err := dialEcho(g, m, "/ws/echo")
			if err != nil {
				t.Fatal(err)
			}
			defer p.conn.Close()
			before := g.residentKiB(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				chunk := bytes.Repeat(frame(0x82, strings.Repeat("x", 1000)), 100)
				for sent := 0; sent < 400<<20; sent += len(chunk) {
					if _, err := p.conn.Write(chunk); err != nil {
						return
					}
				}
			}()
			peak := 0
			for ended := false; !ended; {
				_, _ = other.conn.Write(frame(0x81, "alive"))
				if f, err := other.next(); err != nil || f.data != "alive" {
					t.Fatalf("the other session: %v %v", f, err)
				}
				peak = max(peak, g.residentKiB(t))
				select {
				case <-done:
					ended = true
				case <-time.After(10 * time.Millisecond):
				}
			}
			if grown := peak - before; grown > 48<<10 {
				t.Errorf("memory grew by %d KiB", grown)
			}
			eventually(t, patience, "the session is gone", func() bool { return g.metric(t, "labgate_sessions") == 1 })
		})
	}
}

// TestEchoToASlowReader: a client on a poller that is held up, and reads all
// the time, but slowly, is not taken for one that does not read.
func TestEchoToASlowReader(t *testing.T) {
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
