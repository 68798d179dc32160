package acceptance

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// nginxExample returns the configuration in docs/reverse-proxy.md.
func nginxExample(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(gatewaytest.Root(t), "docs/reverse-proxy.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```nginx\n")
	example, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatal("docs/reverse-proxy.md has no nginx example")
	}
	return example
}

// startNginx runs nginx with the example configuration in front of a gateway,
// and returns the address of nginx.
func startNginx(t *testing.T, g *gatewaytest.Gateway) string {
	t.Helper()
	cert, key := selfSigned(t)
	listen := freeAddr(t)
	conf := nginxExample(t)
	for what, with := range map[string]string{
		"listen 443 ssl;":                  "listen " + listen + " ssl;",
		"server 127.0.0.1:8080;":           "server " + g.Addr + ";",
		"/etc/ssl/certs/lab.example.pem":   cert,
		"/etc/ssl/private/lab.example.key": key,
	} {
		if strings.Count(conf, what) != 1 {
			t.Fatalf("the example has no %q", what)
		}
		conf = strings.Replace(conf, what, with, 1)
	}
	dir := t.TempDir()
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	file := filepath.Join(dir, "nginx.conf")
	whole := fmt.Sprintf("%sdaemon off;\nworker_processes 1;\npid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n%s%s}\n", user, dir, temp, conf)
	if err := os.WriteFile(file, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := "nginx"
	if _, err := os.Stat("/usr/sbin/nginx"); err == nil {
		nginx = "/usr/sbin/nginx" // not in everybody's PATH
	}
	p := gatewaytest.Start(t, nginx, "-p", dir, "-e", "stderr", "-c", file)
	gatewaytest.Eventually(t, "nginx listens", func() bool {
		select {
		case <-p.Exited:
			t.Fatalf("nginx: %s", p.Stderr.Tail(20))
		default:
		}
		conn, err := net.Dial("tcp", listen)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return listen
}

// TestBehindNginx uses a device, a front end and the HTTP API through nginx
// with the documented configuration.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--trusted-proxies", "127.0.0.1", "--max-connections-per-address", "2", "--heartbeat-interval", "300ms", "--heartbeat-timeout", "2s")
	addr := startNginx(t, g)
	// The clients have other addresses than nginx.
	clientFrom := func(ip string) *http.Client {
		d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		tr := &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr}
	}
	dial := func(ip, path string, header http.Header) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(t.Context(), "wss://"+addr+path, &websocket.DialOptions{HTTPClient: clientFrom(ip), HTTPHeader: header, Subprotocols: []string{protocol.Subprotocol}})
	}
	// listen passes received messages on. Every session reads all the time,
	// and so answers its pings.
	listen := func(c *websocket.Conn) <-chan protocol.Message {
		came := make(chan protocol.Message, 64)
		go func() {
			defer close(came)
			for {
				_, data, err := c.Read(t.Context())
				if err != nil {
					return
				}
				var m protocol.Message
				if json.Unmarshal(data, &m) == nil && m.Type != protocol.TypeWelcome {
					came <- m
				}
			}
		}()
		return came
	}
	device, _, err := dial("127.0.0.5", "/ws/device/d", http.Header{"X-Forwarded-For": {"192.0.2.66"}})
	if err != nil {
		t.Fatal(err)
	}
	defer device.CloseNow()
	commands := listen(device)
	go func() {
		for m := range commands {
			if m.ID != "" {
				_ = device.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"type":"test.started","re":%q}`, m.ID))
			}
		}
	}()
	// A page that came through the proxy is of the same origin.
	fe, _, err := dial("127.0.0.6", "/ws/frontend/anna", http.Header{"Origin": {"https://" + addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer fe.CloseNow()
	answers := listen(fe)
	if _, res, err := dial("127.0.0.6", "/ws/frontend", http.Header{"Origin": {"https://elsewhere.example"}}); err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("another origin: %v", err)
	}

	if err := fe.Write(t.Context(), websocket.MessageText, []byte(`{"type":"test.start","id":"1","dst":"d"}`)); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-answers:
		if m.Type != "test.started" || m.Re != "1" {
			t.Errorf("answer %+v", m)
		}
	case <-time.After(gatewaytest.Patience):
		t.Fatal("no answer")
	}
	quiet := time.Now()

	api := clientFrom("127.0.0.7")
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, _ := http.NewRequest(method, "https://"+addr+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		res, err := api.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if status, body := call("POST", "/v1/devices/d/commands", `{"type":"test.start"}`); status != 200 || !strings.Contains(body, "test.started") {
		t.Errorf("command: %d %s", status, body)
	}
	if status, body := call("GET", "/", ""); status != 200 || !strings.Contains(body, "<html") {
		t.Errorf("page: %d %.80s", status, body)
	}
	var sessions struct {
		Sessions []struct{ Name, Remote string }
	}
	_, body := call("GET", "/v1/sessions", "")
	if err := json.Unmarshal([]byte(body), &sessions); err != nil {
		t.Fatal(err)
	}
	remotes := map[string]string{}
	for _, s := range sessions.Sessions {
		remotes[s.Name] = s.Remote
	}
	if remotes["d"] != "127.0.0.5" || remotes["anna"] != "127.0.0.6" {
		t.Errorf("remotes %v", remotes)
	}

	// The limit is for each client, not for the proxy.
	if second, _, err := dial("127.0.0.6", "/ws/frontend/anna", nil); err != nil {
		t.Errorf("second session of a client: %v", err)
	} else {
		listen(second)
	}
	if _, res, err := dial("127.0.0.6", "/ws/frontend/anna", nil); err == nil || res == nil || res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
		t.Errorf("third session of a client: %v", err)
	}

	// The connection is quiet for longer than the heartbeat timeout.
	time.Sleep(time.Until(quiet.Add(3 * time.Second)))
	if status, body := call("POST", "/v1/devices/d/commands", `{"type":"test.start"}`); status != 200 {
		t.Errorf("after a quiet time: %d %s", status, body)
	}
	found := regexp.MustCompile(`proxy_read_timeout (\d+)s;`).FindStringSubmatch(nginxExample(t))
	if found == nil {
		t.Fatal("the example has no proxy_read_timeout")
	}
	// The default of --heartbeat-timeout is 90 s, the most for timeout_ms 600.
	if n, _ := strconv.Atoi(found[1]); n <= 600 {
		t.Errorf("proxy_read_timeout is %d s", n)
	}
}
