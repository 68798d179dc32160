// Package stats has the statistics that the benchmarks share.
package stats

import (
	"math"
	"slices"
)

// Median is the middle value, or the mean of the two middle values; not a
// number without values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
