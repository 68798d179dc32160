//go:build linux

package main

import (
	"runtime"

	"github.com/labgate/labgate/bench/internal/host"
)

// Host describes the machine of a measurement.
type Host struct {
	host.Facts
	Go string `json:"go"` // version
}

func hostInfo() Host { return Host{Facts: host.Read(), Go: runtime.Version()} }
