package bench

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestMannWhitney has values of u and p that were counted by hand: with five
// and five there are 252 ways to place the first five ranks.
func TestMannWhitney(t *testing.T) {
	for _, tc := range []struct {
		name string
		a, b []float64
		u, p float64
	}{
		{"apart", []float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}, 0, 2.0 / 252},
		{"apart, the other way", []float64{6, 7, 8, 9, 10}, []float64{1, 2, 3, 4, 5}, 25, 2.0 / 252},
		{"one pair out of place", []float64{1, 2, 3, 4, 6}, []float64{5, 7, 8, 9, 10}, 1, 4.0 / 252},
		// u = 2 is reached in two ways, 1 and 0 in one each.
		{"two pairs", []float64{1, 2, 3, 4, 7}, []float64{5, 6, 8, 9, 10}, 2, 8.0 / 252},
		{"three and two", []float64{1, 2, 3}, []float64{4, 5}, 0, 2.0 / 10},
		{"equal", []float64{7, 7, 7}, []float64{7, 7, 7}, 4.5, 1},
		// Ranks 1.5, 1.5 | 3.5, 3.5: of six choices two are as far out.
		{"ties within each side", []float64{1, 1}, []float64{2, 2}, 0, 2.0 / 6},
		// Ranks 1, 2.5 | 2.5, 4: sums 3.5, 3.5, 5, 5, 6.5, 6.5; four are as far out.
		{"a tie across", []float64{1, 2}, []float64{2, 3}, 0.5, 4.0 / 6},
	} {
		u, p := mannWhitney(tc.a, tc.b)
		if u != tc.u || math.Abs(p-tc.p) > 1e-12 {
			t.Errorf("%s: u %v, p %v; want %v, %v", tc.name, u, p, tc.u, tc.p)
		}
	}
}

// TestMannWhitneyOfMany compares the normal distribution with the exact count
// at the border between the two.
func TestMannWhitneyOfMany(t *testing.T) {
	var a, b []float64
	for i := range 30 {
		a = append(a, float64(i%17))
		b = append(b, float64(i%17)+3)
	}
	_, exact := mannWhitney(a, b)
	a = append(a, 8)
	_, normal := mannWhitney(a, b)
	if exact < 0.002 || exact > 0.05 || math.Abs(normal-exact) > exact/3 {
		t.Errorf("p %v counted, %v by the normal distribution", exact, normal)
	}
	equal := make([]float64, 40)
	if u, p := mannWhitney(equal, equal); u != 800 || p != 1 {
		t.Errorf("equal values: u %v, p %v", u, p)
	}
}

func TestCompareFigure(t *testing.T) {
	low, high := []float64{1, 2, 3, 4, 5}, []float64{6, 7, 8, 9, 10}
	for _, tc := range []struct {
		name    string
		higher  bool
		a, b    []float64
		change  float64
		verdict string
	}{
		{"rate up", true, low, high, 5.0 / 3, VerdictBetter},
		{"rate down", true, high, low, -5.0 / 8, VerdictWorse},
		{"cost up", false, low, high, 5.0 / 3, VerdictWorse},
		{"cost down", false, high, low, -5.0 / 8, VerdictBetter},
		{"overlap", false, low, []float64{2, 3, 4, 5, 6}, 1.0 / 3, VerdictSame},
		{"one pair out of place", false, []float64{1, 2, 3, 4, 6}, []float64{5, 7, 8, 9, 10}, 5.0 / 3, VerdictSame},
		{"identical", false, low, low, 0, VerdictSame},
		{"four before", false, low[:4], high, 5.5 / 2.5, VerdictFew},
		{"four after", false, low, high[:4], 4.5 / 3, VerdictFew},
		{"from nothing", false, make([]float64, 5), low, math.Inf(1), VerdictWorse},
		{"nothing at all", false, make([]float64, 5), make([]float64, 5), 0, VerdictSame},
	} {
		c := compareFigure(&figureSet{higher: tc.higher, values: tc.a}, &figureSet{higher: tc.higher, values: tc.b})
		if c.verdict != tc.verdict || c.change != tc.change && math.Abs(c.change-tc.change) > 1e-12 {
			t.Errorf("%s: %s, change %v; want %s, %v", tc.name, c.verdict, c.change, tc.verdict, tc.change)
		}
		if math.IsNaN(c.p) != (tc.verdict == VerdictFew) {
			t.Errorf("%s: p %v", tc.name, c.p)
		}
	}
}

// fanouts are lines of reports with these rates and latencies.
func fanouts(label string, rates ...float64) string {
	var b strings.Builder
	for _, r := range rates {
		fmt.Fprintf(&b, `{"label":%q,"scenario":"fanout","ok":true,"results":{"telemetry":{"deliveries_per_s":%g,"latency":{"p50_us":%g}}}}`+"\n", label, r, 1000/r)
	}
	return b.String()
}

