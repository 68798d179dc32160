//go:build linux

package main

import (
	"debug/buildinfo"
	"os/exec"
	"runtime"
	"strings"

	"github.com/labgate/labgate/bench/internal/host"
	"github.com/labgate/labgate/bench/peers/target"
)

// Host is the machine of a run.
type Host struct {
	host.Facts
	Go string `json:"go"` // version of this program's
}

// hostInfo counts all processors: this process may be pinned to one.
func hostInfo() Host {
	h := Host{Facts: host.Read(), Go: runtime.Version()}
	h.CPUs = host.Processors()
	return h
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
