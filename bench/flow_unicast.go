package bench

// unicastFlow sends text from each front end to the device of the same index,
// and measures one way.
type unicastFlow struct {
	w   *world
	gen *generator
	lat recorder
}

func newUnicastFlow(w *world, sched schedule, until int64) *unicastFlow {
	f := &unicastFlow{w: w}
	f.gen = &generator{sched: sched, until: until, build: f.build}
	payload := textPayload(kindUnicast, w.o.textSize())
	for i, c := range w.frontends {
		wire := textFrame(`{"type":"bench.unicast","dst":`+quoted(w.deviceName(i)), payload)
		f.gen.add(c, wire, checkOffset(wire))
	}
	return f
}

func (f *unicastFlow) build(dst []byte, s *sender, _ uint64, due int64) []byte {
	cf := checkFields{kind: kindUnicast, seq: s.units, due: due, index: s.index}
	cf.put(s.wire[s.patch:])
	s.units++
	return append(dst, s.wire...)
}

// receive processes a message that arrived at a device.
func (f *unicastFlow) receive(c *conn, raw []byte, cf *checkFields, now int64) {
	if cf.index != c.index {
		f.w.problems.add(problemMisrouted, "%s: got a message for device %d", c, cf.index)
		return
	}
	if want := f.w.userSource(c.index); f.w.o.Bare == "" {
		if src := string(field(raw, `"src":`)); src != want {
			f.w.problems.add(problemCorrupt, "%s: src is %q, want %q", c, src, want)
			return
		}
	}
	c.text.observe(&c.tally, cf.seq, 1)
	c.frames++
	f.lat.record(cf.due, now)
}

func (f *unicastFlow) settled() bool {
	if f.gen.pending() {
		return false
	}
	for i, s := range f.gen.senders {
		c := f.w.devices[i]
		if c.state == stateOpen && c.tally.accounted() < s.units {
			return false
		}
	}
	return true
}

func (f *unicastFlow) finish() {
	for i, c := range f.w.devices {
		c.text.finish(&c.tally, f.gen.senders[i].units)
	}
}
