package acceptance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// A slow, stopped or closed reader of the log must not affect the gateway.

// piped is a gateway whose log goes to a small pipe. The test decides when to
// read the pipe.
type piped struct {
	t           *testing.T
	cmd         *exec.Cmd
	log         *os.File
	lines       *bufio.Reader
	addr, admin string
	exited      chan struct{}
}

// startPiped runs labgate serve until the test ends, with a log at level
// debug, and reads the log up to the line "ready".
func startPiped(t *testing.T, args ...string) *piped {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, w.Fd(), syscall.F_SETPIPE_SZ, 4096); e != 0 {
		t.Fatal(e)
	}
	g := &piped{t: t, log: r, lines: bufio.NewReader(r), exited: make(chan struct{})}
	g.cmd = exec.Command(gatewaytest.Labgate(t), append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-level", "debug"}, args...)...)
	g.cmd.Stderr = w
	err = g.cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(g.exited)
		_ = g.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = g.cmd.Process.Kill()
		<-g.exited
		r.Close()
	})
	var ready struct{ Listen, Admin string }
	line := g.await(`"message":"ready"`)
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatal(err)
	}
	g.addr, g.admin = ready.Listen, ready.Admin
	return g
}

// await reads the log up to a line with these words, and returns the line.
func (g *piped) await(words string) string {
	g.t.Helper()
	_ = g.log.SetReadDeadline(time.Now().Add(patience))
	for {
		line, err := g.lines.ReadString('\n')
		if err != nil {
			g.t.Fatalf("no line with %q: %v", words, err)
		}
		if strings.Contains(line, words) {
			return line
		}
	}
}

// stranger makes bad handshakes, which log one line each, and expects an
// answer to each.
func (g *piped) stranger(n int) {
	g.t.Helper()
	client := http.Client{Timeout: patience}
	for i := range n {
		res, err := client.Get(fmt.Sprintf("http://%s/ws/nowhere/%d", g.addr, i))
		if err != nil {
			g.t.Fatalf("bad handshake %d: %v", i, err)
		}
		res.Body.Close()
	}
}

// leave sends SIGTERM and expects a drain.
func (g *piped) leave(sessions ...*gatewaytest.Peer) {
	g.t.Helper()
	g.terminate()
	g.awaitDrain(sessions...)
}

// terminate sends SIGTERM.
func (g *piped) terminate() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		g.t.Fatal(err)
	}
}

// awaitDrain waits until the sessions are closed and the gateway has ended.
func (g *piped) awaitDrain(sessions ...*gatewaytest.Peer) {
	g.t.Helper()
	for _, p := range sessions {
		if code := p.AwaitClose(); code != uint16(protocol.CloseGoingAway) {
			g.t.Errorf("closed with %d", code)
		}
	}
	select {
	case <-g.exited:
	case <-time.After(patience):
		g.t.Fatal("the gateway does not end")
	}
	if state := g.cmd.ProcessState; state.ExitCode() != 0 {
		g.t.Errorf("ended with %v", state)
	}
}

func TestLogReaderDoesNotHoldUpTheGateway(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(g *piped)
	}{
		{"stops reading", func(*piped) {}},
		{"closes", func(g *piped) { g.log.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := startPiped(t, "--heartbeat-interval", "500ms", "--heartbeat-timeout", "2s")
			device, fe := gatewaytest.Connect(t, g.addr, "/ws/device/tensile-1"), gatewaytest.Connect(t, g.addr, "/ws/frontend/ada")
			device.Await(protocol.TypeWelcome)
			fe.Await(protocol.TypeWelcome)
			c.stop(g)
			g.stranger(100)

			// Telemetry and commands.
			for i := range 50 {
				device.SendSamples(uint64(i), 1)
			}
			for got := 0; got < 50; {
				m, err := fe.Next(patience)
				if err != nil {
					t.Fatalf("%d of 50 telemetry frames came: %v", got, err)
				}
				if m.Telemetry != nil {
					got++
				}
			}
			fe.Text(`{"type":"test.stop","id":"1","dst":"tensile-1"}`)
			if m := device.Await("test.stop"); m.ID != "1" {
				t.Errorf("the device got %+v", m)
			}
			device.Text(`{"type":"done","re":"1"}`)
			fe.Await("done")
			// The HTTP API and the admin listener.
			if status, body := get(t, "http://"+g.addr+"/v1/devices/tensile-1"); status != http.StatusOK {
				t.Errorf("the API answers %d %s", status, body)
			}
			if status, _ := get(t, "http://"+g.admin+"/healthz"); status != http.StatusOK {
				t.Errorf("/healthz: %d", status)
			}
			// Heartbeats: a peer that answers stays, a peer that does not is
			// closed.
			gatewaytest.Connect(t, g.addr, "/ws/device/silent")
			gone := func() bool {
				status, _ := get(t, "http://"+g.addr+"/v1/devices/silent")
				return status == http.StatusNotFound
			}
			for deadline := time.Now().Add(patience); !gone(); {
				if time.Now().After(deadline) {
					t.Fatal("a silent device stays")
				}
				for _, p := range []*gatewaytest.Peer{device, fe} {
					_, _ = p.Next(50 * time.Millisecond) // answers pings
				}
			}
			g.leave(device, fe)
		})
	}
}

