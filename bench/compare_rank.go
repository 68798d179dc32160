package bench

import (
	"math"
	"slices"
)

// exactUpTo is the number of values of both sides together up to which
// mannWhitney counts every case instead of using the normal distribution.
const exactUpTo = 60

// mannWhitney compares two samples by the ranks of their values (H. B. Mann and
// D. R. Whitney, 1947). u counts the pairs in which a's value is the higher one,
// ties as half; p is the probability of a u at least as far from the middle
// when both come from the same distribution. Equal values share their mean
// rank, and p takes that into account.
func mannWhitney(a, b []float64) (u, p float64) {
	n, m := len(a), len(b)
	ranks, ties := doubledRanks(a, b)
	sum := 0
	for _, r := range ranks[:n] {
		sum += r
	}
	u = float64(sum)/2 - float64(n*(n+1))/2
	if n+m <= exactUpTo {
		return u, exactP(ranks, n, sum)
	}
	total := float64(n + m)
	variance := float64(n*m) / 12 * (total + 1 - ties/(total*(total-1)))
	if variance <= 0 {
		return u, 1 // all values are equal
	}
	// The continuity correction: half a rank.
	z := max(math.Abs(u-float64(n*m)/2)-0.5, 0) / math.Sqrt(variance)
	return u, math.Erfc(z / math.Sqrt2)
}

// doubledRanks returns twice the rank of each value, a's and then b's, so that
// the mean rank of equal values is whole; ties is the sum of t³-t over groups of
// t equal values.
func doubledRanks(a, b []float64) (ranks []int, ties float64) {
	values := slices.Concat(a, b)
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case values[i] < values[j]:
			return -1
		case values[i] > values[j]:
			return 1
		}
		return 0
	})
	ranks = make([]int, len(values))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && values[order[to]] == values[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			ranks[i] = from + 1 + to // the first rank and the last one
		}
		t := float64(to - from)
		ties += t*t*t - t
		from = to
	}
	return ranks, ties
}

// exactP is the part of all choices of n ranks whose sum is at least as far
// from the mean as sum is.
func exactP(ranks []int, n, sum int) float64 {
	total := 0
	for _, r := range ranks {
		total += r
	}
	// ways[k][s]: choices of k ranks with the sum s.
	ways := make([][]float64, n+1)
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for k := n; k > 0; k-- {
			for s := total; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	// Distances from the mean n × total / N, without fractions.
	far := func(s int) int {
		d := s*len(ranks) - n*total
		return max(d, -d)
	}
	all, beyond := 0.0, 0.0
	for s, w := range ways[n] {
		all += w
		if far(s) >= far(sum) {
			beyond += w
		}
	}
	return beyond / all
}
