package federation

import (
	"slices"
	"testing"
)

// sent is a batch as it went out, and whether it came.
type sent struct {
	from, to uint64
	lost     bool
}

// TestInboundTellsWhatWasLost: whatever gaps a device leaves and whatever
// batches the bus loses, what came and what is told as lost is what was sent.
func TestInboundTellsWhatWasLost(t *testing.T) {
	for _, tt := range []struct {
		name    string
		batches []sent
		want    []Samples
	}{
		{"nothing", []sent{{0, 10, false}, {10, 20, false}}, nil},
		{"one in between", []sent{{0, 10, false}, {10, 20, true}, {20, 30, false}}, []Samples{{10, 20, 10}}},
		{"several", []sent{{0, 10, false}, {10, 20, true}, {20, 30, true}, {30, 31, false}}, []Samples{{10, 30, 20}}},
		{"a gap of the device's own", []sent{{0, 10, false}, {15, 20, false}}, nil},
		{"a gap behind a loss", []sent{{0, 10, false}, {10, 20, true}, {25, 30, false}}, []Samples{{10, 20, 10}}},
		{"a gap before a loss", []sent{{0, 10, false}, {15, 20, true}, {20, 30, false}}, []Samples{{15, 20, 5}}},
		{"gaps within a loss", []sent{{0, 10, false}, {10, 12, true}, {15, 20, true}, {30, 40, true}, {40, 50, false}}, []Samples{{10, 12, 2}, {15, 20, 5}, {30, 40, 10}}},
		{"a new beginning", []sent{{0, 10, false}, {0, 5, false}, {5, 6, false}}, nil},
		{"a new beginning within a loss", []sent{{0, 10, false}, {10, 20, true}, {0, 5, true}, {5, 6, false}}, []Samples{{10, 20, 10}, {0, 5, 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out Outbound
			var in Inbound
			var lost []Samples
			for _, b := range tt.batches {
				rg := out.place(b.from, b.to)
				if b.lost {
					continue
				}
				more, fresh := in.Take(1, &rg, false)
				lost = append(lost, more...)
				if fresh != b.from {
					t.Errorf("batch from %d is new from %d on", b.from, fresh)
				}
			}
			if !slices.Equal(lost, tt.want) {
				t.Errorf("lost %v, want %v", lost, tt.want)
			}
		})
	}
}

// TestInboundTakesNothingTwice: a batch that comes after it was told as lost
// does not come at all, and what comes again is known.
func TestInboundTakesNothingTwice(t *testing.T) {
	var out Outbound
	var in Inbound
	first, late, third := out.place(0, 10), out.place(10, 20), out.place(20, 30)
	in.Take(1, &first, false)
	if lost, _ := in.Take(1, &third, false); !slices.Equal(lost, []Samples{{10, 20, 10}}) {
		t.Fatalf("lost %v", lost)
	}
	for _, rg := range []Range{late, third, first, out.Position()} {
		if lost, fresh := in.Take(1, &rg, false); len(lost) != 0 || fresh != rg.To {
			t.Errorf("%+v: lost %v, new from %d on", rg, lost, fresh)
		}
	}
	// Another node's count is its own.
	var other Outbound
	rg := other.place(5, 7)
	if lost, fresh := in.Take(2, &rg, false); len(lost) != 0 || fresh != 5 {
		t.Errorf("another node: lost %v, new from %d on", lost, fresh)
	}
}

// TestInboundThatComesBeforeItsHolder: what was lost before the first batch is
// told when it is known where the telemetry began.
func TestInboundThatComesBeforeItsHolder(t *testing.T) {
	for name, c := range map[string]struct {
		sent  [][2]uint64 // in front of the first that comes
		early bool
		want  []Samples
	}{
		"nothing was sent before": {nil, true, nil},
		"some was":                {[][2]uint64{{100, 110}, {110, 120}}, true, []Samples{{100, 120, 20}}},
		"in several chains":       {[][2]uint64{{15, 19}, {100, 120}}, true, []Samples{{15, 19, 4}, {100, 120, 20}}},
		"the holder was known":    {[][2]uint64{{100, 120}}, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out Outbound
			var in Inbound
			out.place(0, 5) // of an earlier holding
			at := out.Position()
			for _, r := range c.sent {
				out.place(r[0], r[1])
			}
			for i, rg := range []Range{out.place(120, 130), out.place(130, 140)} {
				if lost, fresh := in.Take(1, &rg, c.early); len(lost) > 0 || fresh != rg.From {
					t.Errorf("batch %d: lost %v, new from %d on", i, lost, fresh)
				}
			}
			if lost := in.Begin(1, &at); !slices.Equal(lost, c.want) {
				t.Errorf("lost %v, want %v", lost, c.want)
			}
			if lost := in.Begin(1, &at); len(lost) > 0 {
				t.Errorf("told again: %v", lost)
			}
		})
	}
}

// place places samples that are on the bus at once.
func (o *Outbound) place(from, to uint64) Range {
	at := o.Place(from, to)
	o.Commit(at)
	return at
}
