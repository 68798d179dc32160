package federation

import (
	"slices"
	"sync"
)

// Inbound is the inbound position of a device: how far its telemetry has come
// from other nodes, by node.
type Inbound struct {
	// mu guards the rest; a leaf.
	mu sync.Mutex
	at []arrived
}

// arrived is how far the telemetry of one node is: the samples of chain up to,
// not including, to have come or were reported as lost.
type arrived struct {
	node      NodeID
	chain, to uint64
	// first is the range of the batch that came first, when that was before the
	// node was known to hold the device: what came before it may be lost.
	first *Range
}

// maxInbound bounds the nodes that a device's telemetry has come from of late.
const maxInbound = 4

// Samples is a range of samples, [From, To).
type Samples struct{ From, To uint64 }

// Begin sets where the telemetry of a node begins, unless that is known: what
// is beyond it and does not come is lost. It returns what was lost before the
// first that has come already.
func (in *Inbound) Begin(node NodeID, rg *Range) (lost []Samples) {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.of(node)
	switch {
	case a == nil:
		in.add(arrived{node: node, chain: rg.Chain, to: rg.To})
	case a.first != nil:
		lost = missing(a.first, rg.Chain, rg.To)
		a.first = nil
	}
	return lost
}

// Take notes that a batch has come. It returns which samples before it were
// lost on the way, and from which sample on the batch is new; none of it is
// when that is rg.To. early says that the node is not known to hold the device
// yet: news of that may take longer than telemetry.
func (in *Inbound) Take(node NodeID, rg *Range, early bool) (lost []Samples, fresh uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.of(node)
	if a == nil {
		entry := arrived{node: node, chain: rg.Chain, to: rg.To}
		if early {
			first := *rg
			first.Before = slices.Clone(rg.Before)
			entry.first = &first
		}
		in.add(entry)
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
func missing(rg *Range, chain, to uint64) (lost []Samples) {
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

// Forget forgets every node: the telemetry is no longer wanted.
func (in *Inbound) Forget() {
	in.mu.Lock()
	in.at = nil
	in.mu.Unlock()
}

// of returns the entry of a node. The caller holds mu.
func (in *Inbound) of(node NodeID) *arrived {
	for i := range in.at {
		if in.at[i].node == node {
			return &in.at[i]
		}
	}
	return nil
}

// add adds an entry, in place of the oldest when there are many. The caller
// holds mu.
func (in *Inbound) add(a arrived) {
	if len(in.at) >= maxInbound {
		in.at = append(in.at[:0], in.at[1:]...)
	}
	in.at = append(in.at, a)
}

func appendLoss(lost []Samples, from, to uint64) []Samples {
	if from >= to {
		return lost
	}
	return append(lost, Samples{from, to})
}
