//go:build linux

package load

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogramQuantiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var values []int64
	for range 10000 {
		v := int64(1) << rng.IntN(40)
		v += rng.Int64N(v)
		h.record(v)
		values = append(values, v)
	}
	slices.Sort(values)
	for _, q := range []float64{0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := values[int(q*float64(len(values))+0.5)-1]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*1.01+1 {
			t.Errorf("quantile %g: %d, want %d", q, got, want)
		}
	}
	if h.quantile(1) != values[len(values)-1] {
		t.Errorf("largest: %d, want %d", h.quantile(1), values[len(values)-1])
	}
}

func TestHistogramBuckets(t *testing.T) {
	last := -1
	for _, v := range []int64{0, 1, 127, 128, 255, 256, 257, 258, 511, 512, 1 << 20, 1<<20 + 1<<13, 1 << 40, 1<<62 + 1, 1<<63 - 1} {
		b := bucketOf(v)
		if b < last || b >= histogramSize {
			t.Fatalf("bucket of %d: %d after %d, of %d", v, b, last, histogramSize)
		}
		last = b
		if up := upperBound(b); up < v || float64(up-v) > float64(v)/100 {
			t.Errorf("%d is in a bucket up to %d", v, up)
		}
	}
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	h.record(-5)
	if h.quantile(0.5) != 0 || h.total != 1 {
		t.Error("a negative value does not count as 0")
	}
}
