package bench

import (
	"encoding/binary"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

const (
	headerSize = protocol.TelemetryHeaderSize
	valueSize  = 4 // FormatI32
)

// telemetryFlow sends telemetry from every device and checks it at every front
// end. The header's t0 carries the time at which the frame was due, and the
// frame's last value is a check word over device and seq, so that a header with
// another frame's body is detected.
type telemetryFlow struct {
	w       *world
	gen     *generator
	samples uint64 // a frame
	size    int    // of a frame, in bytes
	kind    uint32 // version, kind, format and flags as sent
	shape   uint64 // dt, channels and count as sent
	lat     recorder
	foreign int64 // frames of streams that are not ours
	corrupt int64 // frames that differ from the frame sent
}

func newTelemetryFlow(w *world, sched schedule, until int64) *telemetryFlow {
	f := &telemetryFlow{w: w, samples: uint64(w.o.Samples)}
	f.gen = &generator{sched: sched, until: until, build: f.build}
	samplesPerSecond := w.o.framesPerSecond() * float64(w.o.Samples) / float64(w.o.Devices)
	h := protocol.TelemetryHeader{
		Kind: protocol.KindSamples, Format: protocol.FormatI32, DT: uint32(min(1e9/samplesPerSecond, 1<<32-1)),
		Channels: uint16(w.o.Channels), Count: uint16(w.o.Samples),
	}
	header := h.Append(nil)
	f.kind, f.shape = binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint64(header[24:])
	body := make([]byte, h.BodySize())
	f.size = len(header) + len(body)
	for i := range len(body) / valueSize {
		binary.LittleEndian.PutUint32(body[i*valueSize:], uint32(i))
	}
	for _, c := range w.devices[:w.o.Devices] {
		// A mask key of 0 is legal and leaves the payload readable, so that a
		// frame is patched in place instead of masked anew.
		wire := wsframe.AppendMaskedFrame(nil, wsframe.OpBinary, 0, append(header[:headerSize:headerSize], body...))
		f.gen.add(c, wire, len(wire)-headerSize-len(body))
	}
	for _, c := range w.frontends {
		c.streams = make([]streamState, w.o.Devices)
	}
	return f
}

// build appends the next frame of s: its wire form with seq, t0 and check word
// patched in.
func (f *telemetryFlow) build(dst []byte, s *sender, _ uint64, due int64) []byte {
	frame := s.wire[s.patch:]
	binary.LittleEndian.PutUint64(frame[8:], s.units)
	binary.LittleEndian.PutUint64(frame[16:], uint64(due))
	binary.LittleEndian.PutUint32(frame[len(frame)-valueSize:], checkWord(s.index, s.units))
	s.units += f.samples
	return append(dst, s.wire...)
}

// checkWord differs between neighbouring frames and between devices.
func checkWord(device int, seq uint64) uint32 {
	return uint32(seq)*0x9e3779b1 ^ uint32(device)*0x85ebca6b
}

// receive processes a frame that arrived at a front end.
func (f *telemetryFlow) receive(c *conn, frame []byte, now int64) {
	if len(frame) < headerSize {
		f.damaged(c, -1, frame)
		return
	}
	stream := binary.LittleEndian.Uint32(frame[4:])
	device := c.lastDevice
	if stream != c.lastStream || !c.lastValid {
		var ok bool
		if device, ok = c.table.device(stream); !ok || device >= len(c.streams) {
			f.foreign++
			return
		}
		c.lastStream, c.lastDevice, c.lastValid = stream, device, true
	}
	// Nothing but stream, seq and t0 differs between frames of one run.
	seq := binary.LittleEndian.Uint64(frame[8:])
	if len(frame) != f.size || binary.LittleEndian.Uint32(frame) != f.kind || binary.LittleEndian.Uint64(frame[24:]) != f.shape ||
		binary.LittleEndian.Uint32(frame[len(frame)-valueSize:]) != checkWord(device, seq) {
		f.damaged(c, device, frame)
		return
	}
	c.streams[device].observe(&c.tally, seq, f.samples)
	c.frames++
	f.lat.record(int64(binary.LittleEndian.Uint64(frame[16:])), now)
}

// damaged counts a frame that differs from every sent frame; device -1:
// unknown.
func (f *telemetryFlow) damaged(c *conn, device int, frame []byte) {
	f.corrupt++
	var h protocol.TelemetryHeader
	if err := h.Parse(frame); err != nil {
		f.w.problems.add(problemCorrupt, "%s: frame of device %d: %v", c, device, err)
		return
	}
	f.w.problems.add(problemCorrupt, "%s: frame of device %d, seq %d is not as it was sent", c, device, h.Seq)
}

// lost processes gateway.lost at a front end.
func (f *telemetryFlow) lost(c *conn, l *protocol.Lost) {
	device, ok := c.table.device(l.Stream)
	if !ok || device >= len(c.streams) {
		return // of a stream that is not ours
	}
	c.streams[device].report(&c.tally, l.From, l.To)
}

// sent is how many samples the devices have written.
func (f *telemetryFlow) sent() (n uint64) {
	for _, s := range f.gen.senders {
		n += s.units
	}
	return n
}

// settled reports whether all due frames were written and are received or
// reported as lost at every open front end.
func (f *telemetryFlow) settled() bool {
	if f.gen.pending() {
		return false
	}
	sent := f.sent()
	for _, c := range f.w.frontends {
		if c.state == stateOpen && c.tally.accounted() < sent {
			return false
		}
	}
	return true
}

// finish completes the counts of every stream.
func (f *telemetryFlow) finish() {
	for _, c := range f.w.frontends {
		for i := range c.streams {
			c.streams[i].finish(&c.tally, f.gen.senders[i].units)
		}
	}
}
