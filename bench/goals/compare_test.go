//go:build linux

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCompare compares the shipped program with itself, and with one that does
// not start.
func TestCompare(t *testing.T) {
	bin, dir := build(t), t.TempDir()
	gateway := filepath.Join(bin, "labgate")
	args := []string{"compare", "--out", dir, "--date", "d", "--rounds", "2", "--measure", "200ms", "--cases", "commands", "--markdown"}
	var out, log strings.Builder
	if err := run(t.Context(), append(args, gateway, gateway), &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{"| **commands** |", "| commands/s | 2, 2 |", "| server CPU µs a message | 2, 2 |", "| too few |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
	if file, err := os.ReadFile(filepath.Join(dir, "compare-d.md")); err != nil || string(file) != out.String() {
		t.Errorf("the file differs from what was printed: %v\n%s", err, file)
	}
	for _, side := range []string{"old", "new"} {
		lines, err := os.ReadFile(filepath.Join(dir, "compare-d-"+side+".jsonl"))
		if err != nil || strings.Count(string(lines), `"scenario":"commands"`) < 2 || !strings.Contains(string(lines), `"gateway":"`+side+`"`) {
			t.Errorf("the reports of the %s gateway: %v\n%s", side, err, lines)
		}
	}
	var order []string
	for line := range strings.Lines(log.String()) {
		if _, text, ok := strings.Cut(line, "s  "); ok {
			name, _, _ := strings.Cut(text, ",")
			order = append(order, name)
		}
	}
	if got := strings.Join(order, " "); got != "old new new old" {
		t.Errorf("order of the measurements: %s", got)
	}

	// A copy of the program for a machine that does not exist: the kernel does not
	// start it.
	broken := filepath.Join(bin, "broken")
	program, err := os.ReadFile(gateway)
	if err != nil {
		t.Fatal(err)
	}
	const machine = 18 // e_machine of an ELF header
	program[machine] ^= 0xff
	if err := os.WriteFile(broken, program, 0o755); err != nil {
		t.Fatal(err)
	}
	err = run(t.Context(), append(args, broken, gateway), io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "old, commands: no measurement succeeded") {
		t.Errorf("a gateway that does not start: error %v", err)
	}
}
