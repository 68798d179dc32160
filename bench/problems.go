package bench

import "fmt"

// Kinds of problems. Each one makes a run fail; but see stepProblem.
const (
	problemConnect    = "connection not made"
	problemClosed     = "connection closed unexpectedly"
	problemUnready    = "front end does not know every device"
	problemCorrupt    = "message damaged"
	problemMisrouted  = "message at the wrong peer"
	problemRefused    = "refused by the gateway"
	problemUnanswered = "command unanswered"
	problemMissing    = "lost in silence"
	problemLost       = "lost, reported"
	problemDuplicate  = "delivered twice"
	problemDisorder   = "delivered out of order"
	problemFalseLost  = "reported lost wrongly"
	problemUnverified = "too many gaps to verify"
	problemNotSent    = "not written by the end"
	problemNoRate     = "no clean rate found"
	problemRun        = "run ended early"
)

// Problem is something that should not have been, with how often and the first
// instance.
type Problem struct {
	Kind  string `json:"kind"`
	Count uint64 `json:"count"`
	First string `json:"first"`
}

func (p Problem) String() string { return fmt.Sprintf("%s (%d): %s", p.Kind, p.Count, p.First) }

// problems collects by kind, in the order of first appearance.
type problems struct{ list []Problem }

func (p *problems) add(kind, format string, args ...any) { p.addN(kind, 1, format, args...) }

func (p *problems) addN(kind string, n uint64, format string, args ...any) {
	if n == 0 {
		return
	}
	for i := range p.list {
		if p.list[i].Kind == kind {
			p.list[i].Count += n
			return
		}
	}
	p.list = append(p.list, Problem{Kind: kind, Count: n, First: fmt.Sprintf(format, args...)})
}

func (p *problems) merge(o *problems) {
	for _, q := range o.list {
		p.addN(q.Kind, q.Count, "%s", q.First)
	}
}

// addTally adds the faults of a tally; what names the units.
func (p *problems) addTally(t *tally, what string, allowLoss bool) {
	p.addN(problemMissing, t.missing, "%d %s neither arrived nor were reported by gateway.lost", t.missing, what)
	if !allowLoss {
		p.addN(problemLost, t.lost, "%d %s reported by gateway.lost", t.lost, what)
	}
	p.addN(problemDuplicate, t.duplicates, "%d %s", t.duplicates, what)
	p.addN(problemDisorder, t.disorder, "%d %s", t.disorder, what)
	p.addN(problemFalseLost, t.falseLost+t.badReports, "%d %s were reported lost but arrived, or twice, or were never sent; %d reports with an empty range", t.falseLost, what, t.badReports)
	p.addN(problemUnverified, t.overflow, "more than %d open ranges in one stream", maxOpenSpans)
}

// overload says whether a kind of problem is a normal effect of overload, which
// ends the search for the highest clean rate but is no fault.
func overload(kind string) bool {
	switch kind {
	case problemClosed, problemLost, problemNotSent, problemRefused:
		return true
	}
	return false
}
