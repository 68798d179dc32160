package bench

import (
	"context"
	"time"
)

// fixed runs fanout, unicast, telemetry or commands at one rate.
func (r *runner) fixed(ctx context.Context, found *problems) error {
	t, err := r.trial(ctx, &r.o, r.o.Prefix, r.o.Duration, r.o.Timeout)
	if t != nil {
		r.report.Results = t.results
		found.merge(&t.problems)
	}
	return err
}

// trial is one population at one rate.
type trial struct {
	results  Results
	problems problems
	rest     outcome
	drained  int64 // ns from the last due message to the last delivery
}

// trial opens a population, warms up, measures for a time, waits up to longest
// for the rest, verifies and closes.
func (r *runner) trial(ctx context.Context, o *Options, prefix string, measure, longest time.Duration) (*trial, error) {
	w, err := newWorld(ctx, o, prefix)
	if err != nil {
		return nil, err
	}
	defer w.close()
	w.progress = newProgress(w)
	defer w.progress.end()
	t := &trial{}
	defer func() { t.problems.merge(&w.problems) }()

	if t.results.Connects, err = w.populate(ctx); err != nil {
		return t, err
	}
	start := w.clock.now() + int64(startDelay)
	if o.FrontendTarget != "" && o.fansOut() {
		start += int64(crossDelay)
	}
	from := start + int64(o.Warmup)
	until := from + int64(measure)
	w.startTraffic(start, until)
	w.phase(phaseWarmup, start, false)
	w.phase(phaseMeasured, from, true)
	w.progress.begin(o.Scenario, start, until)

	err = w.run(ctx, from, nil)
	a := w.mark()
	if err == nil {
		err = w.run(ctx, until, nil)
	}
	b := w.mark()
	if err == nil {
		t.rest, t.drained, err = w.drain(ctx, longest)
	}
	t.results.Server, t.results.Load = r.serverResult(a, b), loadResult(a, b)
	t.results.Load.Late = w.lateness(phaseMeasured)
	r.goroutines(t.results.Server)
	w.finishTraffic(t, a, b)
	if err == nil {
		w.goodbye(ctx)
	}
	return t, err
}

// finishTraffic verifies the flows and fills in their results.
func (w *world) finishTraffic(t *trial, a, b mark) {
	res := &t.results
	res.Seconds = float64(b.at-a.at) / 1e9
	perSecond := func(n uint64) float64 {
		if res.Seconds <= 0 {
			return 0
		}
		return float64(n) / res.Seconds
	}
	drained := float64(t.drained) / 1e6
	if f := w.telemetry; f != nil {
		f.finish()
		d, sum := newDelivery(f.gen, w.frontends)
		d.Expected = d.UnitsSent * uint64(len(w.frontends))
		d.Corrupt, d.Foreign = f.corrupt, f.foreign
		d.PerSecond = perSecond(b.telemetry - a.telemetry)
		d.UnitsPerS = d.PerSecond * float64(f.samples)
		d.Drained, d.Latency, d.SendLag = drained, f.lat.summary(phaseMeasured), f.gen.lag.summary(phaseMeasured)
		res.Telemetry = d
		w.judge(t, &sum, d.FramesUnsent, "samples")
	}
	if f := w.unicast; f != nil {
		f.finish()
		d, sum := newDelivery(f.gen, w.devices)
		d.Expected = d.UnitsSent
		d.PerSecond = perSecond(b.unicast - a.unicast)
		d.UnitsPerS = d.PerSecond
		d.Drained, d.Latency, d.SendLag = drained, f.lat.summary(phaseMeasured), f.gen.lag.summary(phaseMeasured)
		res.Unicast = d
		w.judge(t, &sum, d.FramesUnsent, "messages")
	}
	if f := w.commands; f != nil {
		f.finish()
		res.Commands = f.result(phaseMeasured)
		res.Commands.PerSecond = perSecond(b.answers - a.answers)
	}
}

// newDelivery sums up the receivers' counts of a generator's messages.
func newDelivery(g *generator, receivers []*conn) (*DeliveryResult, tally) {
	d, sum := &DeliveryResult{}, tally{}
	for _, s := range g.senders {
		d.FramesSent += s.sent
		d.FramesUnsent += s.owed
		d.UnitsSent += s.units
	}
	for _, c := range receivers {
		sum.add(&c.tally)
		d.Frames += c.frames
	}
	d.Received, d.LostReported, d.Missing = sum.received, sum.lost, sum.missing
	d.Duplicates, d.Disorder, d.FalseLost = sum.duplicates, sum.disorder, sum.falseLost
	return d, sum
}

// judge adds problems for wrong counts. When the drain was cut short, messages
// in flight do not count as missing.
func (w *world) judge(t *trial, sum *tally, unsent uint64, what string) {
	if t.rest == cutRest {
		sum.missing = 0
	}
	w.problems.addTally(sum, what, w.o.AllowLoss)
	w.problems.addN(problemNotSent, unsent, "%d messages were due and not taken by the gateway", unsent)
}

// result sums up the commands of one phase.
func (f *commandFlow) result(phase string) *CommandResult {
	sent := f.gen.sent()
	w := f.w
	w.problems.addN(problemDuplicate, f.duplicates, "%d commands or answers", f.duplicates)
	w.problems.addN(problemDisorder, f.disorder, "%d commands", f.disorder)
	return &CommandResult{
		Sent: sent, Delivered: f.delivered, Answered: f.answered, Refused: f.refused,
		Unanswered: sent - f.answered - f.refused, Duplicates: f.duplicates, Disorder: f.disorder,
		Latency: f.lat.summary(phase), Urgent: f.latUrg.summary(phase), SendLag: f.gen.lag.summary(phase),
	}
}
