//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startWithin = 10 * time.Second
	stopWithin  = 3 * time.Second // after that the process is killed
	fillWithin  = 30 * time.Second
	logLines    = 20 // of a server's log that an error quotes
)

// server is a running server under load. It belongs to one goroutine; its own
// goroutine writes log and err before it closes done.
type server struct {
	cmd   *exec.Cmd
	addr  string
	admin string        // empty: it has none
	done  chan struct{} // closed when the process has ended
	log   []string      // its last lines; only after done
	err   error         // how it ended; only after done
}

// ready is the log line with a server's addresses.
type ready struct {
	Listen  string `json:"listen"`
	Admin   string `json:"admin"`
	Message string `json:"message"`
}

// pinned is a program on given processors: a path, or a name in the directory
// bin. It ends with this process at the latest. taskset becomes the program, so
// the process id does not change.
func pinned(ctx context.Context, bin, processors string, argv, env []string) *exec.Cmd {
	program := argv[0]
	if !filepath.IsAbs(program) {
		program = filepath.Join(bin, program)
	}
	args := append([]string{"-c", processors, program}, argv[1:]...)
	cmd := exec.CommandContext(ctx, "taskset", args...)
	// The caller's GOMAXPROCS, GOGC and LABGATE_... must not change the result.
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// serverProcessors are the processors of a workload's server, as taskset's list.
func (w *workload) serverProcessors(o *Options) string {
	if w.shared || w.nodes {
		return bothProcessors(o)
	}
	return strconv.Itoa(o.ServerCPU)
}

// loadProcessors are the processors of its loads.
func (w *workload) loadProcessors(o *Options) string {
	if w.nodes {
		return bothProcessors(o)
	}
	return strconv.Itoa(o.LoadCPU)
}

func bothProcessors(o *Options) string {
	return strconv.Itoa(o.ServerCPU) + "," + strconv.Itoa(o.LoadCPU)
}

// startServer runs a server until stop and waits until it listens.
func startServer(o *Options, w *workload) (*server, error) {
	s := &server{cmd: pinned(context.Background(), o.Bin, w.serverProcessors(o), w.server, w.env), done: make(chan struct{})}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	first := make(chan ready, 1)
	go func() {
		s.log = watchLog(log, first)
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	select {
	case r := <-first:
		s.addr, s.admin = r.Listen, r.Admin
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("%s ended at once: %w; its log: %s", strings.Join(w.server, " "), s.err, strings.Join(s.log, " | "))
	case <-time.After(startWithin):
		s.stop()
		return nil, fmt.Errorf("%s does not listen after %v; its log: %s", strings.Join(w.server, " "), startWithin, strings.Join(s.log, " | "))
	}
}

// watchLog reads a log to its end, sends the ready line to first and returns the
// last lines.
func watchLog(log io.Reader, first chan<- ready) (last []string) {
	sc := bufio.NewScanner(log)
	for sc.Scan() {
		var r ready
		if json.Unmarshal(sc.Bytes(), &r) == nil && r.Message == "ready" {
			select {
			case first <- r:
			default:
			}
		}
		if last = append(last, sc.Text()); len(last) > logLines {
			last = last[1:]
		}
	}
	_, _ = io.Copy(io.Discard, log) // a line too long: the process must not block
	return last
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// ended returns an error if the server has ended.
func (s *server) ended() error {
	select {
	case <-s.done:
		return fmt.Errorf("the server ended: %w; its log: %s", errors.Join(errors.New("unasked"), s.err), strings.Join(s.log, " | "))
	default:
		return nil
	}
}

// holds waits until the server has at least the given number of descriptors.
func (s *server) holds(ctx context.Context, descriptors int) error {
	for deadline := time.Now().Add(fillWithin); ; {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid()))
		switch {
		case err != nil:
			return errors.Join(err, s.ended())
		case len(files) >= descriptors:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("the server has %d descriptors after %v, %d expected", len(files), fillWithin, descriptors)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the server. The load has ended before, so nothing is left to drain.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopWithin):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}
