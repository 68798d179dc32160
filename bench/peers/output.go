//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/labgate/labgate/bench/peers/load"
)

// Head is the first line of the result.
type Head struct {
	Type        string       `json:"type"` // "run"
	Date        string       `json:"date"`
	Host        Host         `json:"host"`
	ServerCPU   int          `json:"server_processor"`
	LoadCPU     int          `json:"load_processor"`
	Quick       bool         `json:"quick,omitempty"`
	Rounds      int          `json:"rounds"`
	IdleRounds  int          `json:"idle_rounds"`
	Receivers   int          `json:"receivers"`
	Connections int          `json:"idle_connections"`
	Payload     int          `json:"payload_bytes"`
	MeasureMS   int64        `json:"measure_ms"`
	FanOutLight float64      `json:"fan_out_light_per_s"`
	UniLight    float64      `json:"unicast_light_per_s"`
	FanOutTick  int64        `json:"fan_out_tick_us"`
	UniTick     int64        `json:"unicast_tick_us"`
	Precision   float64      `json:"precision"`
	Targets     []HeadTarget `json:"targets"`
}

// HeadTarget describes a target.
type HeadTarget struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Version  string `json:"version"`
	Settings string `json:"settings"`
	Work     string `json:"work"` // for a message, that others do not do
}

func newHead(o *Options) *Head {
	h := &Head{
		Type: "run", Date: o.Date, Host: hostInfo(), ServerCPU: o.ServerCPU, LoadCPU: loadCPU(), Quick: o.Quick,
		Rounds: o.Rounds, IdleRounds: o.IdleRounds, Receivers: o.Receivers, Connections: o.Connections, Payload: load.PayloadSize,
		MeasureMS: o.Measure.Milliseconds(), FanOutLight: o.FanOutLight, UniLight: o.UniLight,
		FanOutTick: o.FanOutTick.Microseconds(), UniTick: o.UniTick.Microseconds(), Precision: o.Precision,
	}
	for _, t := range o.Targets {
		h.Targets = append(h.Targets, HeadTarget{Name: t.Name, Kind: string(t.Kind), Version: version(t, o.place()), Settings: t.Settings, Work: t.Work})
	}
	return h
}

// output writes the result as it grows, and the table at the end.
type output struct {
	head  *Head
	base  string // of the two files' names
	file  *os.File
	begun time.Time
}

func newOutput(o *Options) (*output, error) {
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, err
	}
	w := &output{head: newHead(o), base: filepath.Join(o.Out, "peers-"+o.Date), begun: time.Now()}
	var err error
	if w.file, err = os.Create(w.base + ".jsonl"); err != nil {
		return nil, err
	}
	return w, w.line(w.head)
}

func (w *output) line(v any) error { return json.NewEncoder(w.file).Encode(v) }

func (w *output) write(rec *Record) error {
	switch {
	case rec.Error != "":
		w.progress("round %d: %s", rec.Round, rec.Error)
	case rec.Outcome != nil:
		o := rec.Outcome
		w.progress("round %d: %s, %s: %.0f deliveries/s, %.3f s of CPU per million, p50 %.2f ms, p99 %.2f ms", rec.Round, rec.Target, rec.Case, o.PerSecond, o.CPUPerM, o.P50/1e3, o.P99/1e3)
	case rec.Idle != nil:
		w.progress("round %d: %s, idle: %.1f KiB each, opened in %.1f s", rec.Round, rec.Target, rec.Idle.PerConnKiB, rec.Idle.OpenSeconds)
	case rec.Limit != nil:
		w.progress("round %d: plain sockets: %.0f deliveries/s, %.3f s of CPU per million", rec.Round, rec.Limit.PerSecond, rec.Limit.CPUPerOne)
	}
	return w.line(rec)
}

// progress writes a line with the time since the start.
func (w *output) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "%4.0fs  %s\n", time.Since(w.begun).Seconds(), fmt.Sprintf(format, args...))
}

// finish adds the medians and writes the table.
func (w *output) finish(records []*Record) error {
	all := summarize(records)
	errs := make([]error, 0, len(all)+2)
	for _, s := range all {
		errs = append(errs, w.line(s))
	}
	errs = append(errs, w.file.Close())
	text := markdown(w.head, all, records, time.Since(w.begun))
	errs = append(errs, os.WriteFile(w.base+".md", []byte(text), 0o644))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.progress("written: %s.jsonl, %s.md", w.base, w.base)
	return nil
}
