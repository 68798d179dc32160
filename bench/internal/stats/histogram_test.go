package stats

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogramQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var values []int64
	for range 10000 {
		v := int64(1) << rng.IntN(39)
		v += rng.Int64N(v)
		h.Record(v)
		values = append(values, v)
	}
	slices.Sort(values)
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := values[int(q*float64(len(values))+0.5)-1]
		if got := h.Quantile(q); got < want || float64(got) > float64(want)*1.001+1 {
			t.Errorf("quantile %g: %d, want %d", q, got, want)
		}
	}
	if h.Quantile(1) != values[len(values)-1] {
		t.Errorf("largest: %d, want %d", h.Quantile(1), values[len(values)-1])
	}
}

func TestHistogramBuckets(t *testing.T) {
	last := -1
	for _, v := range []int64{0, 1, 127, 128, 255, 256, 257, 258, 511, 512, 1023, 1024, 2047, 2048, 2049, 1 << 20, 1<<20 + 1<<10, 1 << 39, MaxDuration} {
		b := bucketOf(v)
		if b < last || b >= histogramSize {
			t.Fatalf("bucket of %d: %d after %d, of %d", v, b, last, histogramSize)
		}
		last = b
		if up := upperBound(b); up < v || float64(up-v) > float64(v)/1000 {
			t.Errorf("%d is in a bucket up to %d", v, up)
		}
	}
	var h Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	h.Record(-5)
	if h.Quantile(0.5) != 0 || h.Count() != 1 || h.Mean() != 0 {
		t.Error("a negative value does not count as 0")
	}
	h.Record(1 << 50)
	if h.Max() != MaxDuration || h.Quantile(1) != MaxDuration || h.Mean() != float64(MaxDuration)/2 {
		t.Errorf("beyond the longest: max %d, quantile %d, mean %g", h.Max(), h.Quantile(1), h.Mean())
	}
	if h.Reset(); h.Count() != 0 || h.Max() != 0 {
		t.Error("something is left after Reset")
	}
}
