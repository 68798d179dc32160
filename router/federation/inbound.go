package federation

import (
	"slices"
	"sync"
)

// Inbound is the inbound position of a device: for each other node, the position
// up to which the device's telemetry has arrived from this node. The zero value is
// for a device without any telemetry from other nodes.
type Inbound struct {
	// mu guards the rest; a leaf.
	mu sync.Mutex
	// at has an entry for each node. The entry that was used last is at the end.
	at []arrived
}

// arrived is the position for one node. All samples before the position have
// arrived or were reported as lost.
type arrived struct {
	node NodeID
	position
	// first is the range of the first batch, when this batch arrived before the
	// report that the node holds the device. Samples before this batch may be lost;
	// Begin finds out. nil otherwise.
	first *Range
}

// maxInbound bounds the entries of an Inbound. The entry that was unused for the
// longest time is removed first. A loss can remain unreported only when a device
// connects to more than maxInbound nodes, or runs of a node, while the report
// about the first node is still on its way.
const maxInbound = 64

// Begin sets the position at which the telemetry of a node begins, unless an
// earlier batch has set the position. Samples behind rg that never arrive are
// lost. Begin returns the lost samples between rg and a batch that has arrived
// already.
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

// Take records that a batch has arrived. lost has the samples before the batch
// that were lost on the way. fresh is the first sample of the batch that has not
// arrived before; fresh is rg.To when the whole batch has. early means that the
// node is not yet known to hold the device, because the report of the holding may
// take longer than the telemetry.
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
		// All samples of the batch have arrived before, or were reported as lost.
		// Receivers must not get samples that were reported as lost.
		return nil, rg.To
	}
	lost, fresh = rg.since(a.position), rg.From
	if rg.Chain == a.chain {
		fresh = max(rg.From, a.to)
	}
	a.position = rg.end()
	return lost, fresh
}

// Forget removes the positions for all nodes, because this node is no longer
// interested in the telemetry.
func (in *Inbound) Forget() {
	in.mu.Lock()
	in.at = nil
	in.mu.Unlock()
}

// of returns the entry of a node and moves the entry to the end; nil for none. The
// caller holds mu.
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

// add appends an entry. When the list is full, add first removes the entry that
// was unused for the longest time. The caller holds mu.
func (in *Inbound) add(a arrived) {
	if len(in.at) >= maxInbound {
		in.at = append(in.at[:0], in.at[1:]...)
	}
	in.at = append(in.at, a)
}
