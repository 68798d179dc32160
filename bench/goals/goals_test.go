//go:build linux

package main

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/bench"
)

// TestGoalsNameWorks checks that goals and workloads agree: with a mistyped
// label a goal would always be "not measured".
func TestGoalsNameWorks(t *testing.T) {
	labels := map[string]string{}
	for _, c := range cases {
		for _, after := range c.after {
			if !slices.ContainsFunc(cases, func(o testCase) bool { return o.name == after }) {
				t.Errorf("case %s comes after %s, which is none", c.name, after)
			}
		}
		for _, w := range c.workloads {
			if labels[w.label] != "" {
				t.Errorf("label %q twice", w.label)
			}
			labels[w.label] = c.name
		}
	}
	judged := map[string]bool{}
	for _, g := range goals {
		for _, w := range append(strings.Split(g.work, "\n"), g.reference) {
			if w != "" && labels[w] != g.of {
				t.Errorf("%s, %s: work %q is of case %q", g.of, g.name, w, labels[w])
			}
		}
		if g.text == "" && (g.limit != 0 || g.least) {
			t.Errorf("%s, %s: a limit and no text", g.of, g.name)
		}
		judged[g.of] = true
	}
	for _, c := range cases {
		if !judged[c.name] {
			t.Errorf("case %s has no line in the result", c.name)
		}
	}
}

// TestCompareCases: a label that two workloads share would mix their figures.
func TestCompareCases(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range compareCases {
		for _, w := range c.workloads {
			if seen[w.label] || w.server[0] != "labgate" || len(w.loads) != 1 {
				t.Errorf("case %s, %q: seen %v, server %s, %d loads", c.name, w.label, seen[w.label], w.server[0], len(w.loads))
			}
			seen[w.label] = true
		}
	}
}

