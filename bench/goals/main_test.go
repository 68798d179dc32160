//go:build linux

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/labgate/labgate/internal/gatewaytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// build returns a directory with the programs that a run starts.
func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, pkg := range []string{"./cmd/labgate", "./bench/limit"} {
		built := gatewaytest.Binary(t, pkg)
		if err := os.Symlink(built, filepath.Join(dir, filepath.Base(built))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRun does a whole run with the real programs. The figures of a test mean
// nothing, but must exist.
func TestRun(t *testing.T) {
	bin, out := build(t), t.TempDir()
	common := []string{"--bin", bin, "--out", out, "--date", "d", "--measure", "200ms", "--commit", "abc"}
	var log strings.Builder
	if err := run(t.Context(), append(common, "--rounds", "2", "--cases", "commands"), io.Discard, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	table, err := os.ReadFile(filepath.Join(out, "goals-d.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Commit abc", "| commands | command round trip: p50 |", "commands, bare relay: ", "0 not measured."} {
		if !strings.Contains(string(table), want) {
			t.Errorf("table lacks %q:\n%s", want, table)
		}
	}
	lines, err := os.ReadFile(filepath.Join(out, "goals-d.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]int{`"type":"run"`: 1, `"type":"measurement"`: 4, `"scenario":"commands"`: 4 + 4, `"type":"goal"`: 2} {
		if got := strings.Count(string(lines), want); got != n {
			t.Errorf("%d times %s, want %d", got, want, n)
		}
	}

	// A failed run returns an error, and the table is still written.
	if err := os.Remove(filepath.Join(bin, "limit")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "limit"), []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	err = run(t.Context(), append(common, "--rounds", "1", "--cases", "commands"), io.Discard, &log)
	if err == nil || !strings.Contains(err.Error(), "commands, bare relay") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "not measured") || !strings.Contains(log.String(), "## Failed") {
		t.Errorf("table:\n%s", log.String())
	}
	if err := run(t.Context(), []string{"--bin", t.TempDir()}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("no programs: error %v", err)
	}
}
