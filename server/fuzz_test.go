package server

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/internal/wsframe"
)

// FuzzConnection sends bytes to a gateway, as one peer would: first the request
// parser has them, then, behind a handshake, the frame reader and the router.
// Whatever they are, nothing panics and the connection ends with its peer.
func FuzzConnection(f *testing.F) {
	f.Add([]byte(request("/ws/frontend/anna?telemetry=none")))
	f.Add(wsframe.AppendMaskedFrame([]byte(request("/ws/device/d?type=x&meta.room=%41")), wsframe.OpText, 1, []byte(`{"type":"a.b","re":"1"}`)))
	f.Add(wsframe.AppendMaskedFrame([]byte(request("/ws/frontend")), wsframe.OpText, 1, []byte(`{"type":"gateway.subscribe","id":"1","payload":{"devices":["d"]}}`)))
	f.Add(wsframe.AppendMaskedFrame([]byte(request("/ws/device/d")), wsframe.OpBinary, 1, telemetry(0, 2)))
	f.Add(append([]byte(request("/ws/echo", "X-Forwarded-For: 192.0.2.1, [::1]:80")), masked(0x89, "ping")...))
	f.Add([]byte("GET /v1/devices HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.Add([]byte("POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"typ\r\n0\r\n\r\n"))
	f.Add([]byte("POST /v1/users/anna/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"type\":\"a.b\"}"))
	g := start(f, mode{io: eventloop.IOBlocking}, func(o *Options) {
		o.DebugEcho, o.MaxMessage, o.TrustedProxies, o.MaxConnectionsPerAddress = true, 4096, []string{"127.0.0.1"}, 1000
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.DialTimeout("tcp", g.Addr(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = conn.Write(data)
		_ = conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
			t.Fatal("the connection did not end with its peer")
		}
		if g.panics.Count() > 0 {
			t.Fatal("a panic")
		}
	})
}
