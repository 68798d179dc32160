package federation

import "math"

// Range describes the place of samples among all samples that a node has received
// from a device. The samples form chains: a chain ends where the device leaves a
// gap in its sample numbers or restarts its numbering. The node numbers the chains
// and counts the samples. From two ranges, another node can compute how many
// samples are missing between the ranges, and where.
type Range struct {
	// First is the number of the device's first chain on the node, 0 when the device
	// has sent nothing. The number is the time of that chain in microseconds since
	// 1970, so a node that has forgotten a device starts again with a greater number.
	First uint64
	// Chain is the number of the chain that the samples belong to. Consecutive chains
	// have consecutive numbers. Start is the chain's first sample.
	Chain, Start uint64
	// From and To bound the samples of this batch: [From, To).
	From, To uint64
	// Count is the number of samples in all chains from First on, up to To.
	Count uint64
	// Before has the last chains before Chain, oldest first, at most MaxChainsBefore.
	Before []Chain
	// Older describes the chains before the chains in Before, if there are any.
	Older Older
}

// Chain is a chain that has ended: the samples [Start, End).
type Chain struct{ Start, End uint64 }

// Older describes the chains from Range.First up to Range.Before by their bounds
// only.
type Older struct {
	// Rising is the number of the earliest chain from which on the sample numbers
	// only grow, up to the beginning of the first chain of Range.Before.
	Rising uint64
	// Low and High are the bounds of the samples, [Low, High).
	Low, High uint64
}

// MaxChainsBefore bounds Range.Before. When a device left more gaps than that
// within one loss, only bounds and a count are known of the earlier part of the
// loss.
const MaxChainsBefore = 8

// Samples are lost samples of one device.
type Samples struct {
	// From and To bound the samples: all of them are in [From, To).
	From, To uint64
	// Count is the number of lost samples. Count == To-From means that all samples
	// of [From, To) were lost. A smaller Count means that the device left gaps in
	// [From, To), and that the places of the gaps are no longer known.
	Count uint64
}

// Exact reports whether all samples of [From, To) were lost.
func (s Samples) Exact() bool { return s.Count == s.To-s.From }

// oldest returns the number of the first chain of Before, or of Chain when
// Before is empty, and the chain's first sample.
func (rg *Range) oldest() (chain, start uint64) {
	if n := len(rg.Before); n > 0 {
		return rg.Chain - uint64(n), rg.Before[0].Start
	}
	return rg.Chain, rg.Start
}

// appended returns the range of the samples [from, to), which follow rg. For a
// device that has sent nothing, first is the number of the first chain.
func (rg *Range) appended(from, to, first uint64) Range {
	next := *rg
	next.From, next.To = from, to
	next.Count += to - from
	switch {
	case rg.First == 0:
		next.First, next.Chain, next.Start = first, first, from
	case from != rg.To:
		next.Chain, next.Start = rg.Chain+1, from
		next.endChain(Chain{rg.Start, rg.To})
	}
	return next
}

// endChain adds a chain that has ended to Before. It replaces the slice, because
// earlier ranges share the old slice.
func (rg *Range) endChain(ended Chain) {
	before := append(make([]Chain, 0, MaxChainsBefore+1), rg.Before...)
	before = append(before, ended)
	if len(before) > MaxChainsBefore {
		out, follows := before[0], before[1]
		before = before[1:]
		number := rg.Chain - MaxChainsBefore
		if number == rg.First+1 { // out is the first chain
			rg.Older = Older{Rising: rg.First, Low: out.Start, High: out.End}
		}
		rg.Older.Low, rg.Older.High = min(rg.Older.Low, out.Start), max(rg.Older.High, out.End)
		if follows.Start < out.End {
			rg.Older.Rising = number
		}
	}
	rg.Before = before
}

// position is a place in the samples that a node has received from a device:
// behind the last sample before to in a chain. count is Range.Count at this place.
type position struct{ chain, to, count uint64 }

func (rg *Range) end() position { return position{rg.Chain, rg.To, rg.Count} }

// since returns the samples between a position and the range. When the range is
// the next one that arrives, these samples are lost.
func (rg *Range) since(p position) (lost []Samples) {
	if rg.Chain < p.chain {
		return nil
	}
	if rg.Chain == p.chain {
		return appendExact(nil, p.to, rg.From)
	}
	if older, some := rg.olderSince(p); some {
		lost = append(lost, older)
	}
	chain, _ := rg.oldest()
	for _, c := range rg.Before {
		if chain == p.chain {
			lost = appendExact(lost, p.to, c.End)
		} else if chain > p.chain {
			lost = appendExact(lost, c.Start, c.End)
		}
		chain++
	}
	return appendExact(lost, rg.Start, rg.From)
}

// olderSince returns the samples of the chains before Range.Before that lie
// between a position and the range. some is false when there are none.
func (rg *Range) olderSince(p position) (lost Samples, some bool) {
	oldest, start := rg.oldest()
	if p.chain >= oldest || rg.First >= oldest {
		return lost, false
	}
	if p.chain < rg.First { // the node has forgotten the position's chain
		p.count = 0
	}
	// known counts the samples before the position, in Before and in this chain. All
	// other samples are in the older chains.
	known := p.count + rg.To - rg.Start
	for _, c := range rg.Before {
		known += c.End - c.Start
	}
	if rg.Count <= known {
		return lost, false
	}
	lost.Count = min(rg.Count-known, math.MaxUint64/2) // more is malformed
	switch {
	case p.chain == oldest-1: // only the rest of the position's chain is missing
		lost.From, lost.To = p.to, p.to+lost.Count
	case p.chain >= rg.Older.Rising:
		lost.From, lost.To = p.to, start
	default:
		lost.From, lost.To = rg.Older.Low, rg.Older.High
	}
	oneChain := p.chain == oldest-1 || p.chain < rg.First && rg.First == oldest-1
	if lost.To <= lost.From || lost.Count > lost.To-lost.From || lost.Exact() && !oneChain {
		// The device used sample numbers again, so the count does not fit into the
		// bounds, or looks like an exact loss. Wider bounds are correct too, and do
		// not look like an exact loss.
		lost.From = min(lost.From, math.MaxUint64-lost.Count-1)
		lost.To = lost.From + lost.Count + 1
	}
	return lost, true
}

func appendExact(lost []Samples, from, to uint64) []Samples {
	if from >= to {
		return lost
	}
	return append(lost, Samples{from, to, to - from})
}
