//go:build linux

package main

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/labgate/labgate/bench/peers/target"
)

// Host is the machine of a run.
type Host struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func hostInfo() Host {
	return Host{CPU: cpuModel(), CPUs: onlineCPUs(), Kernel: firstLine("/proc/sys/kernel/osrelease"), Go: runtime.Version()}
}

func cpuModel() string {
	for line := range strings.Lines(readFile("/proc/cpuinfo")) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// onlineCPUs counts them all; this process may be tied to one.
func onlineCPUs() (n int) {
	for line := range strings.Lines(readFile("/proc/cpuinfo")) {
		if strings.HasPrefix(line, "processor") {
			n++
		}
	}
	return n
}

func firstLine(path string) string {
	line, _, _ := strings.Cut(readFile(path), "\n")
	return line
}

func readFile(path string) string {
	b, _ := os.ReadFile(path)
	return string(b)
}

// version is that of the product a target is made of.
func version(t *target.Target, p *target.Place) string {
	path, err := p.Path(t)
	if err != nil {
		return ""
	}
	if t.Module == "" {
		out, _ := exec.Command(path, t.VersionArg).Output() // some have an exit status other than 0
		line, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimPrefix(strings.TrimPrefix(line, t.Name+" "), "version ")
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	if info.Main.Path == t.Module {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == t.Module {
			return d.Version
		}
	}
	return ""
}
