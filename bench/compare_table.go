package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// compareColumns are the columns of a comparison, behind the figure's name.
var compareColumns = []string{"n", "first", "spread", "second", "spread", "change", "p", "verdict"}

// compareTable is the output of a comparison: for each case a line with its
// name, then a line for each figure.
type compareTable struct {
	lines []compareLine
}

type compareLine struct {
	title bool // the name of a case, in one cell
	cells []string
}

// begin starts a case.
func (t *compareTable) begin(title string) {
	t.lines = append(t.lines, compareLine{title: true, cells: []string{title}})
}

// add adds a figure: its name, then a cell for each of compareColumns.
func (t *compareTable) add(cells ...string) {
	t.lines = append(t.lines, compareLine{cells: cells})
}

func (t *compareTable) write(out io.Writer, markdown bool) error {
	if markdown {
		return t.writeMarkdown(out)
	}
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(cells []string) { fmt.Fprintf(tw, "%s\t\n", strings.Join(cells, "\t")) }
	row(append([]string{""}, compareColumns...))
	for _, l := range t.lines {
		row(append(l.cells, make([]string, 1+len(compareColumns)-len(l.cells))...))
	}
	return tw.Flush()
}

func (t *compareTable) writeMarkdown(out io.Writer) error {
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(append([]string{"case, figure"}, compareColumns...))
	b.WriteString("|---|" + strings.Repeat("---:|", len(compareColumns)-1) + "---|\n")
	for _, l := range t.lines {
		cells := append([]string(nil), l.cells...)
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", "\\|")
		}
		if l.title || cells[len(cells)-1] == VerdictWorse || cells[len(cells)-1] == VerdictBetter {
			last := len(cells) - 1
			cells[last] = "**" + cells[last] + "**"
		}
		row(append(cells, make([]string, 1+len(compareColumns)-len(cells))...))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// figure3 formats a number below 100 with three decimals, and others with three
// digits.
func figure3(v float64) string {
	if v != 0 && math.Abs(v) < 100 {
		return fmt.Sprintf("%.3f", v)
	}
	return count(v)
}

func percent(part float64) string {
	if math.IsNaN(part) || math.IsInf(part, 0) {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", part*100)
}

func change(part float64) string {
	switch {
	case math.IsNaN(part):
		return "-"
	case math.IsInf(part, 0):
		return "from 0"
	}
	return fmt.Sprintf("%+.1f %%", part*100)
}

func probability(p float64) string {
	if math.IsNaN(p) {
		return "-"
	}
	return fmt.Sprintf("%.4f", p)
}
