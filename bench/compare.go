package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxReportLine bounds one report in a file, in bytes.
	maxReportLine = 4 << 20
	// minSamples on each side are needed for a verdict.
	minSamples = 5
	// alpha is the probability of a false verdict. It is small because one
	// comparison looks at a hundred figures: with five runs on each side, a
	// verdict needs two sides that do not overlap.
	alpha = 0.01
	// maxThreshold bounds CompareOptions.Threshold.
	maxThreshold = 10
)

// CompareOptions are the options of Compare.
type CompareOptions struct {
	FailOnWorse bool // when a figure is worse, or when more runs failed
	// Threshold is the least change of a median that counts for FailOnWorse, as
	// a part: 0.05 is 5 %.
	Threshold float64
	Markdown  bool // the output is a Markdown table
}

// ParseThreshold reads a threshold in percent, "5%" or "5".
func ParseThreshold(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "%")), 64)
	if err != nil || !(v >= 0 && v <= maxThreshold*100) {
		return 0, &optionError{"threshold", fmt.Sprintf("%q is no percentage from 0 to %d; use 5%%", s, maxThreshold*100)}
	}
	return v / 100, nil
}

// Compare reads two files of reports, one JSON object a line, and writes for
// each case that is in both the medians of its figures, their spread, the
// change and a verdict. Reports are of one case when they have the same label
// or, without one, did the same work. Lines with a "type" are no reports
// and are skipped.
//
// With FailOnWorse the error lists the figures that are worse.
func Compare(out io.Writer, a, b io.Reader, o CompareOptions) error {
	before, err := readReports("first", a)
	if err != nil {
		return err
	}
	after, err := readReports("second", b)
	if err != nil {
		return err
	}
	table := &compareTable{}
	shared := 0
	var worse []string
	for _, x := range before {
		i := slices.IndexFunc(after, func(y *reportGroup) bool { return y.key == x.key })
		if i < 0 {
			continue
		}
		shared++
		worse = append(worse, compareGroups(table, x, after[i], o.Threshold)...)
	}
	if shared == 0 {
		return errors.New("bench: no case is in both files")
	}
	if err := table.write(out, o.Markdown); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\nMedians; spread is (highest - lowest) / median. Verdict: Mann-Whitney U test, two-sided, alpha %g, from %d runs on each side on.\n", alpha, minSamples)
	if err == nil && o.FailOnWorse && len(worse) > 0 {
		err = fmt.Errorf("bench: worse by more than %g %%: %s", o.Threshold*100, strings.Join(worse, "; "))
	}
	return err
}

// reportGroup is the reports of one case in a file, in their order.
type reportGroup struct {
	key     string // see groupKey
	reports []*Report
}

// good returns the reports of runs without a fault; only their figures count.
func (g *reportGroup) good() []*Report {
	return slices.DeleteFunc(slices.Clone(g.reports), func(r *Report) bool { return !r.OK })
}

func (g *reportGroup) failed() int { return len(g.reports) - len(g.good()) }

// groupKey names the case of a report.
func groupKey(r *Report) string {
	if r.Label != "" {
		return r.Label
	}
	return r.Scenario + r.work()
}

// work describes the load of the report's run.
func (r *Report) work() string {
	if r.Options.Saturate {
		return r.Options.describe() + ", saturation"
	}
	return r.Options.describe()
}

// compareGroups adds one case to the table and returns the figures that are
// worse by more than the threshold.
func compareGroups(table *compareTable, a, b *reportGroup, threshold float64) (worse []string) {
	notes := ""
	x, y := a.reports[0], b.reports[0]
	if x.Host != y.Host {
		notes += " (different hosts)"
	}
	if x.Scenario != y.Scenario || x.work() != y.work() {
		notes += " (different work: " + y.Scenario + y.work() + ")"
	}
	if m, n := a.failed(), b.failed(); m+n > 0 {
		notes += fmt.Sprintf(" (failed and left out: %d of %d, %d of %d)", m, len(a.reports), n, len(b.reports))
		if n > m {
			worse = append(worse, fmt.Sprintf("%s: %d runs failed, %d before", a.key, n, m))
		}
	}
	table.begin(a.key + notes)
	first, second := collect(a.good()), collect(b.good())
	for _, f := range first {
		i := slices.IndexFunc(second, func(g *figureSet) bool { return g.name == f.name })
		if i < 0 {
			continue
		}
		c := compareFigure(f, second[i])
		table.add(f.name, fmt.Sprintf("%d, %d", len(f.values), len(second[i].values)),
			figure3(c.first), percent(spread(f.values)), figure3(c.second), percent(spread(second[i].values)),
			change(c.change), probability(c.p), c.verdict)
		if c.verdict == VerdictWorse && math.Abs(c.change) > threshold {
			worse = append(worse, fmt.Sprintf("%s: %s %s", a.key, f.name, change(c.change)))
		}
	}
	return worse
}

// readReports groups the reports of a file by case, in the order of their
// first appearance.
func readReports(which string, in io.Reader) ([]*reportGroup, error) {
	var all []*reportGroup
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxReportLine)
	for line := 1; sc.Scan(); line++ {
		if len(strings.TrimSpace(sc.Text())) == 0 {
			continue
		}
		r, err := parseReportLine(sc.Bytes())
		if err != nil {
			return nil, fmt.Errorf("bench: %s file, line %d is no report: %w", which, line, err)
		}
		if r == nil {
			continue
		}
		key := groupKey(r)
		i := slices.IndexFunc(all, func(g *reportGroup) bool { return g.key == key })
		if i < 0 {
			i = len(all)
			all = append(all, &reportGroup{key: key})
		}
		all[i].reports = append(all[i].reports, r)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("bench: %s file: %w", which, err)
	}
	return all, nil
}

// parseReportLine returns nil for a line of something else that has a type.
func parseReportLine(b []byte) (*Report, error) {
	var other struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &other); err != nil {
		return nil, err
	}
	if other.Type != "" {
		return nil, nil
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if r.Scenario == "" {
		return nil, errors.New("it has no scenario; use what bench --json prints")
	}
	return r, nil
}
