package server

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

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
	g := start(f, mode{io: IOBlocking}, func(o *Options) {
		o.DebugEcho, o.MaxMessage, o.TrustedProxies, o.MaxConnectionsPerAddress = true, 4096, []string{"127.0.0.1"}, 1000
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		near, far := net.Pipe()
		g.stats.connections.Add(1)
		g.addBlocking(far)
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, near)
		}()
		_ = near.SetDeadline(time.Now().Add(patience))
		_, _ = near.Write(data)
		_ = near.Close()
		<-read
		if g.stats.panics.Load() > 0 {
			t.Fatal("a panic")
		}
	})
}

// FuzzHandshake reads a path, a query and header values: what is let in obeys
// the limits that docs/protocol.md names.
func FuzzHandshake(f *testing.F) {
	f.Add("/ws/device/d", "type=a&customer=b&meta.x=y", "labgate.v1, bearer.x", "https://gateway.test", "keep-alive, Upgrade")
	f.Add("/ws/frontend/anna", "telemetry=all", "", "", "upgrade")
	f.Add("/ws/frontend/%61", "%zz", "chat", "null", "Upgrade")
	s, err := New(Options{AdmissionOptions: AdmissionOptions{MaxConnections: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path, query, protocols, origin, connection string) {
		r, err := httpRequest(path, query)
		if err != nil {
			return
		}
		for name, value := range map[string]string{
			"Sec-Websocket-Protocol": protocols, "Origin": origin, "Connection": connection,
			"Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		} {
			r.Header.Set(name, value)
		}
		hs, ref := s.checkHandshake(r)
		if ref != nil {
			if ref.status < 400 || ref.message == "" || len(ref.message) > 1024 {
				t.Errorf("refused with %d %q", ref.status, ref.message)
			}
			return
		}
		info := hs.info
		if len(info.Name) > 128 || len(info.Type) > 256 || len(info.Customer) > 256 || len(info.Meta) > 32 || strings.ContainsAny(info.Name+info.Type+info.Customer, "\r\n\x00") {
			t.Errorf("let in: %+v", info)
		}
	})
}

func httpRequest(path, query string) (*http.Request, error) {
	u, err := url.ParseRequestURI(path)
	if err != nil {
		return nil, err
	}
	u.RawQuery = query
	return &http.Request{Method: http.MethodGet, URL: u, Host: "gateway.test", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, RemoteAddr: "127.0.0.1:1"}, nil
}
