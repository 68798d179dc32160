package soak

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// labgate is the shipped command, built once.
var labgate string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "labgate-soak-")
	if err != nil {
		panic(err)
	}
	labgate = filepath.Join(dir, "labgate")
	build := exec.Command("go", "build", "-trimpath", "-o", labgate, "../../cmd/labgate")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building labgate:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// gateway is a running labgate serve.
type gateway struct {
	cmd         *exec.Cmd
	addr, admin string
	exited      chan struct{}
	credentials *credentials
	// leaving is set when the gateway was told to end.
	leaving atomic.Bool
	// leases counts sessions that lost their token, outlived their JWT, renewed
	// it.
	leases [3]atomic.Int64
	// complain takes what an actor found wrong.
	complain func(format string, args ...any)

	// mu guards lines, the last ones of its log.
	mu    sync.Mutex
	lines []string
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{exited: make(chan struct{}), complain: t.Errorf, credentials: newCredentials(t)}
	// Small queues and short deadlines, so that all of them are met.
	g.cmd = exec.Command(labgate, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-json",
		"--telemetry-bytes", "65536", "--inflight-bytes", "16384", "--heartbeat-interval", "1s", "--heartbeat-timeout", "5s",
		"--handshake-timeout", "2s", "--drain-timeout", "10s", "--frontend-message-rate", "500", "--max-connections-per-address", "5000",
		"--credential-file", g.credentials.file, "--jwt-secret-file", g.credentials.secretFile, "--token-warning", "1s")
	stderr, err := g.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.kill)
	ready := make(chan string, 1)
	go func() {
		for in := bufio.NewScanner(stderr); in.Scan(); {
			if line := in.Text(); strings.Contains(line, `"message":"ready"`) {
				ready <- line
			}
			g.mu.Lock()
			g.lines = append(g.lines[max(0, len(g.lines)-20):], in.Text())
			g.mu.Unlock()
		}
		_ = g.cmd.Wait()
		close(g.exited)
	}()
	select {
	case line := <-ready:
		var r struct{ Listen, Admin string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		g.addr, g.admin = r.Listen, r.Admin
	case <-time.After(patience):
		t.Fatalf("the gateway is not ready: %s", g.lastLines())
	}
	return g
}

func (g *gateway) kill() {
	if g.alive() {
		_ = g.cmd.Process.Kill()
		<-g.exited
	}
}

func (g *gateway) alive() bool {
	select {
	case <-g.exited:
		return false
	default:
		return true
	}
}

func (g *gateway) lastLines() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.lines, "\n")
}

// metric returns the sum of a metric's values over its labels.
func (g *gateway) metric(t *testing.T, name string) float64 {
	t.Helper()
	sum := 0.0
	for line := range strings.Lines(g.get(t, "/metrics")) {
		head, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || head != name && !strings.HasPrefix(head, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

func (g *gateway) get(t *testing.T, path string) string {
	t.Helper()
	res, err := http.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// rest is what a gateway has while nobody is connected.
type rest struct {
	goroutines, descriptors int
	heapKiB                 int
}

func (r rest) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %d KiB of heap", r.goroutines, r.descriptors, r.heapKiB)
}

// atRest waits until all connections have ended and takes stock.
func (g *gateway) atRest(t *testing.T) rest {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no session and no connection is left", func() bool {
		return g.metric(t, "labgate_sessions") == 0 && g.metric(t, "labgate_connections") == 0
	})
	// A moment for goroutines that have done their work.
	time.Sleep(500 * time.Millisecond)
	// This collects the garbage first; twice, for what pools have kept.
	for range 2 {
		_ = g.get(t, "/debug/pprof/heap?gc=1")
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return rest{
		goroutines:  int(g.metric(t, "go_goroutines")),
		descriptors: len(files),
		heapKiB:     int(g.metric(t, "go_memstats_heap_alloc_bytes")) >> 10,
	}
}

// compare fails when more is left than there was. The admin listener's own
// connections make a small difference.
func (r rest) compare(t *testing.T, after rest) {
	t.Helper()
	if after.goroutines > r.goroutines+4 || after.descriptors > r.descriptors+3 || after.heapKiB > r.heapKiB+4<<10 {
		t.Errorf("before: %v; after: %v", r, after)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}
