//go:build linux

package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labgate/labgate/bench/peers/target"
	"github.com/labgate/labgate/bench/peers/wire"
)

// runner carries out a run. It belongs to one goroutine.
type runner struct {
	o       *Options
	out     *output
	records []*Record
	best    map[key]float64 // highest rate of the last round
}

// key names a case of a target.
type key struct{ target, name string }

// rounds measures every case of every target once a round. Within a round the
// targets of a case follow each other directly, so that a drift of the machine
// affects them alike, and each round begins with another target.
func (r *runner) rounds(ctx context.Context) error {
	var failed []error
	for round := range r.o.Rounds {
		targets := slices.Clone(r.o.Targets)
		turn := round % len(targets)
		targets = append(targets[turn:], targets[:turn]...)
		for _, name := range r.o.Cases {
			switch name {
			case "limit":
				rec := r.record(round, "plain sockets", caseLimit)
				failed = append(failed, r.keep(rec, r.limit(ctx, rec)))
			case "idle":
				if round >= r.o.IdleRounds {
					continue
				}
				for _, t := range targets {
					if t.Takes(wire.Idle) && ctx.Err() == nil {
						rec := r.record(round, t.Name, caseIdle)
						failed = append(failed, r.keep(rec, r.idle(ctx, t, rec)))
					}
				}
			default:
				c := r.o.shapeCases()[name]
				for _, t := range targets {
					if t.Takes(c.shape) && ctx.Err() == nil {
						failed = append(failed, r.shape(ctx, round, t, &c))
					}
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return errors.Join(append(failed, err)...)
		}
	}
	return errors.Join(failed...)
}

// shape measures a target at the light load and then at saturation.
func (r *runner) shape(ctx context.Context, round int, t *target.Target, c *shapeCase) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.CaseTimeout)
	defer cancel()
	b := &bed{o: r.o, t: t, shape: c.shape}
	defer b.close()
	light := r.record(round, t.Name, c.light)
	err := r.keep(light, r.light(ctx, b, c, light))
	high := r.record(round, t.Name, c.saturation)
	return errors.Join(err, r.keep(high, r.saturation(ctx, b, c, high)))
}

func (r *runner) record(round int, t, name string) *Record {
	return &Record{Type: "measurement", Round: round + 1, Target: t, Case: name, At: time.Now().UTC().Format(time.RFC3339)}
}

// keep writes a record, including a failed one, and the run continues.
func (r *runner) keep(rec *Record, err error) error {
	if err != nil {
		rec.Error, rec.Outcome = err.Error(), nil
	}
	r.records = append(r.records, rec)
	return errors.Join(err, r.out.write(rec))
}

// loadCPU is a processor that this program may use.
func loadCPU() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err == nil {
		for cpu := range 1024 {
			if set.IsSet(cpu) {
				return cpu
			}
		}
	}
	return 0
}
