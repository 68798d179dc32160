package stats

import "math/bits"

// Histogram counts durations in ns, to a thousandth of their value: 1,024
// buckets for each power of two. Durations above 18 minutes count as 18
// minutes. Recording is a few instructions, for millions of durations a second.
// The zero value is empty.
type Histogram struct {
	counts [histogramSize]uint64
	total  uint64
	sum    float64 // of the durations, in ns
	max    int64
}

// MaxDuration is the longest duration that a Histogram records, in ns. A longer
// one counts as MaxDuration.
const MaxDuration = 1<<maxBits - 1

const (
	subBits       = 10
	subBuckets    = 1 << subBits
	maxBits       = 40
	histogramSize = (maxBits - subBits + 1) * subBuckets
)

// Record counts a duration in ns. A negative one counts as 0.
func (h *Histogram) Record(ns int64) {
	ns = min(max(ns, 0), MaxDuration)
	h.counts[bucketOf(ns)]++
	h.total++
	h.sum += float64(ns)
	h.max = max(h.max, ns)
}

// Count is the number of durations.
func (h *Histogram) Count() int64 { return int64(h.total) }

// Mean is the mean duration in ns; 0 without durations.
func (h *Histogram) Mean() float64 {
	if h.total == 0 {
		return 0
	}
	return h.sum / float64(h.total)
}

// Max is the longest duration in ns.
func (h *Histogram) Max() int64 { return h.max }

// Quantile is the upper bound of the bucket in which the q-th part of all
// durations is reached, in ns; 0 without durations.
func (h *Histogram) Quantile(q float64) int64 {
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

// Reset forgets all durations.
func (h *Histogram) Reset() { *h = Histogram{} }

// bucketOf numbers small values by themselves, and larger ones by their highest
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
