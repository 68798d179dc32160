package acceptance

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// TestExampleDeviceReconnects sends commands with every kind of payload to the
// device in Python, and restarts its gateway twice. The device ends when an
// operator ends its session.
func TestExampleDeviceReconnects(t *testing.T) {
	addr := freeAddr(t)
	g := gatewaytest.StartGatewayIn(t, nil, addr, "--max-message", "4194304")
	device := gatewaytest.Start(t, "/usr/bin/python3", "examples/python/device.py", "ws://"+addr, "python-1")
	session := awaitDevice(t, addr, "python-1", "")

	long := strings.Repeat("x", 2<<20) // the library's own limit is 1 MiB
	for _, c := range []struct{ command, answer string }{
		{`{"type":"stream.start"}`, "stream.started"},
		{`{"type":"stream.start","payload":null}`, "stream.started"},
		{`{"type":"stream.start","payload":[1,2]}`, "stream.started"},
		{`{"type":"stream.start","payload":{"seconds":"soon"}}`, "error"},
		{`{"type":"stream.start","payload":{"samples_per_frame":{}}}`, "error"},
		{`{"type":"stream.start","payload":{"seconds":1e999}}`, "stream.started"},
		{`{"type":"stream.start","payload":{"samples_per_frame":1e999}}`, "error"},
		{`{"type":"door.open"}`, "error"},
		{`{"type":"door.open","payload":"` + long + `"}`, "error"},
	} {
		status, body := command(t, addr, "python-1", c.command)
		var answer struct {
			Type    string
			Payload json.RawMessage
		}
		err := json.Unmarshal([]byte(body), &answer)
		_, refused := protocol.Refusal(answer.Payload)
		if err != nil || status != http.StatusOK || answer.Type != c.answer || refused != (c.answer == "error") {
			t.Errorf("%.80s: %d %s, want an answer of type %s", c.command, status, body, c.answer)
		}
	}
	if now := awaitDevice(t, addr, "python-1", ""); now != session {
		t.Errorf("the device connected again; it must have died of a command")
	}

	g.Signal(syscall.SIGTERM)
	g.Wait(15 * time.Second)
	g = gatewaytest.StartGatewayIn(t, nil, addr)
	session = awaitDevice(t, addr, "python-1", session)
	g.Kill()
	gatewaytest.StartGatewayIn(t, nil, addr)
	session = awaitDevice(t, addr, "python-1", session)

	request, err := http.NewRequest(http.MethodDelete, "http://"+addr+"/v1/sessions/"+session, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if code := device.Wait(10 * time.Second); code != 1 || !strings.Contains(device.Stderr.Tail(5), "4008") {
		t.Errorf("exit code %d after the session was ended by an operator: %s", code, device.Stderr.Tail(5))
	}
}

// TestExampleFrontendIsRefused: the front end in Node ends when the device refuses its
// command.
func TestExampleFrontendIsRefused(t *testing.T) {
	g := gatewaytest.StartGateway(t)
	gatewaytest.Start(t, "/usr/bin/python3", "examples/python/device.py", "ws://"+g.Addr, "python-1")
	awaitDevice(t, g.Addr, "python-1", "")
	front := gatewaytest.Start(t, "node", "examples/node/frontend.js", "ws://"+g.Addr, "python-1", "many")
	if code, out := front.Wait(30*time.Second), front.Stdout.Tail(1); code != 1 || !strings.Contains(out, "the device refused: ") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestExampleFrontendReconnects restarts the gateway of the front end in Node
// before the device connects.
func TestExampleFrontendReconnects(t *testing.T) {
	addr := freeAddr(t)
	g := gatewaytest.StartGatewayIn(t, nil, addr)
	front := gatewaytest.Start(t, "node", "examples/node/frontend.js", "ws://"+addr, "python-2", "100", "1")
	awaitSessions(t, addr, 1)
	g.Signal(syscall.SIGTERM)
	g.Wait(15 * time.Second)
	gatewaytest.StartGatewayIn(t, nil, addr)
	awaitSessions(t, addr, 1)
	gatewaytest.Start(t, "/usr/bin/python3", "examples/python/device.py", "ws://"+addr, "python-2")
	code := front.Wait(30 * time.Second)
	var result struct {
		Good                 bool
		Connections, Samples int
	}
	out := strings.TrimSpace(front.Stdout.Tail(1))
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	if code != 0 || !result.Good || result.Connections != 2 || result.Samples != 10_000 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestExamplesGiveUpWhenRefused: without a credential the examples do not
// retry for ever.
func TestExamplesGiveUpWhenRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("a-token-that-the-examples-do-not-have\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := gatewaytest.StartGateway(t, "--device-token-file", file, "--frontend-token-file", file)
	for name, argv := range map[string][]string{
		"Python": {"/usr/bin/python3", "examples/python/device.py", "ws://" + g.Addr, "python-1"},
		"Node":   {"node", "examples/node/frontend.js", "ws://" + g.Addr},
	} {
		t.Run(name, func(t *testing.T) {
			p := gatewaytest.Start(t, argv...)
			if code := p.Wait(10 * time.Second); code != 1 || !strings.Contains(p.Stdout.Tail(5), "401") {
				t.Errorf("exit code %d: %s%s", code, p.Stdout.Tail(5), p.Stderr.Tail(5))
			}
		})
	}
}

// command sends a command to a device over HTTP.
func command(t *testing.T, addr, device, body string) (status int, answer string) {
	t.Helper()
	res, err := http.Post("http://"+addr+"/v1/devices/"+device+"/commands", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// awaitDevice waits until a device is connected with another session than the
// given one, and returns that session.
func awaitDevice(t *testing.T, addr, id, before string) string {
	t.Helper()
	var found struct{ Session string }
	gatewaytest.EventuallyWithin(t, 30*time.Second, id+" is connected", func() bool {
		status, body := get(t, "http://"+addr+"/v1/devices/"+id)
		return status == http.StatusOK && json.Unmarshal([]byte(body), &found) == nil && found.Session != before
	})
	return found.Session
}

// awaitSessions waits until this many sessions are open.
func awaitSessions(t *testing.T, addr string, n int) {
	t.Helper()
	gatewaytest.EventuallyWithin(t, 30*time.Second, "sessions are open", func() bool {
		_, body := get(t, "http://"+addr+"/v1/sessions")
		var found struct{ Sessions []json.RawMessage }
		return json.Unmarshal([]byte(body), &found) == nil && len(found.Sessions) == n
	})
}
