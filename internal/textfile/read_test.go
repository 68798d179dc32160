package textfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRead(t *testing.T) {
	pipeTimeout = 300 * time.Millisecond
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	// pipe makes a pipe; write runs beside the reading, nil for no writer.
	pipe := func(name string, write func(f *os.File)) string {
		path := filepath.Join(dir, name)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if write != nil {
			go func() {
				time.Sleep(50 * time.Millisecond)
				if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
					defer f.Close()
					write(f)
				}
			}()
		}
		return path
	}
	for _, c := range []struct {
		path, want, err string
	}{
		{file("plain", "secret\n"), "secret\n", ""},
		{file("mark", Mark+"secret\n"), "secret\n", ""},
		{file("empty", ""), "", ""},
		{file("full", "0123456789abcdef"), "0123456789abcdef", ""},
		{file("large", "0123456789abcdef0"), "", "larger than 16 bytes"},
		{file("wide", "\xff\xfea\x00"), "", "UTF-16"},
		{filepath.Join(dir, "missing"), "", "no such file"},
		{dir, "", "is a directory"},
		{pipe("written", func(f *os.File) { _, _ = f.WriteString("secret\n") }), "secret\n", ""},
		{pipe("unopened", nil), "", "is a pipe that was not written"},
		{pipe("kept open", func(f *os.File) { _, _ = f.WriteString("secr"); time.Sleep(time.Second) }), "", "is a pipe that was not written and closed"},
		{pipe("closed empty", func(*os.File) {}), "", "is a pipe that was not written"},
		{"/dev/zero", "", "larger than 16 bytes"},
	} {
		data, err := Read(c.path, 16)
		switch {
		case c.err == "" && (err != nil || string(data) != c.want):
			t.Errorf("%s: %q, %v", c.path, data, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Count(err.Error(), c.path) != 1):
			t.Errorf("%s: %v, want %q and the path once", c.path, err, c.err)
		}
	}
	if _, err := Read(filepath.Join(dir, "missing"), 16); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
