//go:build linux

package main

import (
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Head is the first line of the result: where and of what the figures are.
type Head struct {
	Type       string  `json:"type"` // "run"
	Date       string  `json:"date"`
	HostName   string  `json:"host"`
	CPU        string  `json:"cpu"`
	Processors int     `json:"processors"`
	Kernel     string  `json:"kernel"`
	Go         string  `json:"go"`
	Commit     string  `json:"commit"`
	ServerCPU  int     `json:"server_processor"`
	LoadCPU    int     `json:"load_processor"`
	Rounds     int     `json:"rounds"`
	Short      bool    `json:"short,omitempty"`
	Seconds    float64 `json:"measure_s"`
}

func newHead(o *Options) (*Head, error) {
	h := &Head{
		Type: "run", Date: o.Date, CPU: cpuinfo(readFile("/proc/cpuinfo"), "model name"), Go: runtime.Version(),
		Processors: strings.Count("\n"+readFile("/proc/cpuinfo"), "\nprocessor"),
		Kernel:     strings.TrimSpace(readFile("/proc/sys/kernel/osrelease")),
		ServerCPU:  o.ServerCPU, LoadCPU: o.LoadCPU, Rounds: o.Rounds, Short: o.Short, Seconds: o.Measure.Seconds(),
	}
	h.HostName, _ = os.Hostname()
	info, err := buildinfo.ReadFile(filepath.Join(o.Bin, "labgate"))
	if err != nil {
		return nil, fmt.Errorf("--bin %s: %w; run make build", o.Bin, err)
	}
	if _, err := os.Stat(filepath.Join(o.Bin, "limit")); err != nil {
		return nil, fmt.Errorf("--bin %s: %w; scripts/bench builds it", o.Bin, err)
	}
	h.Commit, h.Go = o.Commit, info.GoVersion
	if h.Commit == "" {
		h.Commit = revision(info)
	}
	return h, nil
}

// revision is the commit that the gateway under test was built from.
func revision(info *buildinfo.BuildInfo) string {
	var rev, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if rev == "" {
		return "unknown"
	}
	return rev + dirty
}

// cpuinfo is the first value of a name in /proc/cpuinfo.
func cpuinfo(text, name string) string {
	for line := range strings.Lines(text) {
		if n, value, _ := strings.Cut(line, ":"); strings.TrimSpace(n) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func readFile(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// clockTicks is USER_HZ, the unit of CPU times in /proc: 100 on every Linux.
const clockTicks = 100

// readMachine is the CPU time that all processes together have had so far, in
// seconds; 0: unknown.
func readMachine() float64 {
	busy, _ := parseMachine(readFile("/proc/stat"))
	return busy
}

// parseMachine reads the first line of /proc/stat: "cpu", then user, nice,
// system, idle, iowait, irq, softirq and steal time.
func parseMachine(stat string) (float64, error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("unexpected first line of /proc/stat: %.80q", line)
	}
	var ticks uint64
	for _, i := range []int{1, 2, 3, 8} {
		n, err := strconv.ParseUint(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return float64(ticks) / clockTicks, nil
}
