package federation

import (
	"slices"
	"sync"
)

// Inbound is the inbound position of a device: how far its telemetry has come
// from other nodes, by node. The zero value is that of a device of which nothing
// has come.
type Inbound struct {
	// mu guards the rest; a leaf.
	mu sync.Mutex
	// at has an entry for each node, the one used last at the end.
	at []arrived
}

// arrived is how far the telemetry of one node is: the samples up to there have
// come or were reported as lost.
type arrived struct {
	node NodeID
	position
	// first is the range of the batch that came first, when that was before the
	// node was known to hold the device: what came before it may be lost.
	first *Range
}

// maxInbound bounds the nodes, or earlier runs of a node, of which a device's
// position is kept. The one unused for longest is forgotten first; only a device
// that moves through that many nodes while the news of the first is still on its
// way could have a loss that is not reported.
const maxInbound = 64

// Begin sets where the telemetry of a node begins, unless that is known: what
// is beyond it and does not come is lost. It returns what was lost before the
// first that has come already.
func (in *Inbound) Begin(node NodeID, rg *Range) (lost []Samples) {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.of(node)
	switch {
	case a == nil:
		in.add(arrived{node: node, position: rg.end()})
	case a.first != nil:
		lost = a.first.since(rg.end())
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
		entry := arrived{node: node, position: rg.end()}
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
	lost, fresh = rg.since(a.position), rg.From
	if rg.Chain == a.chain {
		fresh = max(rg.From, a.to)
	}
	a.position = rg.end()
	return lost, fresh
}

// Forget forgets every node: the telemetry is no longer wanted.
func (in *Inbound) Forget() {
	in.mu.Lock()
	in.at = nil
	in.mu.Unlock()
}

// of returns the entry of a node, which becomes the one used last. The caller
// holds mu.
func (in *Inbound) of(node NodeID) *arrived {
	last := len(in.at) - 1
	for i := last; i >= 0; i-- {
		if in.at[i].node != node {
			continue
		}
		if i < last {
			a := in.at[i]
			copy(in.at[i:], in.at[i+1:])
			in.at[last] = a
		}
		return &in.at[last]
	}
	return nil
}

// add adds an entry, in place of the one unused for longest when there are many.
// The caller holds mu.
func (in *Inbound) add(a arrived) {
	if len(in.at) >= maxInbound {
		in.at = append(in.at[:0], in.at[1:]...)
	}
	in.at = append(in.at, a)
}
