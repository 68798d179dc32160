// Package redistest runs real Redis servers for tests: single servers, also
// with TLS and an ACL user, a master with sentinels, a Redis Cluster, and a
// proxy that delays or cuts connections. Everything listens on loopback, keeps
// its files in a directory of the test, and ends with the test.
//
// A test fails when redis-server is not installed; scripts/setup installs it.
package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
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

// patience bounds each wait for a server. It is long because the test machine
// may be busy.
const patience = 60 * time.Second

// Server is one redis-server, which may be a sentinel.
type Server struct {
	tb       testing.TB
	dir      string
	config   []string
	sentinel bool
	port     int
	busPort  int
	tls      *authority
	user     string
	password string

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
}

// Option changes how a Server is started.
type Option func(*Server)

// WithTLS makes the server speak TLS only, with a certificate for 127.0.0.1 of
// the authority in Server.CAFile.
func WithTLS() Option { return func(s *Server) { s.tls = newAuthority(s.tb, s.dir) } }

// WithUser restricts the server to one ACL user with these rules, for instance
// "+@all", "~lab:*", "&lab:*". A second user, admin, may do everything; Do
// uses it.
func WithUser(name, password string, rules ...string) Option {
	return func(s *Server) {
		s.user, s.password = name, password
		s.config = append(s.config,
			"user default off",
			"user "+adminName+" on >"+adminPassword+" ~* &* +@all",
			"user "+name+" on >"+password+" "+strings.Join(rules, " "))
	}
}

// WithConfig adds lines to redis.conf.
func WithConfig(lines ...string) Option {
	return func(s *Server) { s.config = append(s.config, lines...) }
}

const adminName, adminPassword = "admin", "of-the-test"

// Start runs an empty redis-server that keeps nothing on disk, and waits until
// it answers.
func Start(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := prepare(tb, options...)
	s.start()
	return s
}

func prepare(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	s := &Server{tb: tb, dir: tb.TempDir(), port: freePort(tb), busPort: freePort(tb)}
	for _, o := range options {
		o(s)
	}
	tb.Cleanup(s.Kill)
	return s
}

// Addr returns the server's address, 127.0.0.1:PORT.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port returns the server's port.
func (s *Server) Port() int { return s.port }

// URL returns the URL for clients: scheme, user, password and address.
func (s *Server) URL() string { return s.URLVia(s.Addr()) }

// URLVia returns the URL with another address, such as that of a Proxy.
func (s *Server) URLVia(addr string) string {
	u := url.URL{Scheme: "redis", Host: addr}
	if s.tls != nil {
		u.Scheme = "rediss"
	}
	if s.user != "" {
		u.User = url.UserPassword(s.user, s.password)
	}
	return u.String()
}

// CAFile returns the path of the certificate authority of a server with TLS.
func (s *Server) CAFile() string { return filepath.Join(s.dir, "ca.crt") }

// Stop suspends the process: connections stay, nothing is answered.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue resumes the process after Stop.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// Kill ends the process at once, as a crash does, and waits until it has ended.
func (s *Server) Kill() {
	s.mu.Lock()
	cmd, gone := s.cmd, s.gone
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-gone
}

// Restart starts the server again, on the same port and empty. It kills the
// process first if it runs.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	s.start()
}

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.tb.Fatalf("redis on port %d is not running", s.port)
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("redis on port %d: %v", s.port, err)
	}
}

func (s *Server) start() {
	s.tb.Helper()
	const program = "redis-server"
	path, err := exec.LookPath(program)
	if err != nil {
		s.tb.Fatalf("%v: run scripts/setup, which installs it", err)
	}
	conf := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(conf, []byte(s.redisConf()), 0o600); err != nil {
		s.tb.Fatal(err)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.tb.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(path, conf)
	if s.sentinel {
		cmd.Args = append(cmd.Args, "--sentinel")
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	// The server ends when the test binary is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	s.mu.Lock()
	s.cmd, s.gone = cmd, gone
	s.mu.Unlock()

	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-gone:
			s.tb.Fatalf("%s on port %d ended:\n%s", program, s.port, s.Log())
		default:
		}
		if pong, err := s.do("PING"); err == nil && pong == "PONG" {
			return
		} else if time.Now().After(end) {
			s.tb.Fatalf("%s on port %d does not answer: %v %v\n%s", program, s.port, pong, err, s.Log())
		}
	}
}

func (s *Server) redisConf() string {
	lines := []string{"bind 127.0.0.1", "dir " + s.dir, "daemonize no", "loglevel notice"}
	if s.tls != nil {
		lines = append(lines, "port 0", fmt.Sprint("tls-port ", s.port), "tls-auth-clients no",
			"tls-ca-cert-file "+s.CAFile(), "tls-cert-file "+s.tls.certFile, "tls-key-file "+s.tls.keyFile)
	} else {
		lines = append(lines, fmt.Sprint("port ", s.port))
	}
	if !s.sentinel {
		lines = append(lines, `save ""`, "appendonly no", "repl-diskless-sync-delay 0")
	}
	return strings.Join(append(lines, s.config...), "\n") + "\n"
}

// Log returns the server's log.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(b)
}

// The ports for servers are below those that Linux assigns to clients, so that
// a server can use its port again after a restart.
const firstPort, lastPort = 12000, 32000

var ports struct {
	sync.Mutex
	taken map[int]bool
}

// freePort returns a port without a listener that no server of this process
// has used.
func freePort(tb testing.TB) int {
	tb.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.taken == nil {
		ports.taken = map[int]bool{}
	}
	for range lastPort - firstPort {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if ports.taken[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		ports.taken[port] = true
		return port
	}
	tb.Fatal("no port is free")
	return 0
}
