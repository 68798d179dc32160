package eventloop

import "testing"

// TestCapacity: connections, refusals and the reserve never need more than the
// limit of open files, but for a limit at which nothing works.
func TestCapacity(t *testing.T) {
	for _, c := range []struct {
		limit, connections, refusing int
		few                          bool
	}{
		{16, 1, 1, true},
		{64, 1, 1, true},
		{128, 32, 32, true},
		{256, 128, 64, true},
		{383, 255, 64, true},
		{384, 256, 64, false},
		{1024, 896, 64, false},
		{1 << 20, 1<<20 - descriptorReserve - maxRefusing, maxRefusing, false},
	} {
		got := capacityOf(c.limit)
		if got != (Capacity{c.connections, c.refusing, c.limit}) || got.Few() != c.few {
			t.Errorf("%d: %+v, few %v", c.limit, got, got.Few())
		}
	}
}
