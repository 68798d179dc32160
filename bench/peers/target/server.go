//go:build linux

package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/labgate/labgate/bench/internal/host"
)

const (
	startWithin = 10 * time.Second
	stopWithin  = 2 * time.Second // after that the process is killed
	logBytes    = 2000            // bytes of its log that an error quotes
)

// Place says where servers run.
type Place struct {
	Bin string // directory with the programs that were built
	CPU int    // their processor; -1: any
}

// Server is a running target. It belongs to one goroutine.
type Server struct {
	Addr netip.AddrPort
	cmd  *exec.Cmd
	dir  string // its configuration
	log  logBuffer
	done chan struct{} // closed when the process has ended; err is set then
	err  error
}

// Path is the program of a target.
func (p *Place) Path(t *Target) (string, error) {
	if !t.System {
		return filepath.Join(p.Bin, t.Binary), nil
	}
	path, err := exec.LookPath(t.Binary)
	if err != nil {
		// Debian installs servers in /usr/sbin, which is only in root's PATH.
		if path = "/usr/sbin/" + t.Binary; !executable(path) {
			return "", fmt.Errorf("%s is not installed; apt-get install %s", t.Binary, t.Binary)
		}
	}
	return path, nil
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// Start runs a target and waits until it listens. The process ends with Stop,
// and with this one at the latest.
func Start(ctx context.Context, t *Target, p *Place) (s *Server, err error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	s = &Server{Addr: addr, done: make(chan struct{})}
	if s.dir, err = os.MkdirTemp("", "bench-peers"); err != nil {
		return nil, err
	}
	if err = os.Chmod(s.dir, 0o755); err == nil { // see configured
		err = s.run(t, p)
	}
	if err == nil {
		if err = s.listening(ctx); err != nil {
			s.Stop()
			err = fmt.Errorf("%s: %w; its log: %s", t.Name, err, s.log.tail())
		}
	}
	if err != nil {
		_ = os.RemoveAll(s.dir)
		return nil, err
	}
	return s, nil
}

func (s *Server) run(t *Target, p *Place) error {
	path, err := p.Path(t)
	if err != nil {
		return err
	}
	args, err := t.args(s.Addr, s.dir)
	if err != nil {
		return err
	}
	if p.CPU >= 0 {
		// taskset becomes the program, so the process id does not change.
		path, args = "taskset", append([]string{"-c", strconv.Itoa(p.CPU), path}, args...)
	}
	s.cmd = exec.Command(path, args...)
	s.cmd.Env = environment()
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	return nil
}

// environment returns the environment of a server, without variables that
// change its behaviour: GOMAXPROCS, GOGC, LABGATE_LISTEN and so on.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
}

// listening waits until a connection can be made.
func (s *Server) listening(ctx context.Context) error {
	deadline := time.Now().Add(startWithin)
	for {
		conn, err := net.DialTimeout("tcp", s.Addr.String(), time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			return fmt.Errorf("ended at once: %w", s.err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("does not listen after %v: %w", startWithin, err)
		}
	}
}

// Stop ends the process.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopWithin):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	_ = os.RemoveAll(s.dir)
}

// Ended returns how the process has ended, nil while it runs.
func (s *Server) Ended() error {
	select {
	case <-s.done:
		return errors.Join(fmt.Errorf("server ended; its log: %s", s.log.tail()), s.err)
	default:
		return nil
	}
}

// CPU is the user and system time of the process so far, in seconds.
func (s *Server) CPU() (float64, error) {
	cpu, err := host.CPUTime(s.cmd.Process.Pid)
	if err != nil {
		return 0, errors.Join(err, s.Ended())
	}
	return cpu, nil
}

// RSS is the resident memory of the process, in KiB.
func (s *Server) RSS() (int64, error) {
	rss, _, err := host.Memory(s.cmd.Process.Pid)
	if err != nil {
		return 0, errors.Join(err, s.Ended())
	}
	return rss, nil
}

// freePort finds a free port.
func freePort() (netip.AddrPort, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer func() { _ = ln.Close() }()
	return netip.ParseAddrPort(ln.Addr().String())
}

// logBuffer keeps the end of a server's log.
type logBuffer struct {
	mu sync.Mutex
	b  []byte
}

// Write never fails.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if over := len(l.b) - logBytes; over > 0 {
		l.b = append(l.b[:0], l.b[over:]...)
	}
	return len(p), nil
}

func (l *logBuffer) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.b))
}
