package cluster

import (
	"encoding/binary"
	"math"
	"reflect"
	"testing"

	"github.com/labgate/labgate/router/federation"
)

// someRanges are ranges as an Outbound makes them, and at the limits of numbers.
func someRanges() map[string]federation.Range {
	var short, long federation.Outbound
	short.Place(0, 10)
	for i := range uint64(40) {
		long.Place(1<<50+20*i, 1<<50+20*i+10)
	}
	many := make([]federation.Chain, federation.MaxChainsBefore)
	for i := range many {
		many[i] = federation.Chain{Start: 1<<63 - uint64(i), End: 1<<63 + uint64(i)}
	}
	return map[string]federation.Range{
		"nothing sent":          {},
		"one chain":             short.Place(10, 20),
		"a gap":                 short.Place(25, 30),
		"many chains":           long.Place(1<<50+820, 1<<50+900),
		"a numbering anew":      long.Place(0, 5),
		"the greatest of all":   {First: 1, Chain: math.MaxUint64, From: math.MaxUint64, To: math.MaxUint64, Count: maxSamples, Before: many, Older: federation.Older{Rising: math.MaxUint64, High: math.MaxUint64}},
		"beginning at the most": {First: math.MaxUint64, Chain: math.MaxUint64, Start: math.MaxUint64, From: math.MaxUint64, To: math.MaxUint64},
	}
}

func TestTelemetryIsReadAsWritten(t *testing.T) {
	for name, rg := range someRanges() {
		t.Run(name, func(t *testing.T) {
			want := federation.Batch{Range: rg, Wire: []byte{0x82, 0}}
			if want.Range.Before == nil {
				want.Range.Before = []federation.Chain{}
			}
			b := appendTelemetry(nil, &want)
			if len(b) > telemetrySize(&want) {
				t.Errorf("%d bytes, telemetrySize says %d", len(b), telemetrySize(&want))
			}
			rs := records(b)
			_, body, _, _ := rs.next()
			var got federation.Batch
			got.Range = federation.Range{Before: []federation.Chain{{Start: 99}}, Older: federation.Older{Low: 3}}
			if err := readTelemetry(body, &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestGapsCostFewBytes: a device that leaves a gap after each frame sends its
// history along with each.
func TestGapsCostFewBytes(t *testing.T) {
	var out federation.Outbound
	var rg federation.Range
	for i := range uint64(1000) {
		rg = out.Place(1<<40+i*150, 1<<40+i*150+100)
	}
	if n := len(appendRange(nil, &rg)); n > 80 {
		t.Errorf("%d bytes for a range", n)
	}
}

func TestMalformedRangesAreRefused(t *testing.T) {
	for name, numbers := range map[string][]uint64{
		"too many chains":               {1, 20, 0, 0, 0, 0, federation.MaxChainsBefore + 1},
		"more chains than there can be": {1, 2, 0, 0, 0, 0, 3},
		"a chain above 2^64":            {2, math.MaxUint64, 0, 0, 0, 0, 0},
		"samples above 2^64":            {1, 0, 5, math.MaxUint64, 0, 0, 0},
		"an end above 2^64":             {1, 0, 5, 0, math.MaxUint64, 0, 0},
		"a count that cannot be":        {1, 0, 0, 0, 0, maxSamples + 1, 0},
		"a chain that begins below 0":   {1, 1, 5, 0, 0, 0, 1, 2 * 3, 3},
		"bounds above 2^64":             {1, 1, 5, 0, 0, 0, 0, 0, 1, math.MaxUint64},
		"cut off":                       {1, 1, 5, 0, 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var b []byte
			for _, n := range numbers {
				b = binary.AppendUvarint(b, n)
			}
			r := reader{s: string(b)}
			var rg federation.Range
			if r.sampleRange(&rg); !r.bad {
				t.Errorf("read as %+v", rg)
			}
		})
	}
}
