package bench

import (
	"context"
	"fmt"
)

// StormResult is the recovery of connections that were all dropped at once, and
// the latency of the established sessions during the recovery.
type StormResult struct {
	Dropped   int       `json:"dropped"`
	Back      *Connects `json:"back"`           // connect times count from the drop
	Recovered float64   `json:"recovered_s"`    // from the drop until the last one was open again
	Before    *Latency  `json:"latency_before"` // round trips of commands due before the drop
	During    *Latency  `json:"latency_during"` // until all were back
	After     *Latency  `json:"latency_after"`
}

// Phases of the established sessions' commands. The phase before lasts a third
// of the duration; the phase after lasts until the end of the duration, but at
// least a third.
const (
	phaseBefore = "before"
	phaseDuring = "during"
	phaseAfter  = "after"
)

// storm sends commands while other connections are dropped and reconnect.
func (r *runner) storm(ctx context.Context, found *problems) error {
	o := &r.o
	w, err := newWorld(ctx, o, o.Prefix)
	if err != nil {
		return err
	}
	defer w.close()
	w.progress = newProgress(w)
	defer w.progress.end()
	t := &trial{}
	defer func() {
		found.merge(&t.problems)
		found.merge(&w.problems)
	}()
	res := &r.report.Results
	if res.Connects, err = w.populate(ctx); err != nil {
		return err
	}
	extras := w.extraPeers(o.Connections, o.Role)
	more, err := w.connect(ctx, extras)
	res.Connects.merge(more)
	if err != nil || res.Connects.Failed > 0 {
		return orIncomplete(err)
	}

	start := w.clock.now() + int64(startDelay)
	from := start + int64(o.Warmup)
	dropAt := from + int64(o.Duration)/3
	// The flow needs an end, which is not known before the last connection is
	// back: the end is set late enough for the longest possible storm.
	deadline, _ := ctx.Deadline()
	longest := int64(o.Duration) * 2 / 3
	if left := deadline.Sub(w.clock.base).Nanoseconds() + w.clock.wall - dropAt; left > longest {
		longest = left
	}
	until := dropAt + longest
	if n := float64(until-start) / 1e9 * o.commandsPerSecond(); n > maxCommandsARun {
		return &optionError{"rate", fmt.Sprintf("%.0f commands until the timeout, at most %d; lower rate or timeout", n, maxCommandsARun)}
	}
	w.startTraffic(start, until)
	w.phase(phaseWarmup, start, false)
	w.phase(phaseBefore, from, true)
	w.progress.begin("storm", start, dropAt+int64(o.Duration)*2/3)
	if err = w.run(ctx, from, nil); err != nil {
		return err
	}
	a := w.mark()
	if err = w.run(ctx, dropAt, nil); err != nil {
		return err
	}

	dropped := w.clock.now()
	w.phase(phaseDuring, dropped, true)
	storm := &StormResult{Dropped: countOpen(w.extras)}
	res.Storm = storm
	if err = w.drop(w.extras, o.Drop == "reset"); err != nil {
		return err
	}
	ramp := w.beginConnect(extras, len(extras), dropped, true)
	err = w.run(ctx, never, ramp.done)
	storm.Back = ramp.finish()
	storm.Recovered = float64(ramp.ended-dropped) / 1e9
	if err == nil {
		back := w.clock.now()
		w.phase(phaseAfter, back, true)
		end := max(back+int64(o.Duration)/3, from+int64(o.Duration))
		w.commands.gen.until = min(end, until)
		err = w.run(ctx, end, nil)
	}
	b := w.mark()
	if err == nil {
		t.rest, t.drained, err = w.drain(ctx, o.Timeout)
	}
	res.Server, res.Load = r.serverResult(a, b), loadResult(a, b)
	res.Load.Late = w.lateness(phaseDuring)
	r.goroutines(res.Server)
	w.finishTraffic(t, a, b)
	res.Seconds, res.Commands = t.results.Seconds, t.results.Commands
	lat := &w.commands.lat
	storm.Before, storm.During, storm.After = lat.summary(phaseBefore), lat.summary(phaseDuring), lat.summary(phaseAfter)
	if err == nil {
		w.goodbye(ctx)
	}
	return err
}

func orIncomplete(err error) error {
	if err != nil {
		return err
	}
	return errIncomplete
}
