//go:build linux

package load

import (
	"context"
	"fmt"
	"time"

	"github.com/labgate/labgate/bench/internal/host"
	"github.com/labgate/labgate/bench/internal/stats"
	"github.com/labgate/labgate/bench/peers/wire"
)

const (
	startDelay = 5 * time.Millisecond  // before the first message is due
	linger     = 10 * time.Millisecond // after the last delivery, to notice duplicates
	// A backlog that takes longer to drain counts as growing. A backlog of a
	// few percent of a step is allowed, because servers that join messages need
	// a backlog for their highest rate.
	maxBacklog = 50 * time.Millisecond
	// This share of a step's deliveries may be late by up to maxStraggle without
	// counting as a backlog: a server may leave the last message of a few
	// connections until its next timeout. None of them may be lost.
	stragglers  = 0.005
	maxStraggle = time.Second
	// cpuFull is the part of its core from which on the load program, not the
	// server, may be what limits a step.
	cpuFull = 0.97
	// A step was disturbed when other programs took more than ForeignShare, or
	// when the load program was late although it was idle for a part of the step.
	cpuFree = 0.9
)

// ForeignShare is the share of a core that other programs on the machine may take
// without disturbing a step.
const ForeignShare = 0.1

// Step is one rate to be tried.
type Step struct {
	Rate    float64       // messages/s sent, by all senders
	Warmup  time.Duration // verified like the rest, but not measured
	Measure time.Duration
	// Tick is the least time between two passes over the senders. Messages that
	// become due within a tick leave in one write for each connection.
	Tick time.Duration
	// ServerCPU reads the CPU time of the server so far, in seconds.
	ServerCPU func() (float64, error)
}

