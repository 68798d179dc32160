package eventloop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/labgate/labgate/internal/httpresponse"
)

// stdExchange is a request of the standard library's server, which serves
// blocking TLS.
type stdExchange struct {
	loop *Loop
	w    http.ResponseWriter
	r    *http.Request
}

// begin reads the body, within the time that a request has and one byte beyond
// the limit at most. The deadline must be gone before the request waits for
// anything: the server takes its passing for the end of the connection.
func (x *stdExchange) begin() (*http.Request, error) {
	if x.r.ContentLength == 0 {
		return x.r, nil
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(x.loop.opts.HandshakeTimeout))
	body, err := io.ReadAll(io.LimitReader(x.r.Body, int64(x.loop.opts.MaxBody)+1))
	if err != nil {
		return nil, err
	}
	_ = control.SetReadDeadline(time.Time{})
	r := x.r.WithContext(x.r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r, nil
}

func (x *stdExchange) respond(response *httpresponse.Buffer) {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(x.loop.opts.WriteTimeout))
	response.CopyTo(x.w, x.r.Method != http.MethodHead, x.r.Close)
}

// abort panics in the way that the standard library's server understands.
func (x *stdExchange) abort() { panic(http.ErrAbortHandler) }

func (x *stdExchange) upgrade(header http.Header, up *Upgrade) {
	l := x.loop
	early := &earlyBytes{ResponseWriter: x.w}
	ws, err := l.upgrader.Upgrade(early, x.r, header, false, false)
	if err != nil {
		up.Sessions.Failed(err)
		if early.hijacked {
			l.admission.ConnectionEnded(early.remote)
		}
		return
	}
	conn := ws.UnderlayerConn()
	added := false
	defer func() {
		if !added {
			_ = conn.Close()
			l.admission.ConnectionEnded(conn.RemoteAddr())
		}
	}()
	if t, ok := conn.(*tls.Conn); ok {
		l.tuneSocket(t.NetConn())
	}
	c := l.newBlockingTransport(ws, conn, up)
	if c == nil {
		return
	}
	added = true
	l.readers.Go(func() {
		defer l.admission.ConnectionEnded(conn.RemoteAddr())
		c.readLoop(early.data, make([]byte, l.opts.ReadBuffer))
	})
}

// earlyBytes keeps what the standard library's server has read behind the
// handshake, which nbio's Upgrader forgets.
type earlyBytes struct {
	http.ResponseWriter
	data     []byte
	hijacked bool
	remote   net.Addr
}

// Hijack implements http.Hijacker.
func (e *earlyBytes) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	e.hijacked, e.remote = true, conn.RemoteAddr()
	e.data, _ = rw.Reader.Peek(rw.Reader.Buffered())
	return conn, rw, nil
}
