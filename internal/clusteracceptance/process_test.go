package clusteracceptance

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must come. It only ends tests that
// have failed.
const patience = 30 * time.Second

// labgate is the shipped command, built once for all tests; root the
// repository.
var labgate, root string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "labgate-cluster-")
	if err != nil {
		panic(err)
	}
	if root, err = filepath.Abs("../.."); err != nil {
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

// process is a command under test, ended with the test.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr lines
	exited         chan struct{}
}

func start(t *testing.T, argv ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), exited: make(chan struct{})}
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
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.kill()
		for _, bad := range []string{"panic", "DATA RACE"} {
			for _, line := range p.stderr.with(bad) {
				t.Errorf("%s: %s", strings.Join(argv, " "), line)
			}
		}
		if t.Failed() {
			t.Logf("%s: last output:\n%s%s", strings.Join(argv, " "), p.stdout.tail(20), p.stderr.tail(40))
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

// terminate ends the process as a service manager does, and checks that it ends
// well.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("%s ended with %d", p.cmd.Path, code)
		}
	case <-time.After(patience):
		t.Errorf("%s does not end", p.cmd.Path)
	}
}

// lines keeps what a process prints.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) read(r io.Reader) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		l.mu.Lock()
		l.all = append(l.all, s.Text())
		l.mu.Unlock()
	}
}

// with returns the lines that contain all the parts.
func (l *lines) with(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for _, line := range l.all {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// await returns the first line that contains all the parts.
func (l *lines) await(t *testing.T, parts ...string) string {
	t.Helper()
	var line string
	eventually(t, fmt.Sprintf("a line with %q", parts), func() bool {
		found := l.with(parts...)
		if len(found) > 0 {
			line = found[0]
		}
		return len(found) > 0
	})
	return line
}

func (l *lines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all[max(0, len(l.all)-n):], "\n") + "\n"
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, patience, what, ok)
}

func eventuallyWithin(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// contains reports whether s has all the parts.
func contains(s string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}