// TestTeeAndInterrupt: Ctrl-C in a terminal ends tee at once, and the gateway
// still drains.
func TestTeeAndInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := fmt.Sprintf(`trap : INT; '%s' serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 2>&1 | tee '%s' >&2; echo "gateway ended with ${PIPESTATUS[0]}"`, gatewaytest.Labgate(t), log)
	shell := gatewaytest.Start(t, "bash", "-c", script)
	var ready struct{ Listen string }
	if err := json.Unmarshal([]byte(shell.Stderr.AwaitWithin(t, patience, `"message":"ready"`)), &ready); err != nil {
		t.Fatal(err)
	}
	fe := gatewaytest.Connect(t, ready.Listen, "/ws/frontend")
	fe.Await(protocol.TypeWelcome)
	shell.Signal(syscall.SIGINT)
	fe.Await(protocol.TypeClosing)
	if code := fe.AwaitClose(); code != uint16(protocol.CloseGoingAway) {
		t.Errorf("closed with %d", code)
	}
	shell.Stdout.AwaitWithin(t, patience, "gateway ended with 0")
}

// TestLogFileOfLargestSize: a log file at the limit of file sizes
// (RLIMIT_FSIZE) causes a signal and a write error. A full disk causes the
// same error without a signal.
func TestLogFileOfLargestSize(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "log")
	script := fmt.Sprintf(`ulimit -f 4; exec '%s' serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 2>'%s'`, gatewaytest.Labgate(t), log)
	g := gatewaytest.Start(t, "bash", "-c", script)
	read := func() string {
		data, _ := os.ReadFile(log)
		return string(data)
	}
	gatewaytest.EventuallyWithin(t, patience, "the gateway is ready", func() bool { return strings.Contains(read(), `"message":"ready"`) })
	var ready struct{ Listen string }
	for line := range strings.Lines(read()) {
		if strings.Contains(line, `"message":"ready"`) {
			if err := json.Unmarshal([]byte(line), &ready); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 50 {
		if status, _ := get(t, "http://"+ready.Listen+"/ws/nowhere"); status == 0 {
			t.Fatal("no answer")
		}
	}
	if n := len(read()); n < 2000 || n > 4096 {
		t.Errorf("the log has %d bytes: the limit was not met", n)
	}
	fe := gatewaytest.Connect(t, ready.Listen, "/ws/frontend")
	fe.Await(protocol.TypeWelcome)
	g.Signal(syscall.SIGTERM)
	if code := fe.AwaitClose(); code != uint16(protocol.CloseGoingAway) {
		t.Errorf("closed with %d", code)
	}
	if code := g.Wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestMissingLogLinesAreCounted: a reader that resumes gets a line with the
// number of missing lines.
func TestMissingLogLinesAreCounted(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	g := startPiped(t, ca.serve()...)
	// At level debug each failed TLS handshake is a line.
	const strangers = 12_000 // about twice as many lines as can wait
	for range strangers {
		conn, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "this is no TLS\r\n")
		conn.Close()
	}
	var missing struct {
		Level string
		Lines int
	}
	line := g.await("log lines are missing here")
	if err := json.Unmarshal([]byte(line), &missing); err != nil || missing.Level != "warn" || missing.Lines < 1 || missing.Lines > strangers {
		t.Errorf("%s: %v", line, err)
	}
	// Later lines are complete again.
	g.terminate()
	g.await(`"message":"stopped"`)
	g.awaitDrain()
}

// patience bounds each wait.
const patience = 30 * time.Second
