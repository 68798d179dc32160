package gatewaytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Process is a command under test. It ends with its test.
type Process struct {
	// Stdout and Stderr keep what the command prints.
	Stdout, Stderr Lines
	// Exited is closed when the command has ended and all of its output is in
	// Stdout and Stderr.
	Exited chan struct{}

	t   testing.TB
	cmd *exec.Cmd
}

// Start starts a command in the directory of the repository. At the end of the
// test the command and its children are killed, and the test fails when the
// command has printed a panic or a data race.
func Start(t testing.TB, argv ...string) *Process {
	t.Helper()
	p := &Process{t: t, cmd: exec.Command(argv[0], argv[1:]...), Exited: make(chan struct{})}
	p.cmd.Dir = Root(t)
	p.cmd.Stdout, p.cmd.Stderr = &p.Stdout, &p.Stderr
	// A process group of its own, so that a wrapper's children end with it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v: %v (make setup installs what the tests need)", argv, err)
	}
	go func() {
		defer close(p.Exited)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(p.finish)
	return p
}

func (p *Process) finish() {
	p.Kill()
	name := strings.Join(p.cmd.Args, " ")
	for _, bad := range []string{"panic", "DATA RACE", "fatal error: "} {
		for _, line := range p.Stderr.With(bad) {
			p.t.Errorf("%s: %s", name, line)
		}
	}
	if p.t.Failed() {
		p.t.Logf("%s: the last lines are:\n%s%s", name, p.Stdout.Tail(20), p.Stderr.Tail(40))
	}
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal signals the process and its children.
func (p *Process) Signal(s syscall.Signal) { _ = syscall.Kill(-p.PID(), s) }

// Alive reports whether the process runs.
func (p *Process) Alive() bool {
	select {
	case <-p.Exited:
		return false
	default:
		return true
	}
}

// Kill ends the process at once and waits for its end.
func (p *Process) Kill() {
	if p.Alive() {
		p.Signal(syscall.SIGKILL)
		<-p.Exited
	}
}

// Wait waits for the end of the process and returns the exit code, -1 after a
// signal. The test fails when the process runs on after the limit.
func (p *Process) Wait(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.Exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.t.Fatalf("%s still runs after %v", filepath.Base(p.cmd.Path), limit)
		return 0
	}
}

// Terminate ends the process as a service manager does, with SIGTERM, and checks
// that the exit code is 0.
func (p *Process) Terminate() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			p.t.Errorf("%s ended with %d: %s", filepath.Base(p.cmd.Path), code, p.Stderr.Tail(20))
		}
	case <-time.After(Patience):
		p.t.Errorf("%s does not end after SIGTERM", filepath.Base(p.cmd.Path))
		p.Kill()
	}
}

// Descriptors returns how many files and connections the process has open.
func (p *Process) Descriptors() int {
	p.t.Helper()
	files, err := os.ReadDir(p.proc("fd"))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(files)
}

// ResidentKiB returns the gateway's resident memory.
func (p *Process) ResidentKiB() int {
	p.t.Helper()
	data, err := os.ReadFile(p.proc("status"))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatal("no VmRSS")
	return 0
}

// proc returns the path of one of the process's files in /proc.
func (p *Process) proc(name string) string {
	return filepath.Join("/proc", fmt.Sprint(p.PID()), name)
}
