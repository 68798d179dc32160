//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/labgate/labgate/bench"
	"github.com/labgate/labgate/bench/internal/host"
)

const (
	// otherShare is the share of a core that other programs may take without
	// disturbing a measurement.
	otherShare = 0.1
	// idleTime is how long idle connections are kept: memory does not change.
	idleTime = time.Second
	// stormTime is the least that a storm's three phases need.
	stormTime = 3 * time.Second
	// outlastBy is added to the duration of a load with load.outlast.
	outlastBy = 8 * time.Second
	errorText = 1000 // bytes of a program's error output that are kept
)

// Sample is one measurement of a workload: a line of the result.
type Sample struct {
	Type  string  `json:"type"` // "measurement"
	Label string  `json:"label"`
	Round int     `json:"round"`
	At    string  `json:"at"`               // when it began, RFC 3339
	Other float64 `json:"other_cpu_share"`  // of one core, by other programs on the machine
	Error string  `json:"error,omitempty"`  // then its figures do not count
	Again bool    `json:"again,omitempty"`  // measured again, after a disturbed measurement
	Limit any     `json:"report,omitempty"` // of a program that measures itself

	reports []*bench.Report
	limit   *limitReport
	limited bool // the load program ended a search
}

// limitReport is the part of limit stream's report that is used here.
type limitReport struct {
	PerSecond float64 `json:"deliveries_per_s"`
	CPUPerOne float64 `json:"cpu_us_per_delivery"`
	CPUShare  float64 `json:"cpu_share"`
	Verified  bool    `json:"verified"`
	Receiver  struct {
		CPUShare float64 `json:"cpu_share"`
	} `json:"receiver"`
}

// measure runs a workload once.
func (r *runner) measure(ctx context.Context, w *workload) *Sample {
	s := &Sample{Type: "measurement", Label: w.label, At: time.Now().UTC().Format(time.RFC3339)}
	busy, begun := busyCPUTime(), time.Now()
	var ours float64 // CPU seconds of the programs started here
	var err error
	if w.loads == nil {
		ours, err = r.selfMeasured(ctx, w, s)
	} else if w.nodes {
		ours, err = r.loadedNodes(ctx, w, s)
	} else {
		ours, err = r.loaded(ctx, w, s)
	}
	if err != nil {
		s.Error = err.Error()
	}
	s.Other = max(busyCPUTime()-busy-ours, 0) / time.Since(begun).Seconds()
	s.limited = loadLimited(s)
	return s
}

// busyCPUTime is the CPU time of all processes so far, in seconds; 0: unknown.
func busyCPUTime() float64 {
	busy, _ := host.BusyCPUTime()
	return busy
}

// selfMeasured runs a program that starts its own receiver.
func (r *runner) selfMeasured(ctx context.Context, w *workload, s *Sample) (cpu float64, err error) {
	argv := append(append([]string(nil), w.server...), "--duration", r.o.Measure.String(), "--receiver-cpu", strconv.Itoa(r.o.LoadCPU))
	cmd := pinned(ctx, r.o.Bin, strconv.Itoa(r.o.ServerCPU), argv, nil)
	out, err := outputOf(cmd)
	cpu = used(cmd)
	if err == nil {
		s.limit, err = parseLimit(out)
	}
	if err == nil {
		s.Limit = json.RawMessage(bytes.TrimSpace(out))
	}
	return cpu, err
}

func parseLimit(b []byte) (*limitReport, error) {
	l := &limitReport{}
	if err := json.Unmarshal(b, l); err != nil {
		return nil, fmt.Errorf("report of limit: %w", err)
	}
	if !l.Verified || l.PerSecond <= 0 || l.CPUPerOne <= 0 {
		return nil, fmt.Errorf("report of limit: not verified: %.200s", b)
	}
	return l, nil
}

// loaded runs a server and the loads on it.
func (r *runner) loaded(ctx context.Context, w *workload, s *Sample) (cpu float64, err error) {
	srv, err := startServer(r.o, w)
	if err != nil {
		return 0, err
	}
	type outcome struct {
		report *bench.Report
		cpu    float64
		err    error
	}
	// A failed load ends the others.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make([]chan outcome, len(w.loads))
	for i := range w.loads {
		results[i] = make(chan outcome, 1)
		go func() {
			var o outcome
			o.report, o.cpu, o.err = r.load(ctx, w, &w.loads[i], srv)
			if o.err != nil {
				cancel()
			}
			results[i] <- o
		}()
	}
	for _, c := range results {
		o := <-c
		cpu += o.cpu
		if o.report != nil {
			s.reports = append(s.reports, o.report)
		}
		err = errors.Join(err, o.err)
	}
	err = errors.Join(err, srv.ended())
	srv.stop()
	return cpu + used(srv.cmd), err
}

// load runs labgate bench against a server.
func (r *runner) load(ctx context.Context, w *workload, l *load, srv *server) (*bench.Report, float64, error) {
	if l.after > 0 {
		if err := srv.holds(ctx, l.after); err != nil {
			return nil, 0, err
		}
	}
	argv, err := r.loadArgs(w, l, srv)
	if err != nil {
		return nil, 0, err
	}
	cmd := pinned(ctx, r.o.Bin, w.loadProcessors(r.o), argv, nil)
	out, err := outputOf(cmd)
	report, perr := parseReport(out)
	if err == nil {
		err = perr
	}
	return report, used(cmd), err
}

// loadArgs is the command line of a load.
func (r *runner) loadArgs(w *workload, l *load, srv *server) ([]string, error) {
	d := r.o.Measure
	switch l.args[0] {
	case bench.ScenarioIdle:
		d = idleTime
	case bench.ScenarioStorm:
		d = max(d, stormTime)
	}
	if len(w.loads) > 1 {
		d = r.o.Small
	}
	if l.outlast {
		d += outlastBy
	}
	argv := append([]string{r.o.loadProgram(), "bench"}, l.args...)
	argv = append(argv, "--json", "--label="+w.label, "--target", "http://"+srv.addr, "--server-pid", strconv.Itoa(srv.pid()),
		"--duration", d.String(), "--step-duration", r.o.Step.String())
	if srv.admin != "" {
		argv = append(argv, "--admin-url", "http://"+srv.admin)
	}
	if l.rate != nil {
		rate, err := l.rate(r)
		if err != nil {
			return nil, err
		}
		argv = append(argv, "--rate", strconv.FormatFloat(rate, 'f', 0, 64))
	}
	return argv, nil
}

func parseReport(b []byte) (*bench.Report, error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, errors.New("labgate bench printed no report")
	}
	r := &bench.Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("report of labgate bench: %w", err)
	}
	if r.Scenario == "" {
		return nil, errors.New("report of labgate bench: it names no scenario")
	}
	return r, nil
}

// outputOf runs a program and returns its output, also when the program failed;
// the error then quotes the end of its error output.
func outputOf(cmd *exec.Cmd) ([]byte, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err != nil {
		text := strings.TrimSpace(complaint.String())
		err = fmt.Errorf("%w: %s", err, text[max(len(text)-errorText, 0):])
	}
	return out.Bytes(), err
}

// used is the CPU time of a program that has ended and of its children, in
// seconds.
func used(cmd *exec.Cmd) float64 {
	if cmd.ProcessState == nil {
		return 0
	}
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}
