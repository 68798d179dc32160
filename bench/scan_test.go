package bench

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// telemetryRead is a front end, and what it would read in one go: frames of
// 128 bytes from device 0.
func telemetryRead(size int) (w *world, c *conn, data []byte, frames int) {
	o := Options{Scenario: ScenarioFanout, Rate: 1e6}.withDefaults()
	w = &world{o: &o, clock: newClock()}
	w.devices = []*conn{{w: w, role: roleDevice, state: stateOpen}}
	c = &conn{w: w, role: roleFrontend, state: stateOpen}
	c.table = &streamTable{}
	c.table.set(7, 0)
	w.frontends = []*conn{c}
	start := w.clock.now()
	w.telemetry = newTelemetryFlow(w, newSchedule(start, o.Rate), never)
	w.phase(phaseMeasured, start, true)
	s := w.telemetry.gen.senders[0]
	for g := uint64(0); len(data) < size; g++ {
		wire := w.telemetry.build(nil, s, g, w.telemetry.gen.sched.due(g))
		payload := wire[s.patch:]
		protocol.StampStream(payload, 7)
		data = wsframe.AppendFrame(data, wsframe.OpBinary, payload)
		frames++
	}
	w.now = start + int64(time.Millisecond)
	return w, c, data, frames
}

// feed cuts data in two at a place, as reads may.
func feed(c *conn, data []byte, cut int) error {
	for _, part := range [][]byte{data[:cut], data[cut:]} {
		buf := append(bytes.Clone(c.carry), part...)
		rest, err := c.scan(buf, c.w.now)
		if err != nil {
			return err
		}
		c.keep(rest)
	}
	return nil
}

func TestScanAtEveryCut(t *testing.T) {
	_, _, data, frames := telemetryRead(600)
	for cut := range len(data) + 1 {
		w, c, data, _ := telemetryRead(600)
		if err := feed(c, data, cut); err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if int(c.frames) != frames || len(c.carry) != 0 || len(w.problems.list) != 0 {
			t.Fatalf("cut at %d: %d of %d frames, %d bytes left, problems %v", cut, c.frames, frames, len(c.carry), w.problems.list)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		data []byte
		says string
	}{
		{"masked", []byte{0x82, 0x80, 0, 0, 0, 0}, "masked"},
		{"reserved bit", []byte{0xc1, 0}, "reserved bit"},
		{"reserved opcode", []byte{0x83, 0}, "opcode 0x3"},
		{"continuation first", []byte{0x80, 0}, "continuation"},
		{"message in message", []byte{0x01, 1, 'a', 0x81, 1, 'b'}, "within a fragmented one"},
		{"binary in message", []byte{0x01, 1, 'a', 0x82, 1, 'b'}, "within a fragmented one"},
		{"fragmented ping", []byte{0x09, 0}, "control frame"},
		{"long ping", append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...), "control frame"},
		{"huge", []byte{0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0}, "at most"},
		{"close", wsframe.AppendClose(nil, 4004, "slow_consumer"), `4004 "slow_consumer"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, c, _, _ := telemetryRead(1)
			c.out = []byte("pretend that the socket is full")
			if _, err := c.scan(tc.data, 0); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want one saying %q", err, tc.says)
			}
		})
	}
}

func TestReceiveDoesNotAllocate(t *testing.T) {
	w, c, data, _ := telemetryRead(16 << 10)
	if n := testing.AllocsPerRun(100, func() {
		c.streams[0].next = 0
		_, _ = c.scan(data, w.now)
	}); n != 0 {
		t.Errorf("%v allocations a read, want none", n)
	}
}

func TestStreamTable(t *testing.T) {
	var none *streamTable
	if _, ok := none.device(1); ok {
		t.Error("no table knows a stream")
	}
	var tab streamTable
	for i, stream := range []uint32{0, 5, denseStreams - 1, denseStreams, 1<<32 - 1} {
		t.Run(fmt.Sprint(stream), func(t *testing.T) {
			if _, ok := tab.device(stream); ok {
				t.Error("known before set")
			}
			tab.set(stream, i)
			if d, ok := tab.device(stream); !ok || d != i {
				t.Errorf("device %d, %v; want %d", d, ok, i)
			}
		})
	}
}
