package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report as a readable table.
func (r *Report) WriteTable(out io.Writer) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { fmt.Fprintln(tw, strings.Join(cells, "\t")) }
	if r.Label != "" {
		row("label", r.Label)
	}
	row("scenario", r.Scenario+r.Options.describe())
	row("host", fmt.Sprintf("%s, %d CPUs, Linux %s, %s", r.Host.CPU, r.Host.CPUs, r.Host.Kernel, r.GoVersion))
	res := &r.Results
	if c := res.Connects; c != nil {
		row("connected", fmt.Sprintf("%d of %d in %.2f s (%s/s), %d failed", c.Open, c.Wanted, c.Seconds, count(c.PerSecond), c.Failed))
		latencyRow(row, "  connect time", c.Latency)
	}
	if s := res.Saturation; s != nil {
		saturationRows(row, s)
	}
	if d := res.Telemetry; d != nil {
		deliveryRows(row, "telemetry", "samples", d)
	}
	if d := res.Unicast; d != nil {
		deliveryRows(row, "unicast", "messages", d)
	}
	if c := res.Commands; c != nil {
		row("commands", fmt.Sprintf("%d sent, %d answered (%s/s), %d refused, %d unanswered", c.Sent, c.Answered, count(c.PerSecond), c.Refused, c.Unanswered))
		latencyRow(row, "  round trip", c.Latency)
		latencyRow(row, "  urgent", c.Urgent)
		latencyRow(row, "  send lag", c.SendLag)
	}
	if i := res.Idle; i != nil {
		row("idle", fmt.Sprintf("%d open after %.1f s, %d closed by the gateway", i.Connections, i.HeldSeconds, i.Closed))
		if r.Options.knowsProcess() {
			row("  each, resident", fmt.Sprintf("%.1f KiB", i.PerConnKiB))
		}
		if r.Options.AdminURL != "" {
			row("  each, goroutines", fmt.Sprintf("%.3f", i.PerConnRoutines))
		}
	}
	if s := res.Storm; s != nil {
		row("storm", fmt.Sprintf("%d dropped, %d back in %.2f s, %d attempts failed %s", s.Dropped, s.Back.Open, s.Recovered, s.Back.Retries, s.Back.RetryCause))
		latencyRow(row, "  back after", s.Back.Latency)
		latencyRow(row, "  round trip before", s.Before)
		latencyRow(row, "  round trip during", s.During)
		latencyRow(row, "  round trip after", s.After)
	}
	if c := res.Cluster; c != nil {
		clusterRows(row, c)
	}
	if s := res.Server; s != nil {
		if r.Options.knowsProcess() {
			row("server", fmt.Sprintf("%.2f CPU s (%.0f %% of a core), %.3f µs a message, %s resident, peak %s",
				s.CPUSeconds, 100*s.CPUShare, s.CPUPerDelivery, kib(s.RSSKiB), kib(s.PeakRSSKiB)))
		}
		if r.Options.AdminURL != "" {
			row("  goroutines", strconv.FormatInt(s.Goroutines, 10))
		}
	}
	if l := res.Load; l != nil {
		row("load", fmt.Sprintf("%.2f CPU s (%.0f %% of a core), %.3f µs a message, %s received/s", l.CPUSeconds, 100*l.CPUShare, l.PerMessage, kib(int64(l.BytesPerS/1024))))
		latencyRow(row, "  late", l.Late)
	}
	verdict := "ok"
	if !r.OK {
		verdict = "FAILED"
	}
	row("verdict", verdict)
	for _, p := range r.Problems {
		row("  problem", p.String())
	}
	return tw.Flush()
}

type rowFunc func(cells ...string)

func latencyRow(row rowFunc, name string, l *Latency) {
	if l != nil {
		row(name, fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max)))
	}
}

func deliveryRows(row rowFunc, name, units string, d *DeliveryResult) {
	row(name, fmt.Sprintf("%d sent, %s deliveries/s", d.FramesSent, count(d.PerSecond)))
	row("  "+units, fmt.Sprintf("%d expected = %d received + %d reported lost + %d missing; %d twice, %d out of order, %d falsely reported, %d corrupt",
		d.Expected, d.Received, d.LostReported, d.Missing, d.Duplicates, d.Disorder, d.FalseLost, d.Corrupt))
	latencyRow(row, "  latency", d.Latency)
	latencyRow(row, "  send lag", d.SendLag)
}

func saturationRows(row rowFunc, s *Saturation) {
	for _, st := range s.Steps {
		verdict := "clean"
		if !st.Clean {
			verdict = st.Why
		}
		p99 := "-"
		if st.Latency != nil {
			p99 = micros(st.Latency.P99)
		}
		row("  step "+count(st.Rate), fmt.Sprintf("%s/s  p99 %s  load %.0f %%  server %.0f %%  %s", count(st.PerSecond), p99, 100*st.LoadShare, 100*st.Server, verdict))
	}
	limit := ""
	if s.LoadLimited {
		limit = " (the load generator was the limit)"
	}
	row("saturation", fmt.Sprintf("rate %s, %s deliveries/s%s", count(s.Rate), count(s.PerSecond), limit))
}

// describe returns the options that define the load.
func (o *Options) describe() string {
	var b strings.Builder
	add := func(format string, args ...any) { fmt.Fprintf(&b, ", "+format, args...) }
	if o.Scenario == ScenarioIdle || o.Scenario == ScenarioStorm {
		add("%d connections as %s", o.Connections, o.Role)
	}
	if o.Bare != "" {
		add("bare %s", o.Bare)
	}
	if o.Scenario != ScenarioIdle {
		add("%d devices, %d front ends", o.Devices, o.Frontends)
		if !o.Saturate {
			add("rate %s/s", count(o.Rate))
		}
	}
	switch {
	case o.Scenario == ScenarioFanout:
		add("%d-byte frames", o.Size)
	case o.Scenario == ScenarioTelemetry:
		add("%d samples × %d channels a frame", o.Samples, o.Channels)
	case o.Size > 0:
		add("%d-byte payload", o.Size)
	}
	return b.String()
}

// count shortens a number to three digits.
func count(v float64) string {
	for _, u := range []struct {
		unit float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e4, " k"}} {
		if v >= u.unit {
			if u.unit == 1e4 {
				u.unit = 1e3
			}
			return strconv.FormatFloat(v/u.unit, 'f', 2, 64) + u.name
		}
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// micros shortens microseconds.
func micros(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f s", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.2f ms", v/1e3)
	}
	return fmt.Sprintf("%.0f µs", v)
}

func kib(v int64) string {
	if v >= 10<<10 {
		return fmt.Sprintf("%.1f MiB", float64(v)/1024)
	}
	return fmt.Sprintf("%d KiB", v)
}