func TestCompare(t *testing.T) {
	a := fanouts("x", 100, 101, 102, 103, 104) + "\n" + `{"type":"goal","label":"x"}` + "\n" + fanouts("only here", 1) + fanouts("", 7)
	slow := fanouts("", 7) + fanouts("x", 80, 81, 82, 83, 84)
	for _, tc := range []struct {
		name   string
		b      string
		o      CompareOptions
		says   []string
		fails  string
		silent string
	}{
		{name: "worse is no failure", b: slow, says: []string{"x", "5, 5", "102", "82", "-19.6 %", "0.0079", "worse", "too few", "alpha 0.01"}, silent: "only here"},
		{name: "worse fails", b: slow, o: CompareOptions{FailOnWorse: true, Threshold: 0.05}, fails: "x: telemetry deliveries/s -19.6 %; x: telemetry p50 µs +24.4 %"},
		{name: "below the threshold", b: slow, o: CompareOptions{FailOnWorse: true, Threshold: 0.25}},
		{name: "better", b: fanouts("x", 201, 202, 203, 204, 205), o: CompareOptions{FailOnWorse: true}, says: []string{"better"}, silent: "worse by"},
		{name: "same", b: fanouts("x", 100, 101, 102, 103, 104), says: []string{"same", "+0.0 %"}},
		{
			name: "a failed run is left out", b: fanouts("x", 100, 101, 102, 103) + strings.Replace(fanouts("x", 1), "true", "false", 1),
			o: CompareOptions{FailOnWorse: true}, says: []string{"5, 4", "0 of 5, 1 of 5"}, fails: "x: 1 runs failed, 0 before",
		},
		{name: "Markdown", b: slow, o: CompareOptions{Markdown: true}, says: []string{
			"| case, figure | n | first | spread | second | spread | change | p | verdict |\n|---|---:|---:|---:|---:|---:|---:|---:|---|\n",
			"| **x** |  |  |  |  |  |  |  |  |\n", "| telemetry deliveries/s | 5, 5 | 102 | 3.9 % | 82.000 | 4.9 % | -19.6 % | 0.0079 | **worse** |\n",
		}},
		{name: "other work", b: strings.ReplaceAll(slow, `"results"`, `"options":{"saturate":true},"results"`), says: []string{"different work: fanout", "saturation"}},
	} {
		var out bytes.Buffer
		err := Compare(&out, strings.NewReader(a), strings.NewReader(tc.b), tc.o)
		if (err != nil) != (tc.fails != "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
			t.Errorf("%s: error %v, want one saying %q", tc.name, err, tc.fails)
		}
		for _, want := range tc.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: lacks %q:\n%s", tc.name, want, out.String())
			}
		}
		if tc.silent != "" && strings.Contains(out.String(), tc.silent) {
			t.Errorf("%s: says %q:\n%s", tc.name, tc.silent, out.String())
		}
	}
}

// TestLabel goes from the options into the report.
func TestLabel(t *testing.T) {
	o := Options{Scenario: ScenarioIdle, Label: "a case"}.withDefaults()
	if r := newReport(&o); r.Label != "a case" {
		t.Errorf("label %q", r.Label)
	}
	o.Label = strings.Repeat("x", maxLabel+1)
	if err := o.check(); err == nil || !strings.Contains(err.Error(), "at most 200") {
		t.Errorf("long label: error %v", err)
	}
}

// TestCompareGroups checks that reports of different loads are different cases.
func TestCompareGroups(t *testing.T) {
	in := `{"scenario":"fanout","ok":true,"options":{"rate":1}}
{"scenario":"fanout","ok":true,"options":{"rate":2}}
{"scenario":"fanout","ok":true,"options":{"rate":2,"saturate":true}}
{"scenario":"fanout","ok":true,"options":{"rate":1}}
{"scenario":"idle","ok":true}
{"label":"named","scenario":"idle","ok":true}
`
	groups, err := readReports("first", strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, g := range groups {
		sizes = append(sizes, len(g.reports))
	}
	if fmt.Sprint(sizes) != "[2 1 1 1 1]" {
		t.Errorf("groups of %v", sizes)
	}
}

func TestCompareRefuses(t *testing.T) {
	good := fanouts("", 1)
	for name, tc := range map[string][3]string{
		"nothing in common": {`{"scenario":"idle"}`, `{"scenario":"storm"}`, "no case is in both"},
		"no JSON":           {"x", good, "first file, line 1"},
		"no report":         {good, good + "{}", "second file, line 2"},
		"too long":          {good, strings.Repeat(" ", maxReportLine+1), "second file"},
	} {
		var out bytes.Buffer
		err := Compare(&out, strings.NewReader(tc[0]), strings.NewReader(tc[1]), CompareOptions{})
		if err == nil || !strings.Contains(err.Error(), tc[2]) {
			t.Errorf("%s: error %v, want one saying %q", name, err, tc[2])
		}
	}
}

func TestParseThreshold(t *testing.T) {
	for in, want := range map[string]float64{"5%": 0.05, " 2.5 % ": 0.025, "10": 0.1, "0": 0} {
		if got, err := ParseThreshold(in); err != nil || math.Abs(got-want) > 1e-12 {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "%", "x%", "-1%", "1001%", "NaN%", "Inf"} {
		if _, err := ParseThreshold(in); err == nil || !strings.Contains(err.Error(), "use 5%") {
			t.Errorf("%q: error %v", in, err)
		}
	}
}
