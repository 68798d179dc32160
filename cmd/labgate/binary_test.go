package main

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maxBinary is the limit on the binary that make build makes, in bytes.
const maxBinary = 15_000_000

// TestBinaryIsSmallAndStatic builds as the README says. A library that looks up
// methods by name makes the binary 10 MB larger
// (docs/decisions/0011-command-line.md).
func TestBinaryIsSmallAndStatic(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "labgate")
	build := exec.Command("make", "-C", "../..", "build", "BINARY="+binary)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxBinary {
		t.Errorf("%d bytes, at most %d allowed; see docs/decisions/0011-command-line.md for the usual cause", info.Size(), maxBinary)
	}
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("linked against %v, %v", libraries, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary needs a dynamic linker")
		}
	}
	out, err := exec.Command(binary, "--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "labgate ") {
		t.Errorf("--version: %q, %v", out, err)
	}
}
