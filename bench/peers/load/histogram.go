//go:build linux

package load

import "math/bits"

// histogram counts durations in ns to better than one percent: 128 buckets for
// each power of two. Recording is a few instructions, for millions a second.
type histogram struct {
	counts [histogramSize]uint64
	total  uint64
	max    int64
}

const (
	subBits       = 7
	subBuckets    = 1 << subBits
	histogramSize = (64 - subBits + 1) * subBuckets
)

func (h *histogram) record(ns int64) {
	ns = max(ns, 0)
	h.counts[bucketOf(ns)]++
	h.total++
	h.max = max(h.max, ns)
}

// quantile is the upper bound of the bucket in which the q-th part of all
// values is reached, in ns; 0 without values.
func (h *histogram) quantile(q float64) int64 {
	if h.total == 0 {
		return 0
	}
	rank, seen := max(uint64(q*float64(h.total)+0.5), 1), uint64(0)
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return min(upperBound(i), h.max)
		}
	}
	return h.max
}

func (h *histogram) reset() { *h = histogram{} }

// bucketOf numbers small values by themselves and larger ones by their highest
// bit and the subBits that follow it.
func bucketOf(ns int64) int {
	shift := bits.Len64(uint64(ns)) - 1 - subBits
	if shift <= 0 {
		return int(ns)
	}
	return shift<<subBits + int(ns>>shift)
}

// upperBound is the largest value in a bucket.
func upperBound(bucket int) int64 {
	if bucket < 2*subBuckets {
		return int64(bucket)
	}
	shift := bucket>>subBits - 1
	return (int64(bucket)-int64(shift)<<subBits+1)<<shift - 1
}
