//go:build linux

package main

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"path/filepath"

	"github.com/labgate/labgate/bench/internal/host"
)

// Head is the first line of the result: the machine and the gateway that were
// measured.
type Head struct {
	Type       string  `json:"type"` // "run"
	Date       string  `json:"date"`
	HostName   string  `json:"host"`
	CPU        string  `json:"cpu"`
	Processors int     `json:"processors"`
	Kernel     string  `json:"kernel"`
	Governor   string  `json:"governor,omitempty"`
	Go         string  `json:"go"`
	Commit     string  `json:"commit"`
	Gateway    string  `json:"gateway,omitempty"` // of a comparison: old or new
	ServerCPU  int     `json:"server_processor"`
	LoadCPU    int     `json:"load_processor"`
	Rounds     int     `json:"rounds"`
	Short      bool    `json:"short,omitempty"`
	Seconds    float64 `json:"measure_s"`
}

// newHead describes this machine and the gateway that o names.
func newHead(o *Options) (*Head, error) {
	h, err := newGatewayHead(o, filepath.Join(o.Bin, "labgate"))
	if err != nil {
		return nil, fmt.Errorf("--bin %s: %w; run make build", o.Bin, err)
	}
	if _, err := os.Stat(filepath.Join(o.Bin, "limit")); err != nil {
		return nil, fmt.Errorf("--bin %s: %w; scripts/bench builds it", o.Bin, err)
	}
	if o.Commit != "" {
		h.Commit = o.Commit
	}
	return h, nil
}

// newGatewayHead describes this machine and a gateway's binary.
func newGatewayHead(o *Options, program string) (*Head, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	facts := host.Read()
	h := &Head{
		Type: "run", Date: o.Date, CPU: facts.CPU, Processors: host.Processors(), Kernel: facts.Kernel, Governor: facts.Governor,
		Go: info.GoVersion, Commit: cmp.Or(host.Revision(info), "unknown"),
		ServerCPU: o.ServerCPU, LoadCPU: o.LoadCPU, Rounds: o.Rounds, Short: o.Short, Seconds: o.Measure.Seconds(),
	}
	if h.CPU == "" {
		h.CPU = "unknown"
	}
	h.HostName, _ = os.Hostname()
	return h, nil
}
