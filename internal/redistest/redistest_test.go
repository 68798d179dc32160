package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/labgate/labgate/internal/gatewaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerRestartsEmpty(t *testing.T) {
	s := Start(t)
	s.Do("SET", "k", "v")
	if v := s.Do("GET", "k"); v != "v" {
		t.Fatalf("GET: %v", v)
	}
	url := s.URL()
	s.Restart()
	if v := s.Do("GET", "k"); v != nil || s.URL() != url {
		t.Errorf("after a restart: %v at %s, was %s", v, s.URL(), url)
	}
	s.Kill()
	if _, err := s.do("PING"); err == nil {
		t.Error("it answers although it was killed")
	}
}

func TestServerStopsAndContinues(t *testing.T) {
	s := Start(t)
	s.Stop()
	answered := make(chan any, 1)
	go func() { v, _ := s.do("PING"); answered <- v }()
	select {
	case v := <-answered:
		t.Errorf("answered %v although stopped", v)
	case <-time.After(200 * time.Millisecond):
	}
	s.Continue()
	if v := <-answered; v != "PONG" {
		t.Errorf("answered %v", v)
	}
}

func TestServerWithTLSAndUser(t *testing.T) {
	s := Start(t, WithTLS(), WithUser("lab", "secret", "~lab:*", "+get"))
	if !strings.HasPrefix(s.URL(), "rediss://lab:secret@127.0.0.1:") {
		t.Error(s.URL())
	}
	if _, err := os.Stat(s.CAFile()); err != nil {
		t.Error(err)
	}
	if list := s.Strings("ACL", "USERS"); len(list) != 3 {
		t.Errorf("users %v", list)
	}
	s.Restart()
	if v := s.Do("PING"); v != "PONG" {
		t.Errorf("after a restart: %v", v)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	s.Master.Kill()
	s.AwaitMaster(s.Replica)
	if !strings.Contains(s.URL(), "master_set="+MasterSet) {
		t.Error(s.URL())
	}
}

func TestClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	served := 0
	for _, n := range c.Nodes {
		for i := range 20 {
			if _, err := n.do("SET", fmt.Sprint("key", i), "v"); err == nil {
				served++
			} else if !strings.HasPrefix(err.Error(), "MOVED") {
				t.Error(err)
			}
		}
	}
	if served != 20 {
		t.Errorf("%d of 20 keys have a node", served)
	}
}

func TestProxy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lines := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello\n")
			go func() {
				defer c.Close()
				for r := bufio.NewScanner(c); r.Scan(); {
					lines <- r.Text()
				}
			}()
		}
	}()
	p := StartProxy(t, l.Addr().String())
	dial := func() (net.Conn, error) {
		c, err := net.Dial("tcp", p.Addr())
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = bufio.NewReader(c).ReadString('\n')
		}
		return c, err
	}
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	p.Hold()
	_, _ = io.WriteString(c, "held\n")
	_ = c.Close()
	select {
	case line := <-lines:
		t.Errorf("%q came through", line)
	case <-time.After(100 * time.Millisecond):
	}
	p.Release()
	if line := <-lines; line != "held" {
		t.Errorf("%q", line)
	}
	if c, err = dial(); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.Cut()
	if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a cut connection: %v", err)
	}
	if c, err := dial(); err == nil {
		c.Close()
		t.Error("connected although cut")
	}
	p.Mend()
	if c, err := dial(); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

func TestConfigurationIsTheTests(t *testing.T) {
	s := Start(t, WithConfig("unixsocket "+filepath.Join(t.TempDir(), "s")), WithConfig("maxmemory 100mb"))
	if v := s.Strings("CONFIG", "GET", "maxmemory"); len(v) != 2 || v[1] != "104857600" {
		t.Error(v)
	}
}

func TestReplicatedClusterFailsOver(t *testing.T) {
	t.Parallel()
	c := StartReplicatedCluster(t)
	c.Nodes[1].Kill()
	gatewaytest.Eventually(t, "its replica takes over", func() bool {
		reply, _ := c.Replicas[1].Try("ROLE")
		role, _ := reply.([]any)
		return len(role) > 0 && role[0] == "master"
	})
}
