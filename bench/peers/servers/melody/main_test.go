//go:build linux

package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/labgate/labgate/bench/peers/load"
	"github.com/labgate/labgate/bench/peers/wire"
)

// The server and the client side of its protocol agree: everything that is
// sent arrives, in order and unchanged. (No goleak: the library leaves goroutines
// behind when it is shut down.)
func TestEverythingArrives(t *testing.T) {
	for name, p := range map[string]wire.Protocol{"hub": wire.Hub{}} {
		for _, shape := range []wire.Shape{wire.FanOut, wire.Unicast} {
			ln, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- serve(ctx, ln) }()
			pop, err := load.Open(ctx, load.Options{
				Addr: netip.MustParseAddrPort(ln.Addr().String()), Protocol: p, Shape: shape, Text: shape == wire.Unicast || p.TextOnly(), Receivers: 5,
			})
			if err != nil {
				t.Fatalf("%s, %s: %v", name, shape, err)
			}
			o, err := pop.Step(ctx, load.Step{Rate: 1000, Measure: 200 * time.Millisecond})
			if err != nil || o.Missing+o.Late+o.Corrupt+o.Misrouted+o.Closed > 0 || o.Received == 0 || o.Clean && o.Received != o.Expected {
				t.Errorf("%s, %s: %+v, %v", name, shape, o, err)
			}
			pop.Close()
			stop()
			if err := <-ended; err != nil {
				t.Errorf("%s, %s: %v", name, shape, err)
			}
		}
	}
}
