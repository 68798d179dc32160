//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/labgate/labgate/bench"
)

// nodes are the peers of a gateway in a cluster of two: a Redis and the second
// gateway, on the server's processors. They belong to one goroutine.
type nodes struct {
	redis *exec.Cmd
	dir   string
	addr  string // of the Redis
	other *server
}

// startNodes starts both and returns the workload of the first gateway, with
// the options that join the second gateway and point the loads to it.
func startNodes(o *Options, w *workload) (*nodes, *workload, error) {
	n := &nodes{}
	if err := n.startRedis(o); err != nil {
		n.stop()
		return nil, nil, err
	}
	joined := func(name string) []string {
		return append(append([]string(nil), w.server...), "--node", name, "--redis", "redis://"+n.addr)
	}
	var err error
	if n.other, err = startServer(o, &workload{server: joined("b"), env: w.env, nodes: true}); err != nil {
		n.stop()
		return nil, nil, err
	}
	first := *w
	first.server, first.loads = joined("a"), nil
	for _, l := range w.loads {
		l.args = append(append([]string(nil), l.args...), "--frontend-target", "http://"+n.other.addr)
		if l.args[0] == bench.ScenarioCluster {
			l.args = append(l.args, "--redis-addr", n.addr)
		} else {
			l.args = append(l.args, "--frontend-pid", strconv.Itoa(n.other.pid()))
		}
		first.loads = append(first.loads, l)
	}
	return n, &first, nil
}

func (n *nodes) startRedis(o *Options) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return fmt.Errorf("%w: make setup installs it", err)
	}
	if n.dir, err = os.MkdirTemp("", "labgate-goals-"); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	n.addr = ln.Addr().String()
	_ = ln.Close()
	_, port, _ := net.SplitHostPort(n.addr)
	cmd := exec.Command("taskset", "-c", bothProcessors(o), program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", n.dir, "--loglevel", "warning")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.redis = cmd
	for deadline := time.Now().Add(startWithin); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", n.addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen after %v: %w", strings.Join(cmd.Args, " "), startWithin, err)
		}
	}
}

// ended returns an error if the second gateway has ended.
func (n *nodes) ended() error {
	if err := n.other.ended(); err != nil {
		return errors.Join(errors.New("the second node"), err)
	}
	return nil
}

// stop ends both and returns their CPU time, in seconds.
func (n *nodes) stop() (cpu float64) {
	if n.other != nil {
		n.other.stop()
		cpu += used(n.other.cmd)
	}
	if n.redis != nil {
		_ = n.redis.Process.Kill()
		_ = n.redis.Wait()
		cpu += used(n.redis)
	}
	if n.dir != "" {
		_ = os.RemoveAll(n.dir)
	}
	return cpu
}

// loadedNodes is loaded for a workload with two gateways.
func (r *runner) loadedNodes(ctx context.Context, w *workload, s *Sample) (cpu float64, err error) {
	n, first, err := startNodes(r.o, w)
	if err != nil {
		return 0, err
	}
	cpu, err = r.loaded(ctx, first, s)
	err = errors.Join(err, n.ended())
	return cpu + n.stop(), err
}
