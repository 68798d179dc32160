package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/labgate/labgate/client"
	"github.com/labgate/labgate/protocol"
)

// TailCmd prints what the gateway sends to front ends.
type TailCmd struct {
	ClientOptions
	Device []string `option:"device" unset:"all" placeholder:"ID" help:"Watch only these devices."`
	JSON   bool     `option:"json" help:"Print JSON lines."`
}

// Run prints each message when it arrives, and a summary of the telemetry each
// second, until ctx ends.
func (c *TailCmd) Run(ctx context.Context, out *Streams) error {
	if _, err := c.token(); err != nil {
		return err
	}
	w := &watch{out: out.Out, json: c.JSON, only: c.Device, streams: map[uint32]*streamSummary{}}
	dial, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	telemetry := protocol.TelemetryAll
	if len(c.Device) > 0 {
		telemetry = protocol.TelemetryNone
	}
	fe, err := client.DialFrontend(dial, c.config(&out.Log), client.FrontendConfig{
		Telemetry:   telemetry,
		OnConnect:   w.connected,
		OnMessage:   w.message,
		OnTelemetry: w.telemetry,
		OnLost:      w.lost,
	})
	if err != nil {
		return err
	}
	defer fe.Close()
	if len(c.Device) > 0 {
		if err := fe.Subscribe(ctx, c.Device...); err != nil {
			return err
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-fe.Done():
			return fe.Err()
		case <-tick.C:
			w.summarise(fe)
		}
	}
}

// watch prints messages and summaries. Its callbacks run on the connection's
// reading goroutine; summarise runs on the command's goroutine.
type watch struct {
	out  io.Writer
	json bool
	only []string

	// mu guards the streams and keeps lines whole.
	mu      sync.Mutex
	streams map[uint32]*streamSummary
}

// streamSummary is one second of a stream.
type streamSummary struct {
	gaps    client.GapFinder
	samples uint64
	frames  uint64
	missing uint64
	lost    uint64
	header  protocol.TelemetryHeader
	low     []float64
	high    []float64
	last    []float64
}

func (w *watch) connected(_ *client.Frontend, welcome protocol.Welcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Another node has other stream numbers: start anew.
	clear(w.streams)
	names := make([]string, len(welcome.Devices))
	for i, d := range welcome.Devices {
		names[i] = d.DeviceID
	}
	if w.json {
		w.printJSON(protocol.TypeWelcome, welcome)
		return
	}
	fmt.Fprintf(w.out, "%s connected to node %s; devices: %s\n", clock(), welcome.Node, strings.Join(names, " "))
}

func (w *watch) message(m protocol.Message) {
	if len(w.only) > 0 && m.Src != "" && !slices.Contains(w.only, m.Src) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.json {
		if text, err := json.Marshal(m); err == nil {
			fmt.Fprintf(w.out, "%s\n", text)
		}
		return
	}
	fmt.Fprintf(w.out, "%s %-12s %s %s\n", clock(), m.Src, m.Type, m.Payload)
}

func (w *watch) telemetry(h protocol.TelemetryHeader, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stream(h.Stream)
	from, to, _ := s.gaps.Next(&h)
	s.missing += to - from
	s.samples += uint64(h.Count)
	s.frames++
	s.header = h
	n := int(h.Channels)
	if len(s.last) != n {
		s.low, s.high, s.last = make([]float64, n), make([]float64, n), make([]float64, n)
		s.frames = 1
	}
	for i := range n * int(h.Count) {
		v, ch := valueAt(h.Format, body, i), i%n
		if s.frames == 1 && i < n {
			s.low[ch], s.high[ch] = v, v
		}
		s.low[ch], s.high[ch], s.last[ch] = min(s.low[ch], v), max(s.high[ch], v), v
	}
}

func (w *watch) lost(l protocol.Lost) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stream(l.Stream).lost += l.Count()
	if w.json {
		w.printJSON(protocol.TypeLost, l)
	}
}

func (w *watch) stream(n uint32) *streamSummary {
	s := w.streams[n]
	if s == nil {
		s = &streamSummary{}
		w.streams[n] = s
	}
	return s
}

// telemetryLine is one second of one stream, as --json prints it. Gaps counts
// the samples that are missing from the sequence, Lost those that the gateway
// reported as lost.
type telemetryLine struct {
	Device  string    `json:"device"`
	Stream  uint32    `json:"stream"`
	Samples uint64    `json:"samples"`
	Frames  uint64    `json:"frames"`
	Gaps    uint64    `json:"gaps"`
	Lost    uint64    `json:"lost"`
	Last    []float64 `json:"last"`
	Min     []float64 `json:"min"`
	Max     []float64 `json:"max"`
}

func (w *watch) summarise(fe *client.Frontend) {
	w.mu.Lock()
	defer w.mu.Unlock()
	numbers := make([]uint32, 0, len(w.streams))
	for n := range w.streams {
		numbers = append(numbers, n)
	}
	sort.Slice(numbers, func(i, j int) bool { return numbers[i] < numbers[j] })
	for _, n := range numbers {
		s := w.streams[n]
		if s.frames == 0 && s.lost == 0 {
			continue
		}
		device, ok := fe.DeviceOf(n)
		if !ok {
			device = fmt.Sprintf("stream %d", n)
		}
		if w.json {
			w.printJSON("tail.telemetry", telemetryLine{device, n, s.samples, s.frames, s.missing, s.lost, s.last, s.low, s.high})
		} else {
			fmt.Fprintf(w.out, "%s %-12s %d samples/s in %d frames", clock(), device, s.samples, s.frames)
			for ch := range s.last {
				fmt.Fprintf(w.out, "  [%d] %.6g (%.6g..%.6g)", ch, s.last[ch], s.low[ch], s.high[ch])
			}
			if s.missing+s.lost > 0 {
				fmt.Fprintf(w.out, "  MISSING %d, of which the gateway told %d", s.missing, s.lost)
			}
			fmt.Fprintln(w.out)
		}
		*s = streamSummary{gaps: s.gaps, last: s.last, low: s.low, high: s.high}
	}
}

func (w *watch) printJSON(typ string, payload any) {
	m, err := protocol.NewMessage(typ, payload)
	if err != nil {
		return
	}
	if text, err := json.Marshal(m); err == nil {
		fmt.Fprintf(w.out, "%s\n", text)
	}
}

func valueAt(format uint8, body []byte, i int) float64 {
	switch format {
	case protocol.FormatF32:
		return float64(protocol.F32At(body, i))
	case protocol.FormatF64:
		return protocol.F64At(body, i)
	case protocol.FormatI16:
		return float64(protocol.I16At(body, i))
	default:
		return float64(protocol.I32At(body, i))
	}
}

func clock() string { return time.Now().Format("15:04:05.000") }
