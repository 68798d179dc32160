package federation

import "math"

// Range places samples among all samples that a node has taken from a device.
// The samples form chains: a chain ends where the device leaves a gap in its
// sample numbers or starts its numbering over. The node numbers the chains and
// counts the samples, so a receiver that compares two ranges knows how many
// samples are missing between them, and where.
type Range struct {
	// First is the number of the device's first chain on this node, 0 when the
	// device has sent nothing. It is the time of that chain in microseconds since
	// 1970: a node that has forgotten a device starts again with a greater one.
	First uint64
	// Chain is the number of the chain that the samples belong to, Start the
	// chain's first sample. Consecutive chains have consecutive numbers.
	Chain, Start uint64
	// From and To are the samples of this batch, [From, To).
	From, To uint64
	// Count is how many samples there were in all chains from First on, up to To.
	Count uint64
	// Before are the chains before Chain, oldest first, at most MaxChainsBefore.
	Before []Chain
	// Older describes the chains before those, if there are any.
	Older Older
}

// Chain is a chain that has ended: the samples [Start, End).
type Chain struct{ Start, End uint64 }

// Older describes the chains between Range.First and Range.Before: only their
// bounds are kept.
type Older struct {
	// Rising is the earliest chain from which on sample numbers only grow, up to
	// the beginning of the first chain of Range.Before.
	Rising uint64
	// Low and High are the bounds of the samples, [Low, High).
	Low, High uint64
}

// MaxChainsBefore bounds Range.Before. When more gaps of a device's own fall
// within one loss, the earlier part of the loss is told with bounds and a count.
const MaxChainsBefore = 8

// Samples are lost samples of one device.
type Samples struct {
	// From and To bound the samples: all of them are in [From, To).
	From, To uint64
	// Count is how many samples were lost. Count == To-From means all of
	// [From, To); a smaller Count means that the device left gaps in there, and
	// that nobody knows any longer where.
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

// appended returns the range of the samples [from, to), which come after rg.
// first is the number of the first chain, for a device that has sent nothing.
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

// endChain adds a chain that has ended to Before. The slice is replaced, not
// changed: ranges that were handed out share it.
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

// position is how far the samples of a device have come from a node: up to, not
// including, the sample to of a chain. count is Range.Count at that place.
type position struct{ chain, to, count uint64 }

func (rg *Range) end() position { return position{rg.Chain, rg.To, rg.Count} }

// since returns the samples between a position and the range: those that are
// missing when the range is the next that comes.
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

// olderSince returns what since does of the chains before Before.
func (rg *Range) olderSince(p position) (lost Samples, some bool) {
	oldest, start := rg.oldest()
	if p.chain >= oldest || rg.First >= oldest {
		return lost, false
	}
	if p.chain < rg.First { // a position in chains that the node has forgotten
		p.count = 0
	}
	// The samples of the older chains are all but those that are named.
	known := p.count + rg.To - rg.Start
	for _, c := range rg.Before {
		known += c.End - c.Start
	}
	if rg.Count <= known {
		return lost, false
	}
	lost.Count = min(rg.Count-known, math.MaxUint64/2) // more is malformed
	switch {
	case p.chain == oldest-1: // the rest of that chain
		lost.From, lost.To = p.to, p.to+lost.Count
	case p.chain >= rg.Older.Rising:
		lost.From, lost.To = p.to, start
	default:
		lost.From, lost.To = rg.Older.Low, rg.Older.High
	}
	oneChain := p.chain == oldest-1 || p.chain < rg.First && rg.First == oldest-1
	if lost.To <= lost.From || lost.Count > lost.To-lost.From || lost.Exact() && !oneChain {
		// The device used the same numbers again, and more samples were lost than
		// fit. Wider bounds are true as well, and do not look like an exact loss.
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
