//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/labgate/labgate/bench/peers/load"
	"github.com/labgate/labgate/bench/peers/target"
	"github.com/labgate/labgate/bench/peers/wire"
)

// openWithin bounds the making of a population that is not idle.
const openWithin = 20 * time.Second

// bed is a target under load: its server and a population. After a step that
// was not clean both are given up, and the next one meets new ones.
type bed struct {
	o      *Options
	t      *target.Target
	shape  wire.Shape
	server *target.Server
	pop    *load.Population
}

// step tries a rate.
func (b *bed) step(ctx context.Context, s load.Step) (*load.Outcome, error) {
	if b.pop == nil {
		if err := b.open(ctx); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", b.t.Name, b.shape, err)
		}
	}
	s.ServerCPU = b.server.CPU
	out, err := b.pop.Step(ctx, s)
	if err != nil {
		err = fmt.Errorf("%s, %s at %.0f/s: %w", b.t.Name, b.shape, s.Rate, err)
	}
	if err != nil || !out.Clean {
		b.close()
	}
	return out, err
}

func (b *bed) open(ctx context.Context) (err error) {
	if b.server, err = target.Start(ctx, b.t, b.o.place()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	b.pop, err = load.Open(ctx, load.Options{
		Addr: b.server.Addr, Protocol: b.t.Protocol, Shape: b.shape,
		Text: b.shape == wire.Unicast || b.t.Protocol.TextOnly(), Receivers: b.o.Receivers,
	})
	if err != nil {
		b.close()
	}
	return err
}

func (b *bed) close() {
	if b.pop != nil {
		b.pop.Close()
		b.pop = nil
	}
	if b.server != nil {
		b.server.Stop()
		b.server = nil
	}
}

func (o *Options) place() *target.Place { return &target.Place{Bin: o.Bin, CPU: o.ServerCPU} }
