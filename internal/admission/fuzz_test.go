package admission

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzHandshake reads a path, a query and header values: what is let in obeys
// the limits that docs/protocol.md names.
func FuzzHandshake(f *testing.F) {
	f.Add("/ws/device/d", "type=a&customer=b&meta.x=y", "labgate.v1, bearer.x", "https://gateway.test", "keep-alive, Upgrade")
	f.Add("/ws/frontend/anna", "telemetry=all", "", "", "upgrade")
	f.Add("/ws/frontend/%61", "%zz", "chat", "null", "Upgrade")
	a, err := New(Options{Listen: "127.0.0.1:0"})
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
		hs, ref := a.CheckHandshake(r)
		if ref != nil {
			if ref.Status < 400 || ref.Message == "" || len(ref.Message) > 1024 {
				t.Errorf("refused with %d %q", ref.Status, ref.Message)
			}
			return
		}
		info := hs.Info
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
