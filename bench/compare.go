package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// maxReportLine bounds one report in a file, in bytes.
const maxReportLine = 4 << 20

// Compare reads two files of reports, one JSON object a line, and writes the
// figures of each scenario side by side with the ratio of the second to the
// first. Reports of the same scenario are paired in the order they stand.
func Compare(out io.Writer, a, b io.Reader) error {
	before, err := readReports("first", a)
	if err != nil {
		return err
	}
	after, err := readReports("second", b)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\tfirst\tsecond\tratio\t\n")
	pairs := 0
	for _, x := range before {
		for i, y := range after {
			if y == nil || y.Scenario != x.Scenario || y.Options.Saturate != x.Options.Saturate {
				continue
			}
			after[i] = nil
			pairs++
			comparePair(tw, x, y)
			break
		}
	}
	if pairs == 0 {
		return errors.New("bench: no scenario is in both files")
	}
	return tw.Flush()
}

func comparePair(out io.Writer, a, b *Report) {
	note := ""
	if a.Host != b.Host {
		note = " (different hosts)"
	}
	if x, y := a.Options.describe(), b.Options.describe(); x != y {
		note += " (different work:" + strings.TrimPrefix(y, ",") + ")"
	}
	fmt.Fprintf(out, "%s%s%s\t\t\t\t\n", a.Scenario, a.Options.describe(), note)
	old := figures(b)
	for _, f := range figures(a) {
		for _, g := range old {
			if f.name == g.name {
				ratio := "-"
				if f.value != 0 {
					ratio = fmt.Sprintf("%.3f", g.value/f.value)
				}
				fmt.Fprintf(out, "%s\t%s\t%s\t%s\t\n", f.name, figure3(f.value), figure3(g.value), ratio)
			}
		}
	}
}

// figure3 keeps three decimals where they say something.
func figure3(v float64) string {
	if v != 0 && v < 100 {
		return fmt.Sprintf("%.3f", v)
	}
	return count(v)
}

type namedFigure struct {
	name  string
	value float64
}

// figures are what a report is compared by.
func figures(r *Report) (fs []namedFigure) {
	add := func(name string, v float64) { fs = append(fs, namedFigure{name, v}) }
	latency := func(name string, l *Latency) {
		if l != nil {
			add(name+" p50 µs", l.P50)
			add(name+" p99 µs", l.P99)
			add(name+" p99.9 µs", l.P999)
		}
	}
	res := &r.Results
	if c := res.Connects; c != nil {
		add("connections/s", c.PerSecond)
	}
	if s := res.Saturation; s != nil {
		add("saturation, deliveries/s", s.PerSecond)
	}
	if d := res.Telemetry; d != nil {
		add("telemetry deliveries/s", d.PerSecond)
		add("telemetry lost", float64(d.LostReported+d.Missing))
		latency("telemetry", d.Latency)
	}
	if d := res.Unicast; d != nil {
		add("unicast messages/s", d.PerSecond)
		latency("unicast", d.Latency)
	}
	if c := res.Commands; c != nil {
		add("commands/s", c.PerSecond)
		latency("command", c.Latency)
		latency("urgent command", c.Urgent)
	}
	if i := res.Idle; i != nil {
		add("KiB a connection", i.PerConnKiB)
	}
	if s := res.Storm; s != nil {
		add("recovered s", s.Recovered)
		latency("command during storm", s.During)
	}
	if s := res.Server; s != nil {
		add("server CPU µs a message", s.CPUPerDelivery)
		add("server RSS KiB", float64(s.RSSKiB))
	}
	return fs
}

func readReports(which string, in io.Reader) ([]*Report, error) {
	var all []*Report
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxReportLine)
	for line := 1; sc.Scan(); line++ {
		if len(strings.TrimSpace(sc.Text())) == 0 {
			continue
		}
		r := &Report{}
		if err := json.Unmarshal(sc.Bytes(), r); err != nil {
			return nil, fmt.Errorf("bench: %s file, line %d is no report: %w", which, line, err)
		}
		all = append(all, r)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("bench: %s file: %w", which, err)
	}
	return all, nil
}
