package bench

import "slices"

// span is the samples [from, to).
type span struct{ from, to uint64 }

func (s span) size() uint64 { return s.to - s.from }

// spans is a set of samples: sorted, disjoint, not touching. The set is small
// in practice, because gaps and their reports cancel out.
type spans []span

// add adds the samples of n and returns how many were new.
func (s *spans) add(n span) (added uint64) {
	if n.from >= n.to {
		return 0
	}
	lo, hi := s.touching(n)
	added = n.size()
	merged := n
	for _, old := range (*s)[lo:hi] {
		if a, b := max(old.from, n.from), min(old.to, n.to); a < b {
			added -= b - a
		}
		merged.from, merged.to = min(merged.from, old.from), max(merged.to, old.to)
	}
	*s = slices.Replace(*s, lo, hi, merged)
	return added
}

// remove removes the samples of n and returns how many were in the set.
func (s *spans) remove(n span) (removed uint64) {
	if n.from >= n.to || len(*s) == 0 {
		return 0
	}
	lo, hi := s.touching(n)
	var kept [2]span
	k := 0
	for _, old := range (*s)[lo:hi] {
		a, b := max(old.from, n.from), min(old.to, n.to)
		if a >= b { // touches only
			kept[k] = old
			k++
			continue
		}
		removed += b - a
		if old.from < a {
			kept[k] = span{old.from, a}
			k++
		}
		if b < old.to {
			kept[k] = span{b, old.to}
			k++
		}
	}
	*s = slices.Replace(*s, lo, hi, kept[:k]...)
	return removed
}

func (s spans) size() (n uint64) {
	for _, p := range s {
		n += p.size()
	}
	return n
}

// touching is the range of spans that overlap n or end where it begins.
func (s spans) touching(n span) (lo, hi int) {
	lo, _ = slices.BinarySearchFunc(s, n.from, func(p span, from uint64) int {
		if p.to < from {
			return -1
		}
		return 1
	})
	hi = lo
	for hi < len(s) && s[hi].from <= n.to {
		hi++
	}
	return lo, hi
}
