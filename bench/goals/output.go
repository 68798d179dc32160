//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// output writes the result as it grows, and the table at the end.
type output struct {
	base   string // of the two files' names
	file   *os.File
	log    io.Writer
	prefix string // of the lines in log
	begun  time.Time
	err    error // of all lines
}

func newOutput(o *Options, head *Head, log io.Writer) (*output, error) {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, err
	}
	kind := "goals"
	if o.Command != "" {
		kind = o.Command
	}
	w := &output{base: filepath.Join(o.Out, kind+"-"+o.Date), log: log, begun: time.Now()}
	if o.Command == commandCompare {
		w.base, w.prefix = w.base+"-"+head.Gateway, head.Gateway+", "
	}
	var err error
	if w.file, err = os.Create(w.base + ".jsonl"); err != nil {
		return nil, err
	}
	return w, w.line(head)
}

// line writes v on its own line; close repeats the error.
func (w *output) line(v any) error {
	err := json.NewEncoder(w.file).Encode(v)
	w.err = errors.Join(w.err, err)
	return err
}

// close ends the file; the error is that of any line, too.
func (w *output) close() error { return errors.Join(w.err, w.file.Close()) }

// sample writes a measurement with its reports.
func (w *output) sample(s *Sample) error {
	errs := append(make([]error, 0, len(s.reports)+1), w.line(s))
	for _, r := range s.reports {
		errs = append(errs, w.line(r))
	}
	text := brief(s)
	if s.Error != "" {
		text = "FAILED: " + s.Error
	}
	w.progress("round %d: %s: %s", s.Round, s.Label, text)
	return errors.Join(errs...)
}

// brief returns a short description of a measurement.
func brief(s *Sample) string {
	parts := make([]string, 0, 5)
	for _, f := range []struct {
		name string
		of   figure
	}{
		{"rate", saturationRate}, {"deliveries/s", limitRate}, {"CPU µs", serverCPU}, {"p50 µs", p50}, {"p99 µs", p99},
		{"urgent p99 µs", urgentP99}, {"KiB each", idleKiB}, {"s until back", stormSeconds}, {"storm p99 µs", stormP99},
	} {
		if v := f.of(s); v == v { // a number
			parts = append(parts, f.name+" "+number(v))
		}
	}
	return fmt.Sprintf("%s (others %.0f %%)", strings.Join(parts, ", "), s.Other*100)
}

// progress writes a line with the time since the start.
func (w *output) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(w.log, "%4.0fs  %s%s\n", time.Since(w.begun).Seconds(), w.prefix, fmt.Sprintf(format, args...))
}

// finish adds the verdicts and writes the table.
func (w *output) finish(verdicts []*Verdict, text string) error {
	errs := make([]error, 0, len(verdicts)+2)
	for _, v := range verdicts {
		errs = append(errs, w.line(v))
	}
	errs = append(errs, w.close(), os.WriteFile(w.base+".md", []byte(text), 0o644))
	_, _ = io.WriteString(w.log, "\n"+text+"\n")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.progress("written: %s.jsonl, %s.md", w.base, w.base)
	return nil
}
