package router

import (
	"github.com/labgate/labgate/router/federation"
	"slices"
	"sync"
)

// feed places the telemetry that a device sends to this node: it finds where
// one chain of samples ends and the next begins.
type feed struct {
	// mu guards the rest. It is held while samples are given to the bus, and above
	// that one's locks.
	mu               sync.Mutex
	chain, start, to uint64
	before           []federation.Chain
	// quiet counts the times that the position was told since it last moved.
	quiet int
	// batch is the one that is given to the bus.
	batch federation.Batch
}

// skip notes the samples [from, to), which no other node wants.
func (f *feed) skip(from, to uint64) {
	f.mu.Lock()
	f.advance(from, to)
	f.mu.Unlock()
}

// advance notes the samples [from, to) and returns where they are. The caller
// holds mu until they are on the bus.
func (f *feed) advance(from, to uint64) federation.Range {
	if f.chain == 0 || from != f.to {
		if f.chain > 0 {
			// Replaced, not changed: ranges that were handed out share it.
			before := append(make([]federation.Chain, 0, federation.MaxChainsBefore), f.before[max(0, len(f.before)-federation.MaxChainsBefore+1):]...)
			f.before = append(before, federation.Chain{Chain: f.chain, Start: f.start, End: f.to})
		}
		f.chain++
		f.start = from
	}
	f.to = to
	f.quiet = 0
	return federation.Range{Chain: f.chain, Start: f.start, From: from, To: to, Before: f.before}
}

// position returns the range without samples where the feed stands.
func (f *feed) position() federation.Range {
	f.mu.Lock()
	defer f.mu.Unlock()
	return federation.Range{Chain: f.chain, Start: f.start, From: f.to, To: f.to, Before: f.before}
}

// toldAgain returns the position, and whether it is worth telling: it is told a
// few times after each move, since what tells it may be lost, too.
func (f *feed) toldAgain() (federation.Range, bool) {
	f.mu.Lock()
	told := f.chain > 0 && f.quiet < tellings
	f.quiet++
	f.mu.Unlock()
	return f.position(), told
}

// inflow is how far a device's telemetry is that came from other nodes, by
// node.
type inflow struct {
	// mu guards the rest; a leaf.
	mu sync.Mutex
	at []arrived
}

// arrived is how far the telemetry of one node is: the samples of chain up to,
// not including, to have come or were reported as lost.
type arrived struct {
	node      federation.NodeID
	chain, to uint64
	// first is the range of the batch that came first, when that was before the
	// node was known to hold the device: what came before it may be lost.
	first *federation.Range
}

// maxInflows bounds the nodes that a device's telemetry has come from of late.
const maxInflows = 4

// sampleRange is a range of samples, [from, to).
type sampleRange struct{ from, to uint64 }

// begin sets where the telemetry of a node begins, unless that is known: what
// is beyond it and does not come is lost. It returns what was lost before the
// first that has come already.
func (f *inflow) begin(node federation.NodeID, rg *federation.Range) (lost []sampleRange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.of(node)
	switch {
	case a == nil:
		f.add(arrived{node: node, chain: rg.Chain, to: rg.To})
	case a.first != nil:
		lost = missing(a.first, rg.Chain, rg.To)
		a.first = nil
	}
	return lost
}

// take notes that a batch has come. It returns which samples before it were
// lost on the way, and from which sample on the batch is new; none of it is
// when that is rg.To. early says that the node is not known to hold the device
// yet: news of that may take longer than telemetry.
func (f *inflow) take(node federation.NodeID, rg *federation.Range, early bool) (lost []sampleRange, fresh uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := f.of(node)
	if a == nil {
		entry := arrived{node: node, chain: rg.Chain, to: rg.To}
		if early {
			first := *rg
			first.Before = slices.Clone(rg.Before)
			entry.first = &first
		}
		f.add(entry)
		return nil, rg.From
	}
	if rg.Chain < a.chain || rg.Chain == a.chain && rg.To <= a.to {
		// Known, or told as lost before: then it must not come any more.
		return nil, rg.To
	}
	lost, fresh = missing(rg, a.chain, a.to), rg.From
	if rg.Chain == a.chain {
		fresh = max(rg.From, a.to)
	}
	a.chain, a.to = rg.Chain, rg.To
	return lost, fresh
}

// missing returns the samples between the first ones of a chain, up to to, and
// the range.
func missing(rg *federation.Range, chain, to uint64) (lost []sampleRange) {
	switch {
	case rg.Chain < chain:
		return nil
	case rg.Chain == chain:
		return appendLoss(nil, to, rg.From)
	}
	for _, c := range rg.Before {
		switch {
		case c.Chain == chain:
			lost = appendLoss(lost, to, c.End)
		case c.Chain > chain:
			lost = appendLoss(lost, c.Start, c.End)
		}
	}
	return appendLoss(lost, rg.Start, rg.From)
}

// forget forgets everything: the telemetry is not wanted any longer.
func (f *inflow) forget() {
	f.mu.Lock()
	f.at = nil
	f.mu.Unlock()
}

// of returns the entry of a node. The caller holds mu.
func (f *inflow) of(node federation.NodeID) *arrived {
	for i := range f.at {
		if f.at[i].node == node {
			return &f.at[i]
		}
	}
	return nil
}

// add adds an entry, in place of the oldest when there are many. The caller
// holds mu.
func (f *inflow) add(a arrived) {
	if len(f.at) >= maxInflows {
		f.at = append(f.at[:0], f.at[1:]...)
	}
	f.at = append(f.at, a)
}

func appendLoss(lost []sampleRange, from, to uint64) []sampleRange {
	if from >= to {
		return lost
	}
	return append(lost, sampleRange{from, to})
}
