package acceptance

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
	"syscall"
	"testing"
	"time"
)

// labgate is the shipped command, built once for all tests.
var labgate string

// root is the repository.
var root string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "labgate-acceptance-")
	if err != nil {
		panic(err)
	}
	root, err = filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	labgate = filepath.Join(dir, "labgate")
	build := exec.Command("go", "build", "-trimpath", "-o", labgate, "./cmd/labgate")
	build.Dir = root
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
	*process
	addr, admin string
}

// startGateway runs labgate serve on free ports and waits until it is ready.
func startGateway(t *testing.T, args ...string) *gateway {
	t.Helper()
	return startGatewayIn(t, nil, "127.0.0.1:0", args...)
}

// startGatewayIn does so with a command in front, such as ip netns exec.
func startGatewayIn(t *testing.T, prefix []string, listen string, args ...string) *gateway {
	t.Helper()
	argv := append(prefix, labgate, "serve", "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log-level", "debug")
	g := &gateway{process: start(t, append(argv, args...)...)}
	line := g.stderr.await(t, `"message":"ready"`, 10*time.Second)
	var ready struct{ Listen, Admin string }
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		t.Fatalf("ready line %q: %v", line, err)
	}
	g.addr, g.admin = ready.Listen, ready.Admin
	return g
}

// metric returns the sum of a metric's values over its labels.
func (g *gateway) metric(t *testing.T, name string) float64 {
	t.Helper()
	status, body := get(t, "http://"+g.admin+"/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d", status)
	}
	sum := 0.0
	for line := range strings.Lines(body) {
		head, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || head != name && !strings.HasPrefix(head, name+"{") {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metric %s: %v", name, err)
		}
		sum += v
	}
	return sum
}

// residentKiB returns the gateway's resident memory.
func (g *gateway) residentKiB(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// process is a command under test, ended with the test.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr *lines
	exited         chan struct{}
	err            error
}

func start(t *testing.T, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), stdout: newLines(), stderr: newLines(), exited: make(chan struct{})}
	p.cmd.Dir = root
	// A group of its own, so that a wrapper's child ends with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v: %v (make setup installs what the tests need)", argv, err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.stdout.read(stdout) })
	readers.Go(func() { p.stderr.read(stderr) })
	go func() {
		readers.Wait()
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s: last output:\n%s%s", filepath.Base(argv[0]), p.stdout.tail(20), p.stderr.tail(20))
		}
	})
	return p
}

// signal signals the process and its children.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// kill ends the process at once and waits for it.
func (p *process) kill() {
	select {
	case <-p.exited:
	default:
		p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// wait returns the exit code.
func (p *process) wait(t *testing.T, limit time.Duration) int {
	t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("still running after %v", limit)
		return 0
	}
}

// lines keeps what a process prints.
type lines struct {
	mu      sync.Mutex
	all     []string
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		l.mu.Lock()
		l.all = append(l.all, s.Text())
		close(l.changed)
		l.changed = make(chan struct{})
		l.mu.Unlock()
	}
}

// await returns the first line that contains part.
func (l *lines) await(t *testing.T, part string, limit time.Duration) string {
	t.Helper()
	deadline := time.After(limit)
	for seen := 0; ; {
		l.mu.Lock()
		for ; seen < len(l.all); seen++ {
			if strings.Contains(l.all[seen], part) {
				line := l.all[seen]
				l.mu.Unlock()
				return line
			}
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("no line with %q within %v; got:\n%s", part, limit, l.tail(20))
		}
	}
}

func (l *lines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all[max(0, len(l.all)-n):]
	return strings.Join(all, "\n") + "\n"
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// eventually waits until what is true.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}
