package gatewaytest

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Dialer says how a [Socket] connects. The zero value makes a plain WebSocket of
// labgate.v1.
type Dialer struct {
	// ReceiveBuffer above 0 limits the bytes that the kernel buffers for a
	// peer that does not read. 0: the kernel's default.
	ReceiveBuffer int
	// Token is sent as a bearer token.
	Token string
	// Headers are further header lines of the request, without line ends.
	Headers []string
	// Subprotocol is requested in place of labgate.v1; "-": none.
	Subprotocol string
	// TLS makes the connection a TLS connection.
	TLS *tls.Config
}

// RefusedError is the answer to a handshake that was refused.
type RefusedError struct {
	Status int
	Header http.Header
	Body   string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the handshake was refused with %d: %s", e.Status, strings.TrimSpace(e.Body))
}

// Socket is the client's end of a WebSocket. A Socket has no goroutine:
// received bytes stay in the kernel until [Socket.ReadInto] is called. One
// goroutine at a time may read, any number may write.
type Socket struct {
	// Conn is the connection below the WebSocket.
	Conn net.Conn
	// Response is the answer to the handshake.
	Response *http.Response

	in     *bufio.Reader
	reader wsframe.Reader

	// writing serialises writes.
	writing sync.Mutex
}

// Dial opens a connection to an address and makes the handshake for a path. The
// error is a [RefusedError] when the gateway does not switch protocols.
func (d Dialer) Dial(addr, path string) (*Socket, error) {
	dialer := net.Dialer{Timeout: Patience}
	if d.ReceiveBuffer > 0 {
		dialer.Control = func(_, _ string, c syscall.RawConn) error {
			var opt error
			err := c.Control(func(fd uintptr) {
				opt = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, d.ReceiveBuffer)
			})
			return errors.Join(err, opt)
		}
	}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if d.TLS != nil {
		conn = tls.Client(conn, d.TLS)
	}
	s := &Socket{Conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	s.reader.Init(64<<20, true)
	if err := s.handshake(d, addr, path); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// acceptGUID is the string that RFC 6455 section 1.3 appends to the key.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

func (s *Socket) handshake(d Dialer, addr, path string) error {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	key := base64.StdEncoding.EncodeToString(nonce)
	lines := []string{
		"GET " + path + " HTTP/1.1", "Host: " + addr, "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key,
	}
	if d.Subprotocol != "-" {
		lines = append(lines, "Sec-WebSocket-Protocol: "+cmp.Or(d.Subprotocol, protocol.Subprotocol))
	}
	if d.Token != "" {
		lines = append(lines, "Authorization: Bearer "+d.Token)
	}
	lines = append(lines, d.Headers...)
	if err := s.Conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.Conn, strings.Join(append(lines, "", ""), "\r\n")); err != nil {
		return err
	}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return &RefusedError{Status: res.StatusCode, Header: res.Header, Body: string(body)}
	}
	sum := sha1.Sum([]byte(key + acceptGUID))
	if got := res.Header.Get("Sec-WebSocket-Accept"); got != base64.StdEncoding.EncodeToString(sum[:]) {
		return fmt.Errorf("Sec-WebSocket-Accept is %q, which does not fit the key %s", got, key)
	}
	s.Response = res
	return s.Conn.SetDeadline(time.Time{})
}

// ReadInto waits for bytes and passes every message and control frame in them
// to the handler. The caller answers frames and sets read deadlines.
func (s *Socket) ReadInto(h wsframe.Handler) error {
	if _, err := s.in.Peek(1); err != nil {
		return err
	}
	data, err := s.in.Peek(s.in.Buffered())
	if err != nil {
		return err
	}
	if err := s.reader.Feed(data, h); err != nil {
		return err
	}
	_, err = s.in.Discard(len(data))
	return err
}

// Discard reads and drops all bytes until the connection ends.
func (s *Socket) Discard() { _, _ = io.Copy(io.Discard, s.in) }

// Write sends bytes unchanged. Most callers ignore the error, because reading
// reports the end of the connection, too.
func (s *Socket) Write(b []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.Conn.SetWriteDeadline(time.Now().Add(Patience))
	_, err := s.Conn.Write(b)
	return err
}

// Send sends a message or control frame, as [Socket.Write] does.
func (s *Socket) Send(op wsframe.Opcode, payload []byte) {
	_ = s.Write(wsframe.AppendMaskedFrame(nil, op, mathrand.Uint32(), payload))
}

// Text sends a text message.
func (s *Socket) Text(format string, args ...any) {
	s.Send(wsframe.OpText, fmt.Appendf(nil, format, args...))
}

// SendSamples sends a telemetry frame of [Samples].
func (s *Socket) SendSamples(seq uint64, count int) { s.Send(wsframe.OpBinary, Samples(seq, count)) }

// Reply answers a ping with a pong and a close frame with the same close frame
// (RFC 6455 sections 5.5.1 and 5.5.2).
func (s *Socket) Reply(op wsframe.Opcode, payload []byte) {
	switch op {
	case wsframe.OpPing:
		s.Send(wsframe.OpPong, payload)
	case wsframe.OpClose:
		s.Send(wsframe.OpClose, payload)
	}
}

// Leave sends a close frame with code 1000.
func (s *Socket) Leave() {
	s.Send(wsframe.OpClose, wsframe.AppendClose(nil, uint16(protocol.CloseNormal), "")[2:])
}

// Reset ends the connection without a close frame, as a killed process does.
func (s *Socket) Reset() {
	conn := s.Conn
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// Samples returns a telemetry frame of one f32 channel at 10 kHz; value i is
// float32(seq+i).
func Samples(seq uint64, count int) []byte {
	h := protocol.TelemetryHeader{
		Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: seq, T0: int64(seq) * 100_000,
		DT: 100_000, Channels: 1, Count: uint16(count),
	}
	b := h.Append(make([]byte, 0, protocol.TelemetryHeaderSize+4*count))
	for i := range count {
		b = protocol.AppendF32(b, float32(seq+uint64(i)))
	}
	return b
}
