package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labgate/labgate/bench"
)

// reports writes a file as labgate bench --json does.
func reports(t *testing.T, server *bench.ServerResult) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "reports.jsonl")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(`{"type":"run","host":"lab"}` + "\n"); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{10, 100, 1000} {
		r := bench.Report{Scenario: "fanout", Label: "case", Options: bench.Options{Frontends: n, Rate: 250}}
		r.Results.Telemetry = &bench.DeliveryResult{PerSecond: float64(250 * n), Latency: &bench.Latency{P50: 300, P90: 400, P99: 900, P999: 2000, Max: 4000}}
		r.Results.Server = server
		if err := json.NewEncoder(f).Encode(&r); err != nil {
			t.Fatal(err)
		}
	}
	return name
}

func TestDraw(t *testing.T) {
	in := reports(t, &bench.ServerResult{CPUPerDelivery: 0.08})
	for kind, says := range map[string][]string{
		"latency": {"case", "99.9", "percentile"},
		"scaling": {"25 k/s", "250 k/s", "front ends"},
	} {
		out := filepath.Join(t.TempDir(), kind+".svg")
		if err := run([]string{kind, "-o", out, in}); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		svg, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append(says, "<svg", "</svg>") {
			if !strings.Contains(string(svg), s) {
				t.Errorf("%s: the drawing lacks %q", kind, s)
			}
		}
	}
}

// TestChoose draws the median round of each case that is named.
func TestChoose(t *testing.T) {
	var all []report
	for _, r := range []struct {
		label string
		p50   float64
	}{{"a", 3}, {"b", 9}, {"a", 1}, {"a", 2}} {
		rep := report{bench.Report{Label: r.label}}
		rep.Results.Telemetry = &bench.DeliveryResult{Latency: &bench.Latency{P50: r.p50}}
		all = append(all, rep)
	}
	got, err := choose(all, []string{"b", "a"})
	if err != nil || len(got) != 2 || got[0].Label != "b" || got[1].flow().latency.P50 != 2 {
		t.Errorf("chosen %+v, %v", got, err)
	}
}

func TestPerSecond(t *testing.T) {
	for rate, want := range map[float64]string{2500: "2.5 k/s", 25e3: "25 k/s", 999_400: "999 k/s", 999_900: "1 M/s", 36.8e6: "36.8 M/s"} {
		if got := perSecond(rate); got != want {
			t.Errorf("%g is %q, want %q", rate, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		says string
	}{
		{nil, "latency or scaling"},
		{[]string{"pie", reports(t, nil)}, "unknown"},
		{[]string{"latency", empty}, "no report"},
		{[]string{"latency", "missing.jsonl"}, "missing.jsonl"},
		{[]string{"scaling", reports(t, nil)}, "--server-pid"},
		{[]string{"latency", "-case", "none", reports(t, nil)}, `label "none"`},
	} {
		if err := run(tc.args); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%q: error %v, want one saying %q", tc.args, err, tc.says)
		}
	}
}