// sample makes a measurement of a label in a round from reports as JSON.
func sample(t *testing.T, label string, round int, reports ...string) *Sample {
	t.Helper()
	s := &Sample{Label: label, Round: round}
	for _, text := range reports {
		r, err := parseReport([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s.reports = append(s.reports, r)
	}
	s.limited = loadLimited(s)
	return s
}

func TestJudge(t *testing.T) {
	const (
		one   = `{"scenario":"fanout","results":{"telemetry":{"latency":{"p50_us":1}}}}`
		two   = `{"scenario":"fanout","results":{"telemetry":{"latency":{"p50_us":2}}}}`
		three = `{"scenario":"fanout","results":{"telemetry":{"latency":{"p50_us":3}}}}`
		six   = `{"scenario":"fanout","results":{"telemetry":{"latency":{"p50_us":6}}}}`
		bare  = `{"scenario":"idle"}`
	)
	failed := sample(t, "a", 3, six)
	failed.Error = "it broke"
	limited := func(round int) *Sample {
		s := sample(t, "a", round, one)
		s.limited = true
		return s
	}
	for _, tc := range []struct {
		name    string
		g       goal
		samples []*Sample
		verdict string
		median  float64
		ratio   float64
	}{
		{"nothing", goal{text: "x"}, nil, notMeasured, 0, 0},
		{"no figure", goal{text: "x"}, []*Sample{sample(t, "a", 1, bare)}, notMeasured, 0, 0},
		{"at the limit", goal{text: "x", limit: 2}, []*Sample{sample(t, "a", 1, one), sample(t, "a", 2, two), sample(t, "a", 3, six)}, met, 2, 0},
		{"even rounds", goal{text: "x", limit: 2}, []*Sample{sample(t, "a", 1, two), sample(t, "a", 2, three)}, notMet, 2.5, 0},
		{"worst round", goal{text: "x", limit: 2, worst: true}, []*Sample{sample(t, "a", 1, one), sample(t, "a", 2, three)}, notMet, 2, 0},
		{"a failed round does not count", goal{text: "x", limit: 2}, []*Sample{sample(t, "a", 1, two), failed}, met, 2, 0},
		{"but its faults do", goal{text: "x", limit: 2, worst: true}, []*Sample{sample(t, "a", 1, two), failed}, notMet, 4, 0},
		{"least", goal{text: "x", limit: 2, least: true}, []*Sample{sample(t, "a", 1, two)}, met, 2, 0},
		{"too little", goal{text: "x", limit: 3, least: true}, []*Sample{sample(t, "a", 1, two)}, notMet, 2, 0},
		{"load limited", goal{text: "x", limit: 3, least: true}, []*Sample{limited(1), limited(2), sample(t, "a", 3, two)}, loadLimit, 1, 0},
		{"load limited once", goal{text: "x", limit: 3, least: true}, []*Sample{limited(1), sample(t, "a", 2, two)}, notMet, 1.5, 0},
		{"load limited and met", goal{text: "x", limit: 1, least: true}, []*Sample{limited(1)}, met, 1, 0},
		{"stated", goal{}, []*Sample{sample(t, "a", 1, two)}, stated, 2, 0},
		{
			"ratios by round", goal{text: "x", limit: 2, reference: "ref"},
			[]*Sample{sample(t, "a", 1, two), sample(t, "ref", 1, one), sample(t, "a", 2, six), sample(t, "ref", 2, three), sample(t, "a", 3, six)}, met, 6, 2,
		},
		{"ratio too high", goal{text: "x", limit: 2, reference: "ref"}, []*Sample{sample(t, "a", 1, six), sample(t, "ref", 1, two)}, notMet, 6, 3},
		{"no reference", goal{text: "x", limit: 9, reference: "ref"}, []*Sample{sample(t, "a", 1, six), sample(t, "ref", 2, two)}, notMeasured, 6, 0},
	} {
		tc.g.work, tc.g.figure = "a", p50
		v := tc.g.judge(tc.samples)
		if v.Verdict != tc.verdict || v.Median != tc.median || v.Ratio != tc.ratio {
			t.Errorf("%s: %s, median %v, ratio %v; want %s, %v, %v", tc.name, v.Verdict, v.Median, v.Ratio, tc.verdict, tc.median, tc.ratio)
		}
	}
}

func TestFigures(t *testing.T) {
	fan := `{"scenario":"fanout","options":{"devices":2,"frontends":10,"allow_loss":true,"admin_url":"http://x"},"results":{
		"telemetry":{"units_per_s":5e5,"deliveries_per_s":7,"expected":200,"lost_reported":4,"missing":1,"corrupt":2,"latency":{"p50_us":11,"p99_us":12}},
		"commands":{"unanswered":3,"latency":{"p50_us":99},"urgent_latency":{"p99_us":13}},
		"saturation":{"rate":1000,"deliveries_per_s":1,"load_limited":true},
		"load":{"late":{"p99_us":14}},
		"server":{"cpu_share":0.5,"cpu_us_per_message":0.25,"rss_kib":2048,"peak_rss_kib":3072}}}`
	uni := `{"scenario":"unicast","options":{"devices":2,"frontends":2},"results":{"unicast":{"lost_reported":5,"latency":{"p50_us":21}},"saturation":{"rate":1000}}}`
	idle := `{"scenario":"idle","options":{"admin_url":"http://x"},"results":{"idle":{"closed":1,"rss_per_connection_kib":3.5,"goroutines_per_connection":0.001},"server":{"rss_kib":1024}}}`
	st := `{"scenario":"storm","results":{"storm":{"dropped":10,"back":{"open":8},"recovered_s":1.5,"latency_during":{"p99_us":31}},"commands":{"latency":{"p50_us":30}}}}`
	for _, tc := range []struct {
		name string
		f    figure
		in   []string
		want float64
	}{
		{"fan-out rate counts deliveries", saturationRate, []string{fan}, 20000},
		{"unicast rate", saturationRate, []string{uni}, 1000},
		{"telemetry before commands", p50, []string{fan}, 11},
		{"p99", p99, []string{fan}, 12},
		{"unicast p50", p50, []string{uni}, 21},
		{"commands p50", p50, []string{st}, 30},
		{"urgent", urgentP99, []string{fan}, 13},
		{"late", lateP99, []string{fan}, 14},
		{"CPU", serverCPU, []string{idle, fan}, 0.25},
		{"share of the one with traffic", serverShare, []string{idle, fan}, 50},
		{"sample out", cpuPerSampleOut, []string{fan}, 1},
		{"sample in", cpuPerSampleIn, []string{fan}, 10},
		{"delivered", delivered, []string{fan}, 7},
		{"memory of both", rssMiB, []string{idle, fan}, 2},
		{"peak", peakMiB, []string{idle, fan}, 3},
		{"idle", idleKiB, []string{idle}, 3.5},
		{"goroutines", idleRoutines, []string{idle}, 0.001},
		{"storm", stormMissing, []string{st}, 2},
		{"back", stormSeconds, []string{st}, 1.5},
		{"storm p99", stormP99, []string{st}, 31},
		{"dropped", dropped, []string{fan}, 2},
		{"faults, reported loss allowed", faults, []string{fan, idle}, 1 + 2 + 3 + 1},
		{"faults, reported loss not allowed", faults, []string{uni}, 5},
		{"no urgent", urgentP99, []string{idle}, none},
		{"no saturation", saturationRate, []string{idle}, none},
		{"no latency", p50, []string{idle}, none},
		{"no server", serverCPU, []string{uni}, none},
		{"nothing", faults, nil, none},
	} {
		got := tc.f(sample(t, "x", 1, tc.in...))
		if got != tc.want && !(math.IsNaN(got) && math.IsNaN(tc.want)) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if !sample(t, "x", 1, uni, fan).limited || sample(t, "x", 1, uni).limited {
		t.Error("load_limited is not seen")
	}
	s := &Sample{limit: &limitReport{PerSecond: 3, CPUPerOne: 4}}
	if limitRate(s) != 3 || limitCPU(s) != 4 || serverCPU(s) != 4 {
		t.Error("figures of limit")
	}
}

func TestParsers(t *testing.T) {
	for name, text := range map[string]string{"nothing": " \n", "no JSON": "x", "no report": "{}"} {
		if _, err := parseReport([]byte(text)); err == nil {
			t.Errorf("parseReport, %s: no error", name)
		}
	}
	for name, text := range map[string]string{
		"no JSON": "x", "not verified": `{"deliveries_per_s":1,"cpu_us_per_delivery":1}`, "no rate": `{"verified":true,"cpu_us_per_delivery":1}`,
	} {
		if _, err := parseLimit([]byte(text)); err == nil {
			t.Errorf("parseLimit, %s: no error", name)
		}
	}
	if l, err := parseLimit([]byte(`{"verified":true,"deliveries_per_s":2,"cpu_us_per_delivery":1}`)); err != nil || l.PerSecond != 2 {
		t.Errorf("parseLimit: %+v, %v", l, err)
	}
	first := make(chan ready, 1)
	last := watchLog(strings.NewReader("noise\n{\"message\":\"ready\",\"listen\":\"a:1\",\"admin\":\"a:2\"}\n"+strings.Repeat("x\n", 2*logLines)), first)
	if r := <-first; r.Listen != "a:1" || r.Admin != "a:2" || len(last) != logLines {
		t.Errorf("watchLog: %+v, %d lines", r, len(last))
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--cases", "urgent,low", "--short"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.Rounds != 1 || o.Measure != time.Second || !o.selected("low") || o.selected("fanout") || !o.needed("fanout") || o.needed("storm") {
		t.Errorf("options %+v", o)
	}
	if o, err := parseOptions([]string{"tuning"}, io.Discard); err != nil || o.Command != commandTuning || o.Rounds != 3 {
		t.Errorf("tuning: %+v, %v", o, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o, err = parseOptions([]string{"compare", "--cases", "idle", "--threshold", "7%", "--markdown", self, self}, io.Discard)
	if err != nil || o.Gateways != [2]string{self, self} || o.Threshold != 0.07 || !o.Markdown || o.Rounds != 5 || !o.selected("idle") || o.selected("storm") {
		t.Errorf("compare: %+v, %v", o, err)
	}
	for _, args := range [][]string{
		{"compare"}, {"compare", self}, {"compare", self, self, self}, {"compare", self, self + ".absent"},
		{"compare", "--threshold", "much", self, self}, {"compare", "--cases", "urgent", self, self},
		{"--cases", "nonsense"}, {"more"}, {"--rounds", "0"}, {"--rounds", "101"}, {"--server-cpu", "1"}, {"--measure", "1ms"},
		{"--small", "1h"}, {"--nonsense"}, {"tuning", "--cases", "low"},
	} {
		if _, err := parseOptions(args, io.Discard); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestLoadArgs(t *testing.T) {
	o, err := parseOptions([]string{"--measure", "7s", "--small", "20s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{o: o, samples: []*Sample{
		sample(t, "s", 1, `{"scenario":"fanout","results":{"saturation":{"rate":1000}}}`),
		sample(t, "s", 2, `{"scenario":"fanout","results":{"saturation":{"rate":2000}}}`),
	}}
	rate := func(label string) func(*runner) (float64, error) {
		return func(r *runner) (float64, error) { return r.saturation(label, 0.9) }
	}
	srv := &server{cmd: &exec.Cmd{Process: &os.Process{Pid: 77}}, addr: "127.0.0.1:1", admin: "127.0.0.1:2"}
	for _, tc := range []struct {
		name  string
		loads []load
		says  string
		fails bool
	}{
		{"usual", benchRun("fanout"), "labgate bench fanout --json --label=w --target http://127.0.0.1:1 --server-pid 77", false},
		{"admin", benchRun("fanout"), "--admin-url http://127.0.0.1:2", false},
		{"fixed", benchRun("fanout"), "--duration 7s", false},
		{"idle", benchRun("idle"), "--duration 1s", false},
		{"several", []load{{args: []string{"idle"}, outlast: true}, {}}, "--duration 28s", false},
		{"rate", []load{{args: []string{"fanout"}, rate: rate("s")}}, "--rate 1350", false},
		{"no rate", []load{{args: []string{"fanout"}, rate: rate("other")}}, "", true},
	} {
		args, err := r.loadArgs(&workload{label: "w", loads: tc.loads}, &tc.loads[0], srv)
		if (err != nil) != tc.fails || !strings.Contains(strings.Join(args, " "), tc.says) {
			t.Errorf("%s: %q, %v", tc.name, args, err)
		}
	}
}

func TestTables(t *testing.T) {
	h := &Head{Date: "2026-01-02", HostName: "h", CPU: "C", Processors: 2, Kernel: "6", Go: "go1", Commit: "abc", LoadCPU: 1, Rounds: 3, Seconds: 4}
	quiet, loud := sample(t, "a", 1), sample(t, "b", 1)
	loud.Other, loud.Error = 0.5, "it\nbroke"
	text := goalsTable(h, []*Verdict{
		{Case: "c", Name: "f", Unit: "µs", Rounds: 3, Median: 1234, Min: 0.051, Max: 2.5e6, Reference: "limit", Against: 12.34, Ratio: 1.5, Goal: "≤ 2 × limit", Verdict: met},
		{Case: "c", Name: "missed", Rounds: 1, Median: 0.00012, Verdict: notMet},
		{Case: "c", Name: "stated", Rounds: 1, Verdict: stated},
		{Case: "c", Name: "absent", Reference: "limit", Verdict: notMeasured},
		{Case: "c", Name: "limited", Rounds: 1, Verdict: loadLimit},
	}, []*Sample{quiet, loud})
	for _, want := range []string{
		"Host h: C, 2 processors, Linux 6, go1. Commit abc.", "25.0 % of a core", "50 % at most", "as a hint",
		"| c | f | 1234 µs (0.051–2.50 M) | 1.50 | limit: 12.3 µs | ≤ 2 × limit | met |",
		"| c | missed | 0.00012 (0–0) |  |  |  | **NOT MET** |", "| c | stated | 0 (0–0) |  |  |  |  |", "| limit |  | not measured |",
		"1 met, 1 not met, 1 where the load program was the limit, 1 not measured", "round 1, b: it; broke",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	s := sample(t, partLabel(defaultSettings, partFanout), 1, `{"scenario":"fanout","results":{"telemetry":{"deliveries_per_s":499000,"latency":{"p50_us":7}}}}`)
	text = tuningTable(h, []*Sample{s})
	if !strings.Contains(text, "| `"+defaultSettings+"` | not measured | 499.0 k | 7.00 | 0 |") || strings.Count(text, "\n| `--") != len(settings)-1 {
		t.Errorf("tuning:\n%s", text)
	}
}

// TestResultFeedsCompare: what a run writes is what bench compare reads.
func TestResultFeedsCompare(t *testing.T) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	for _, v := range []any{&Head{Type: "run"}, &Sample{Type: "measurement", Label: "x"}, &bench.Report{Label: "x", Scenario: "idle", OK: true}, &Verdict{Type: "goal"}} {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := bench.Compare(io.Discard, strings.NewReader(b.String()), strings.NewReader(b.String()), bench.CompareOptions{}); err != nil {
		t.Error(err)
	}
}
