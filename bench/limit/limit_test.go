//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
)

// binary returns the program under test, which is a process of its own, as in a
// measurement. (Within a test of the race detector's, nbio's hand-over of
// connections from the accepting goroutine to the poller would count as a race:
// the kernel orders the two, and the detector cannot see it.)
func binary(t *testing.T) string {
	t.Helper()
	return gatewaytest.Binary(t, "./bench/limit")
}

func TestStreamCountsEveryByte(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), binary(t), "stream", "--receivers", "7", "--payload", "100",
		"--duration", "50ms", "--warmup", "10ms", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var r StreamReport
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Verified || r.Deliveries == 0 || r.Receiver.Bytes%int64(r.FrameBytes) != 0 {
		t.Errorf("report: %+v, receiver %+v", r, r.Receiver)
	}
	if r.FrameBytes != 102 || r.WriteBytes != 65536/102*102 {
		t.Errorf("frames of %d bytes in writes of %d", r.FrameBytes, r.WriteBytes)
	}
}

func TestRefusesFlags(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"nonsense"},
		{"stream", "extra"},
		{"stream", "--receivers", "0"},
		{"stream", "--write", "100"},
		{"stream", "--duration", "1h"},
		{"stream", "--listen", "0.0.0.0:0"},
		{"receive", "--connect", "192.0.2.1:80"},
		{"receive"},
		{"echo", "--listen", ":8080"},
		{"echo", "--pollers", "0"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestRelayForwardsBetweenTheTwoOfAPath(t *testing.T) {
	addr, report := serving(t, "relay")
	a, b := dial(t, addr, "/relay/1"), dial(t, addr, "/relay/1")
	c, d := dial(t, addr, "/relay/2"), dial(t, addr, "/relay/2")
	a.send("a to b")
	c.send("c to d")
	b.send("b to a")
	for want, conn := range map[string]*client{"a to b": b, "c to d": d, "b to a": a} {
		if got := conn.receive(); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	if status := refused(t, addr, "/relay/1"); status != http.StatusConflict {
		t.Errorf("a third connection: status %d", status)
	}
	if status := refused(t, addr, "/other"); status != http.StatusConflict {
		t.Errorf("another path: status %d", status)
	}
	if err := a.nc.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.r.ReadByte(); err == nil {
		t.Error("the other connection stays when one leaves")
	}
	e, f := dial(t, addr, "/relay/1"), dial(t, addr, "/relay/1")
	e.send("again")
	if got := f.receive(); got != "again" {
		t.Errorf("a new pair received %q", got)
	}
	if r := report(); r.Received != 4 || r.Forwarded != 4 || r.Dropped != 0 || r.Accepted != 6 {
		t.Errorf("report: %+v", r)
	}
}

func TestEchoAndIdle(t *testing.T) {
	addr, report := serving(t, "echo")
	c := dial(t, addr, "/")
	c.send("hello")
	if got := c.receive(); got != "hello" {
		t.Errorf("echo of %q", got)
	}
	if r := report(); r.Forwarded != 1 {
		t.Errorf("report of echo: %+v", r)
	}

	addr, report = serving(t, "idle")
	dial(t, addr, "/")
	dial(t, addr, "/any")
	if r := report(); r.Accepted != 2 || r.Received != 0 {
		t.Errorf("report of idle: %+v", r)
	}
}

// serving starts one of the nbio cases; report ends it.
func serving(t *testing.T, name string) (addr string, report func() ServeReport) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t), name, "--json", "--duration", "20s")
	var out bytes.Buffer
	cmd.Stdout = &out
	log, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var ready struct{ Listen, Message string }
	line, err := bufio.NewReader(log).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil || ready.Message != "ready" {
		t.Fatalf("log %q, error %v", line, err)
	}
	return ready.Listen, func() (r ServeReport) {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// client is a WebSocket connection.
type client struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func request(t *testing.T, addr, path string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
		path, addr, "AAAAAAAAAAAAAAAAAAAAAA==")
	r := bufio.NewReader(nc)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return nc, r, resp
}

func dial(t *testing.T, addr, path string) *client {
	t.Helper()
	nc, r, resp := request(t, addr, path)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("GET %s: %s", path, resp.Status)
	}
	return &client{t: t, nc: nc, r: r}
}

func refused(t *testing.T, addr, path string) int {
	t.Helper()
	_, _, resp := request(t, addr, path)
	return resp.StatusCode
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.nc.Write(wsframe.AppendMaskedFrame(nil, wsframe.OpText, 0x01020304, []byte(s))); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads one short text frame.
func (c *client) receive() string {
	c.t.Helper()
	var b strings.Builder
	head := make([]byte, 2)
	if _, err := io.ReadFull(c.r, head); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.CopyN(&b, c.r, int64(head[1])); err != nil {
		c.t.Fatal(err)
	}
	return b.String()
}
