package cluster

import (
	"encoding/binary"

	"github.com/labgate/labgate/router/federation"
)

// Telemetry as records, and the ranges that say where it belongs.

// maxSamples bounds federation.Range.Count: 10 million samples a second for
// twenty thousand years.
const maxSamples = 1 << 63

// appendRange appends a range: first, chain − first, start, from − start,
// to − from, count; n, and for each of the n chains before, the latest first,
// start of the chain after it − its end (a varint: below 0 when the device
// starts its numbering over), end − start; and if there are older chains,
// rising − first, low, high − low.
func appendRange(b []byte, t *federation.Range) []byte {
	b = binary.AppendUvarint(b, t.First)
	b = binary.AppendUvarint(b, t.Chain-t.First)
	b = binary.AppendUvarint(b, t.Start)
	b = binary.AppendUvarint(b, t.From-t.Start)
	b = binary.AppendUvarint(b, t.To-t.From)
	b = binary.AppendUvarint(b, t.Count)
	n := len(t.Before)
	b = binary.AppendUvarint(b, uint64(n))
	follows := t.Start
	for i := range t.Before {
		c := &t.Before[n-1-i]
		b = binary.AppendVarint(b, int64(follows-c.End))
		b = binary.AppendUvarint(b, c.End-c.Start)
		follows = c.Start
	}
	if t.Chain-t.First > uint64(n) {
		b = binary.AppendUvarint(b, t.Older.Rising-t.First)
		b = binary.AppendUvarint(b, t.Older.Low)
		b = binary.AppendUvarint(b, t.Older.High-t.Older.Low)
	}
	return b
}

// maxRangeSize is how many bytes appendRange appends at most.
const maxRangeSize = (10 + 2*federation.MaxChainsBefore) * binary.MaxVarintLen64

// sampleRange reads a range; it puts Before into the memory that t.Before has.
func (r *reader) sampleRange(t *federation.Range) {
	t.First = r.uvarint()
	t.Chain = r.above(t.First)
	t.Start = r.uvarint()
	t.From = r.above(t.Start)
	t.To = r.above(t.From)
	t.Count = r.uvarint()
	t.Older = federation.Older{}
	t.Before = t.Before[:0]
	n := r.uvarint()
	if n > federation.MaxChainsBefore || n > t.Chain-t.First || t.Count > maxSamples {
		r.fail()
		return
	}
	if uint64(cap(t.Before)) < n {
		t.Before = make([]federation.Chain, federation.MaxChainsBefore)
	}
	t.Before = t.Before[:n]
	follows := t.Start
	for i := range t.Before {
		c := &t.Before[len(t.Before)-1-i]
		c.End = follows - uint64(r.varint())
		length := r.uvarint()
		if length > c.End {
			r.fail()
			return
		}
		c.Start = c.End - length
		follows = c.Start
	}
	if t.Chain-t.First > n {
		t.Older.Rising = r.above(t.First)
		t.Older.Low = r.uvarint()
		t.Older.High = r.above(t.Older.Low)
	}
}

// above reads how far a number is above another.
func (r *reader) above(base uint64) uint64 {
	v := base + r.uvarint()
	if v < base {
		r.fail()
		return base
	}
	return v
}

func appendTelemetry(b []byte, t *federation.Batch) []byte {
	begin := len(b)
	b = beginRecord(b, recordTelemetry)
	b = appendRange(b, &t.Range)
	return endRecord(append(b, t.Wire...), begin)
}

// telemetrySize is how many bytes appendTelemetry appends at most.
func telemetrySize(t *federation.Batch) int { return recordHeader + maxRangeSize + len(t.Wire) }

func readTelemetry(r reader, t *federation.Batch) error {
	r.sampleRange(&t.Range)
	t.Wire = r.rest()
	if r.bad {
		return errMalformed
	}
	return nil
}
