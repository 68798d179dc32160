package bench

import (
	"bytes"
	"strconv"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// commandFlow sends commands from front ends to devices, which answer at once,
// and measures the round trip. Front end i always asks the same device.
// Command g of the run has g as its id and in its check fields: the gateway
// may replace the id on the way to the device, but must give it back.
type commandFlow struct {
	w      *world
	gen    *generator
	share  float64         // urgent ones
	urgent [][]byte        // wire frames by front end, as in generator.senders
	answer string          // payload of an answer
	out    []byte          // an answer being built
	wire   []byte          // its frame
	states []commandState  // by g
	last   []lastDelivered // by front end
	lat    recorder        // plain commands
	latUrg recorder        // urgent ones

	delivered  uint64 // at devices
	answered   uint64 // at front ends
	refused    uint64 // answered with gateway.error
	duplicates uint64 // delivered or answered again
	disorder   uint64 // delivered after a later one of the same front end and priority
}

type commandState uint8

const (
	commandSent commandState = 1 << iota
	commandDelivered
	commandAnswered
	commandRefused
)

// lastDelivered is the newest command that arrived at the device, plus one,
// plain and urgent.
type lastDelivered [2]uint64

func newCommandFlow(w *world, sched schedule, until int64) *commandFlow {
	f := &commandFlow{w: w, share: w.o.UrgentShare}
	f.gen = &generator{sched: sched, until: until, build: f.build}
	f.states = make([]commandState, sched.count(until))
	f.last = make([]lastDelivered, len(w.frontends))
	f.answer = textPayload(kindAnswer, w.o.textSize())
	payload := textPayload(kindCommand, w.o.textSize())
	for i, c := range w.frontends {
		head := `{"type":"bench.command","id":"0000000000000000","dst":` + quoted(w.deviceName(w.commanded(i))) +
			`,"timeout_ms":` + strconv.FormatInt(max(w.o.CommandTimeout.Milliseconds(), 1), 10)
		plain := textFrame(head, payload)
		f.gen.add(c, plain, checkOffset(plain))
		f.urgent = append(f.urgent, textFrame(head+`,"urgent":true`, payload))
	}
	return f
}

// commanded is the device that a front end's commands are for.
func (w *world) commanded(frontend int) int {
	if k := w.o.CommandDevices; k > 0 {
		return w.o.Devices + frontend%k
	}
	return frontend % len(w.devices)
}

// isUrgent spreads the urgent share evenly over the commands.
func (f *commandFlow) isUrgent(g uint64) bool {
	return uint64(float64(g+1)*f.share) > uint64(float64(g)*f.share)
}

func priority(urgent bool) int {
	if urgent {
		return 1
	}
	return 0
}

func (f *commandFlow) build(dst []byte, s *sender, g uint64, due int64) []byte {
	wire, patch := s.wire, s.patch
	if f.isUrgent(g) {
		wire = f.urgent[s.index]
		patch = checkOffset(wire)
	}
	id := bytes.Index(wire, []byte(`"id":"`)) + len(`"id":"`)
	putHex(wire[id:id+16], g)
	cf := checkFields{kind: kindCommand, seq: g, due: due, index: s.index}
	cf.put(wire[patch:])
	s.units++
	f.states[g] = commandSent
	return append(dst, wire...)
}

// state returns the state of a command, nil if no front end sent such a
// command.
func (f *commandFlow) state(cf *checkFields) *commandState {
	n := uint64(len(f.w.frontends))
	if cf.seq >= uint64(len(f.states)) || f.states[cf.seq] == 0 || cf.seq%n != uint64(cf.index) {
		return nil
	}
	return &f.states[cf.seq]
}

// atDevice processes a command at a device and answers it.
func (f *commandFlow) atDevice(c *conn, raw []byte, cf *checkFields) {
	st := f.state(cf)
	if st == nil || f.w.commanded(cf.index) != c.index {
		f.w.problems.add(problemMisrouted, "%s: got command %x of front end %d", c, cf.seq, cf.index)
		return
	}
	if *st&commandDelivered != 0 {
		f.duplicates++
		return
	}
	*st |= commandDelivered
	f.delivered++
	urgent := f.isUrgent(cf.seq)
	if last := &f.last[cf.index][priority(urgent)]; cf.seq < *last {
		f.disorder++
	} else {
		*last = cf.seq + 1
	}
	id := field(raw, `"id":`)
	if id == nil {
		f.w.problems.add(problemCorrupt, "%s: command %x came without an id", c, cf.seq)
		return
	}
	cf.kind = kindAnswer
	out := append(append(append(f.out[:0], `{"type":"bench.answer","re":"`...), id...), '"')
	if urgent {
		out = append(out, `,"urgent":true`...)
	}
	out = append(append(append(out, `,"payload":`...), f.answer...), '}')
	cf.put(out[checkOffset(out):])
	f.out = out
	f.wire = wsframe.AppendMaskedFrame(f.wire[:0], wsframe.OpText, 0, out)
	c.write(f.wire)
}

// atFrontend processes an answer.
func (f *commandFlow) atFrontend(c *conn, raw []byte, cf *checkFields, now int64) {
	st := f.state(cf)
	re, ok := parseHex(field(raw, `"re":`))
	switch {
	case st == nil || cf.index != c.index:
		f.w.problems.add(problemMisrouted, "%s: got the answer to command %x of front end %d", c, cf.seq, cf.index)
	case !ok || re != cf.seq:
		f.w.problems.add(problemCorrupt, "%s: the answer to command %x says re %q", c, cf.seq, field(raw, `"re":`))
	case *st&(commandAnswered|commandRefused) != 0:
		f.duplicates++
	default:
		*st |= commandAnswered
		f.answered++
		f.record(cf.seq, now)
	}
}

func (f *commandFlow) record(g uint64, now int64) {
	lat := &f.lat
	if f.isUrgent(g) {
		lat = &f.latUrg
	}
	lat.record(f.gen.sched.due(g), now)
}

// failed processes a gateway.error in place of an answer, and returns false if
// re is no command of this run.
func (f *commandFlow) failed(c *conn, re []byte, p *protocol.Error) bool {
	g, ok := parseHex(re)
	st := f.state(&checkFields{seq: g, index: c.index})
	if !ok || st == nil {
		return false
	}
	if *st&(commandAnswered|commandRefused) != 0 {
		f.duplicates++
		return true
	}
	*st |= commandRefused
	f.refused++
	f.w.problems.add(problemRefused, "%s: command %x: %s: %s", c, g, p.Code, p.Message)
	return true
}

// settled reports whether all due commands were written and have an answer.
func (f *commandFlow) settled() bool {
	return !f.gen.pending() && f.answered+f.refused >= f.gen.sent()
}

// finish reports the commands without an answer.
func (f *commandFlow) finish() {
	sent := f.gen.sent()
	if open := sent - f.answered - f.refused; open > 0 {
		f.w.problems.addN(problemUnanswered, open, "%d of %d commands have no answer", open, sent)
	}
}