// Outcome is the result of a step. Times are those of the measured part, counts
// those of the whole step.
type Outcome struct {
	Rate        float64 `json:"rate"` // messages/s sent
	Clean       bool    `json:"clean"`
	Why         string  `json:"why,omitempty"`          // when not clean
	LoadLimited bool    `json:"load_limited,omitempty"` // the load program, not the server, spoiled it
	Disturbed   bool    `json:"disturbed,omitempty"`    // other programs on the machine may have spoiled it
	Sent        uint64  `json:"sent"`
	Expected    uint64  `json:"expected"` // deliveries
	Received    uint64  `json:"received"`
	Missing     uint64  `json:"missing,omitempty"`
	Late        uint64  `json:"duplicate_or_late,omitempty"`
	Corrupt     uint64  `json:"corrupt,omitempty"`
	Misrouted   uint64  `json:"misrouted,omitempty"`
	Closed      uint64  `json:"closed,omitempty"` // connections, by the server

	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"deliveries_per_s"`
	CPUPerM   float64 `json:"server_cpu_s_per_million"` // deliveries
	CPUShare  float64 `json:"server_cpu_share"`         // of one core
	LoadShare float64 `json:"load_cpu_share"`           // of one core
	Foreign   float64 `json:"foreign_cpu_share"`        // of one core, by other programs on the machine
	LateP99   float64 `json:"load_late_p99_us"`         // of the senders' turns
	P50       float64 `json:"p50_us"`                   // from due to delivered
	P99       float64 `json:"p99_us"`
	Max       float64 `json:"max_us"`
	BacklogMS float64 `json:"backlog_ms"` // from the last due message until all but stragglers were there
	DrainedMS float64 `json:"drained_ms"` // to the last delivery
}

// mark is a reading of all counters at one moment.
type mark struct {
	at       int64
	received uint64
	own      float64
	server   float64
	machine  float64
}

func (p *Population) mark(s *Step) (m mark, err error) {
	m.received, m.own = p.tally.received, host.OwnCPUTime()
	if s.ServerCPU != nil {
		m.server, err = s.ServerCPU()
	}
	if err == nil {
		m.machine, err = host.BusyCPUTime()
	}
	m.at = p.clock.now()
	return m, err
}

// Step tries a rate. After an outcome that is not clean the population cannot
// be used any more. An error means that the outcome is meaningless.
func (p *Population) Step(ctx context.Context, s Step) (*Outcome, error) {
	if s.Rate <= 0 || s.Measure <= 0 {
		return nil, fmt.Errorf("load: rate %g and time %v must be above 0", s.Rate, s.Measure)
	}
	before := p.tally
	sentBefore := p.gen.numbered()
	start := p.clock.now() + int64(startDelay)
	from := start + int64(s.Warmup)
	until := from + int64(s.Measure)
	p.latency.Reset()
	p.measureFrom, p.tick = from, int64(s.Tick)
	p.gen.begin(schedule{start: start, until: until, interval: 1e9 / s.Rate})
	p.ticking, p.nextTick = true, start

	if err := p.run(ctx, from, nil); err != nil {
		return nil, err
	}
	a, err := p.mark(&s)
	if err != nil {
		return nil, err
	}
	if err := p.run(ctx, until, nil); err != nil {
		return nil, err
	}
	b, err := p.mark(&s)
	if err != nil {
		return nil, err
	}
	tolerated := uint64(float64(p.deliveries(p.gen.numbered()+p.gen.owed()-sentBefore)) * stragglers)
	backlog, drained, err := p.drain(ctx, until, tolerated)
	if err != nil {
		return nil, err
	}
	o := p.outcome(&s, &before, sentBefore, a, b)
	o.BacklogMS, o.DrainedMS = float64(backlog)/1e6, float64(drained)/1e6
	o.judge(p)
	return o, nil
}

// drain waits until all deliveries are accounted for, and then a moment longer
// for duplicates. backlog is the time from until to the arrival of all but the
// tolerated deliveries, drained the time to the last delivery. drain gives up
// when either takes too long.
func (p *Population) drain(ctx context.Context, until int64, tolerated uint64) (backlog, drained int64, err error) {
	last, lastAt, mostAt := p.tally.received, until, int64(0)
	settled := func() bool {
		if p.tally.received != last {
			last, lastAt = p.tally.received, p.now
		}
		waiting := p.waitingFor()
		if mostAt == 0 && waiting <= tolerated && !p.ticking {
			mostAt = max(p.clock.now(), until)
		}
		return waiting == 0 && !p.ticking
	}
	err = p.run(ctx, until+int64(maxBacklog), settled)
	if err == nil && mostAt != 0 {
		err = p.run(ctx, until+int64(maxStraggle), settled)
	}
	if err == nil && p.waitingFor() == 0 {
		err = p.run(ctx, p.clock.now()+int64(linger), nil)
	}
	if mostAt == 0 {
		mostAt = p.clock.now()
	}
	return mostAt - until, max(lastAt-until, 0), err
}

// waitingFor returns how many deliveries have neither arrived nor are known to
// be lost.
func (p *Population) waitingFor() uint64 {
	expected, seen := p.deliveries(p.gen.numbered()+p.gen.owed()), p.tally.received+p.tally.missing
	return expected - min(seen, expected)
}

// deliveries returns the number of deliveries of the given number of messages.
func (p *Population) deliveries(messages uint64) uint64 {
	if p.o.Shape == wire.FanOut {
		return messages * uint64(p.receivers)
	}
	return messages
}

func (p *Population) outcome(s *Step, before *tally, sentBefore uint64, a, b mark) *Outcome {
	t := &p.tally
	o := &Outcome{
		Rate: s.Rate, Sent: p.gen.numbered() - sentBefore, Received: t.received - before.received, Missing: t.missing - before.missing,
		Late: t.late - before.late, Corrupt: t.corrupt - before.corrupt, Misrouted: t.misrouted - before.misrouted, Closed: t.closed - before.closed,
	}
	o.Expected = p.deliveries(o.Sent)
	o.Seconds = float64(b.at-a.at) / 1e9
	delivered := float64(b.received - a.received)
	o.PerSecond = delivered / o.Seconds
	o.CPUShare, o.LoadShare = (b.server-a.server)/o.Seconds, (b.own-a.own)/o.Seconds
	o.Foreign = max((b.machine-a.machine)/o.Seconds-o.CPUShare-o.LoadShare, 0)
	if delivered > 0 {
		o.CPUPerM = (b.server - a.server) * 1e6 / delivered
	}
	us := func(h *stats.Histogram, q float64) float64 { return float64(h.Quantile(q)) / 1e3 }
	o.P50, o.P99, o.Max = us(&p.latency, 0.5), us(&p.latency, 0.99), float64(p.latency.Max())/1e3
	o.LateP99 = us(&p.gen.late, 0.99)
	return o
}

// judge sets whether the rate was sustained, or why not.
func (o *Outcome) judge(p *Population) {
	late := time.Duration(o.LateP99 * 1e3)
	switch waiting := p.waitingFor(); {
	case p.tally.faults() > 0:
		o.Why = p.notes.first
		if o.Why == "" {
			o.Why = fmt.Sprintf("%d missing, %d twice or late", o.Missing, o.Late)
		}
	case late > maxBacklog:
		o.Why = fmt.Sprintf("the load program was %v late", late.Round(time.Millisecond))
	case p.gen.owed() > 0:
		o.Why = fmt.Sprintf("the server did not read: %d messages not written", p.gen.owed())
	case o.BacklogMS > float64(maxBacklog)/1e6:
		o.Why = fmt.Sprintf("backlog: %d of %d deliveries not there %v after the step", waiting, o.Expected, maxBacklog)
	case o.Received != o.Expected:
		o.Why = fmt.Sprintf("%d of %d deliveries not there %v after the step", waiting, o.Expected, maxStraggle)
	default:
		o.Clean = true
	}
	if !o.Clean {
		o.Disturbed = !o.Quiet() || late > maxBacklog && o.LoadShare < cpuFree
		o.LoadLimited = !o.Disturbed && (late > maxBacklog || o.LoadShare > cpuFull)
	}
}

// Quiet reports whether other programs took at most ForeignShare during the
// step.
func (o *Outcome) Quiet() bool { return o.Foreign <= ForeignShare }

// Hold keeps the connections for a time, answering pings, and returns how many
// the server has ended.
func (p *Population) Hold(ctx context.Context, d time.Duration) (ended int, err error) {
	err = p.run(ctx, p.clock.now()+int64(d), nil)
	return int(p.tally.closed), err
}
