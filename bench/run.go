package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/labgate/labgate/bench/internal/wsconn"
)

// errIncomplete ends a run in which not all connections were opened; the
// problems say why.
var errIncomplete = errors.New("bench: not all connections are open")

// runner carries one run from its options to its report.
type runner struct {
	o      Options
	report *Report
	before serverSample // before the first connection
	goros  int64        // likewise
}

// Run runs one scenario and returns its report. The error is an *Error when the
// run finished but a message was lost, damaged or unanswered, or a connection
// was closed unexpectedly; then, and when the run ended early, the report is
// partial. The report is nil only when the options are invalid.
//
// Run occupies the calling goroutine until Options.Timeout at the latest, and
// leaves no goroutine or connection behind.
func Run(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := raiseFileLimit(o.connections()); err != nil {
		return nil, err
	}
	if o.AdminURL != "" {
		if _, err := parseTarget(ctx, "admin-url", o.AdminURL, o.AllowRemote); err != nil {
			return nil, err
		}
	}
	if o.Prefix == "" {
		var b [4]byte
		_, _ = rand.Read(b[:]) // never fails
		o.Prefix = "bench-" + hex.EncodeToString(b[:])
	}
	r := &runner{o: o, report: newReport(&o)}
	r.before = sampleServer(&o)
	if r.before.err != nil {
		return nil, r.before.err
	}
	var err error
	if r.goros, err = sampleGoroutines(&o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.Timeout, fmt.Errorf("bench: not finished within --timeout %v", o.Timeout))
	defer cancel()
	defer wsconn.PreciseTimers()()

	var found problems
	switch {
	case o.Saturate:
		err = r.saturate(ctx, &found)
	case o.Scenario == ScenarioCluster:
		err = r.cluster(ctx, &found)
	case o.Scenario == ScenarioIdle:
		err = r.idle(ctx, &found)
	case o.Scenario == ScenarioStorm:
		err = r.storm(ctx, &found)
	default:
		err = r.fixed(ctx, &found)
	}
	if err != nil && !errors.Is(err, errIncomplete) {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		found.add(problemRun, "%v", err)
	}
	r.report.Problems = found.list
	r.report.OK = len(found.list) == 0
	switch {
	case err != nil && !errors.Is(err, errIncomplete):
		return r.report, err
	case !r.report.OK:
		return r.report, &Error{Problems: found.list}
	}
	return r.report, nil
}

// serverResult compares two marks.
func (r *runner) serverResult(a, b mark) *ServerResult {
	if !r.o.knowsProcess() && r.o.AdminURL == "" {
		return nil
	}
	s := &ServerResult{
		CPUSeconds:   b.server.cpuSeconds - a.server.cpuSeconds,
		RSSBeforeKiB: r.before.rssKiB, RSSKiB: b.server.rssKiB, PeakRSSKiB: b.server.peakKiB,
		GoroutinesBefore: r.goros,
	}
	if seconds := float64(b.at-a.at) / 1e9; seconds > 0 {
		s.CPUShare = s.CPUSeconds / seconds
	}
	if n := b.deliveries - a.deliveries; n > 0 {
		s.CPUPerDelivery = s.CPUSeconds * 1e6 / float64(n)
	}
	return s
}

func loadResult(a, b mark) *LoadResult {
	l := &LoadResult{CPUSeconds: b.own - a.own}
	if seconds := float64(b.at-a.at) / 1e9; seconds > 0 {
		l.CPUShare = l.CPUSeconds / seconds
		l.BytesPerS = float64(b.bytesIn-a.bytesIn) / seconds
	}
	if n := b.deliveries - a.deliveries; n > 0 {
		l.PerMessage = l.CPUSeconds * 1e6 / float64(n)
	}
	return l
}

// goroutines completes s while the connections are open. Other problems show if
// the gateway has ended.
func (r *runner) goroutines(s *ServerResult) {
	if s != nil {
		s.Goroutines, _ = sampleGoroutines(&r.o)
	}
}
