package main

import (
	"context"
	"fmt"
	"net"

	"github.com/labgate/labgate/cluster"
)

// check tries the addresses and Redis: errors are an address that the gateway
// cannot listen on, and a Redis that cannot be used. Both listeners are open at
// the same time, so that check also detects equal addresses. bus is nil without
// --redis.
func (c *ServeCmd) check(ctx context.Context, bus *cluster.Bus) error {
	for _, l := range []struct{ option, address string }{
		{"--listen", c.Server.Listen}, {"--admin-listen", c.Server.AdminListen},
	} {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", l.address)
		if err != nil {
			return explainListen(fmt.Errorf("%s: %w", l.option, err))
		}
		defer ln.Close()
	}
	if bus != nil {
		defer bus.Leave()
		if err := bus.Check(); err != nil {
			return fmt.Errorf("--redis: %s", withoutPackage(err))
		}
	}
	return nil
}
