package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

// version is set by the Makefile with -ldflags "-X main.version=...".
var version string

// VersionCmd prints the version.
type VersionCmd struct{}

// Run prints the version and what it was built with.
func (*VersionCmd) Run(_ context.Context, out *Streams) error {
	info, _ := debug.ReadBuildInfo()
	goVersion := "unknown Go"
	if info != nil {
		goVersion = info.GoVersion
	}
	_, err := fmt.Fprintf(out.Out, "labgate %s (%s)\n", buildVersion(), goVersion)
	return err
}

// buildVersion returns the version that was set at build time, or the revision
// that Go recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "devel"
}
