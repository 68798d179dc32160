//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/labgate/labgate/bench/peers/load"
	"github.com/labgate/labgate/bench/peers/search"
	"github.com/labgate/labgate/bench/peers/target"
	"github.com/labgate/labgate/bench/peers/wire"
)

// shapeCase has the settings of the two cases of a shape.
type shapeCase struct {
	shape              wire.Shape
	light, saturation  string
	lightRate, minRate float64
	start              float64
	tick               time.Duration
}

func (o *Options) shapeCases() map[string]shapeCase {
	return map[string]shapeCase{
		"fan-out": {wire.FanOut, caseFanOutLight, caseFanOut, o.FanOutLight, 10, o.FanOutStart, o.FanOutTick},
		"unicast": {wire.Unicast, caseUniLight, caseUni, o.UniLight, 500, o.UniStart, o.UniTick},
	}
}

const (
	lightTries = 4
	// disturbedTries is how many steps of a search are tried again because
	// other programs may have disturbed them; after that, disturbed steps
	// count.
	disturbedTries = 6
	maxRate        = 5e6 // messages/s sent
	// The region of the highest rate is found with steps that double and then
	// halve the distance, the rate itself from its lower end on.
	scoutFactor, scoutPrecision = 2, 1.25
	fineFactor                  = 1.08
)

// light measures a target at the light load, which is the same for all targets.
// While other programs keep the machine busy, light tries again and keeps the
// least disturbed step. The choice depends on the CPU time of the other
// programs, not on the target's figures.
func (r *runner) light(ctx context.Context, b *bed, c *shapeCase, rec *Record) error {
	why := ""
	for range lightTries {
		out, err := b.step(ctx, load.Step{Rate: c.lightRate, Warmup: r.o.Warmup, Measure: r.o.Measure})
		if err != nil {
			return err
		}
		rec.Tries = append(rec.Tries, newTry(out))
		if !out.Clean {
			why = out.Why
			continue
		}
		if rec.Outcome == nil || out.Foreign < rec.Outcome.Foreign {
			rec.Outcome = out
		}
		if out.Quiet() {
			break
		}
	}
	if rec.Outcome == nil {
		return fmt.Errorf("%s, %s: not clean in %d tries: %s", b.t.Name, c.light, lightTries, why)
	}
	return nil
}

// saturation finds the highest rate of a target. The first time it looks for
// the region with short steps; later it begins where the last round ended.
func (r *runner) saturation(ctx context.Context, b *bed, c *shapeCase, rec *Record) error {
	k := key{b.t.Name, c.saturation}
	start := r.best[k]
	if start == 0 {
		plan := search.Plan{Start: c.start, Factor: scoutFactor, Precision: scoutPrecision, Min: c.minRate, Max: maxRate}
		var err error
		if start, err = search.Highest(plan, r.try(ctx, b, c, rec, r.o.ScoutWarmup, r.o.Scout)); err != nil {
			return fmt.Errorf("%s, %s: %w", b.t.Name, c.saturation, err)
		}
		rec.Outcome, rec.LoadLimited = nil, false
	}
	plan := search.Plan{Start: start, Factor: fineFactor, Precision: r.o.Precision, Retries: 1, Min: c.minRate, Max: maxRate}
	best, err := search.Highest(plan, r.try(ctx, b, c, rec, r.o.Warmup, r.o.Measure))
	if err != nil {
		return fmt.Errorf("%s, %s: %w", b.t.Name, c.saturation, err)
	}
	r.best[k] = best
	return nil
}

// try keeps the outcome of the highest clean rate in rec, and whether the load
// program was what ended the search.
func (r *runner) try(ctx context.Context, b *bed, c *shapeCase, rec *Record, warmup, measure time.Duration) search.Try {
	lowest := maxRate * 2 // rate that was not sustained
	again := disturbedTries
	once := func(rate float64) (*load.Outcome, error) {
		out, err := b.step(ctx, load.Step{Rate: rate, Warmup: warmup, Measure: measure, Tick: c.tick})
		if err == nil {
			rec.Tries = append(rec.Tries, newTry(out))
			r.out.progress("%s, %s: %8.0f/s  %s", b.t.Name, c.saturation, rate, rec.Tries[len(rec.Tries)-1])
		}
		return out, err
	}
	return func(rate float64) (bool, error) {
		out, err := once(rate)
		for err == nil && out.Disturbed && again > 0 {
			again--
			out, err = once(rate)
		}
		if err != nil {
			return false, err
		}
		switch {
		case !out.Clean && rate <= lowest:
			lowest, rec.LoadLimited = rate, out.LoadLimited
		case out.Clean && rate >= lowest: // at the second try
			lowest, rec.LoadLimited = maxRate*2, false
		}
		if out.Clean && (rec.Outcome == nil || rate > rec.Outcome.Rate) {
			rec.Outcome = out
		}
		return out.Clean, nil
	}
}

// idle measures the memory of connections without traffic.
func (r *runner) idle(ctx context.Context, t *target.Target, rec *Record) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.IdleTimeout)
	defer cancel()
	server, err := target.Start(ctx, t, r.o.place())
	if err != nil {
		return err
	}
	defer server.Stop()
	before, err := server.RSS()
	if err != nil {
		return err
	}
	begun := time.Now()
	pop, err := load.Open(ctx, load.Options{Addr: server.Addr, Protocol: t.Protocol, Shape: wire.Idle, Text: t.Protocol.TextOnly(), Receivers: r.o.Connections})
	if err != nil {
		return fmt.Errorf("%s, idle: %w", t.Name, err)
	}
	defer pop.Close()
	opened := time.Since(begun)
	ended, err := pop.Hold(ctx, r.o.Hold)
	if err != nil {
		return err
	}
	if ended > 0 {
		return fmt.Errorf("%s, idle: %d connections were ended by the server", t.Name, ended)
	}
	after, err := server.RSS()
	if err != nil {
		return err
	}
	rec.Idle = &IdleResult{
		Connections: r.o.Connections, OpenSeconds: opened.Seconds(), RSSBeforeKiB: before, RSSKiB: after,
		PerConnKiB: float64(after-before) / float64(r.o.Connections),
	}
	return nil
}

// limit runs the physical limit of bench/limit.
func (r *runner) limit(ctx context.Context, rec *Record) error {
	bin := filepath.Join(r.o.Bin, "limit")
	args := []string{bin, "stream", "-json", "-receivers", strconv.Itoa(r.o.Receivers), "-payload", strconv.Itoa(load.PayloadSize),
		"-duration", r.o.Measure.String(), "-warmup", r.o.Warmup.String()}
	if r.o.ServerCPU >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(r.o.ServerCPU)}, args...)
		args = append(args, "-receiver-cpu", strconv.Itoa(loadCPU()))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("limit: %w %s", err, stderr.Bytes())
	}
	rec.Limit = &LimitResult{}
	err = json.Unmarshal(out, rec.Limit)
	if err == nil && !rec.Limit.Verified {
		err = errors.New("limit: not every byte arrived")
	}
	return err
}
