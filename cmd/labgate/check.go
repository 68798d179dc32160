package main

import (
	"context"
	"fmt"
	"net"

	"github.com/labgate/labgate/cluster"
)

// check finds what only trying shows: addresses that cannot be listened on, and a
// Redis that cannot be used. Both addresses are held at the same time, so that
// one address for both is found, too. bus is nil for a gateway that is alone.
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
