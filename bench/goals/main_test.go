//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(exit)) }

// exit removes the programs that built has made.
func exit(code int) {
	if programs.dir != "" {
		_ = os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// programs are built once for all tests.
var programs struct {
	once sync.Once
	dir  string
	err  error
}

// build returns a directory with the programs that a run starts. The test may
// remove them there, but not change them.
func build(t *testing.T) (dir string) {
	t.Helper()
	programs.once.Do(func() {
		if programs.dir, programs.err = os.MkdirTemp("", "labgate-goals-"); programs.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", programs.dir+"/", "github.com/labgate/labgate/cmd/labgate", "github.com/labgate/labgate/bench/limit").CombinedOutput()
		if err != nil {
			programs.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	dir = t.TempDir()
	for _, name := range []string{"labgate", "limit"} {
		if err := os.Link(filepath.Join(programs.dir, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestRun goes the whole way with the shipped programs: the figures of a test's
// machine mean nothing, but they have to be there.
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

	// A run that fails says so, and the table is written all the same.
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
