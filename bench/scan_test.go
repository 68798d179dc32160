package bench

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/labgate/labgate/bench/internal/wsconn"
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

func TestScanAtEveryCut(t *testing.T) {
	_, _, data, frames := telemetryRead(600)
	for cut := range len(data) + 1 {
		w, c, data, _ := telemetryRead(600)
		rest, err := c.scan(data[:cut:cut], w.now)
		if err == nil {
			rest, err = c.scan(append(rest, data[cut:]...), w.now)
		}
		if err != nil || int(c.frames) != frames || len(rest) != 0 || len(w.problems.list) != 0 {
			t.Fatalf("cut at %d: %d of %d frames, %d bytes left, problems %v, %v", cut, c.frames, frames, len(rest), w.problems.list, err)
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
			connectTo(t, c)
			if _, err := c.scan(tc.data, 0); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want one saying %q", err, tc.says)
			}
		})
	}
}

// connectTo opens c to a listener that reads nothing.
func connectTo(t *testing.T, c *conn) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	poll, err := wsconn.NewPoller(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poll.Close)
	if err := c.sock.Open(poll, netip.MustParseAddrPort(ln.Addr().String()), netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.sock.Close(true) })
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
