package acceptance

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// The event loop serves thousands of connections with a handful of goroutines.
func TestTwoThousandConnectionsFewGoroutines(t *testing.T) {
	t.Parallel()
	const devices, frontends, most = 1900, 100, 40
	g := gatewaytest.StartGateway(t)
	var all sync.WaitGroup
	next := make(chan string)
	for range 16 {
		all.Go(func() {
			for path := range next {
				if p, err := (gatewaytest.Dialer{}).TryConnect(t, g.Addr, path); err != nil {
					t.Errorf("%s: %v", path, err)
				} else if m, err := p.Next(10 * time.Second); err != nil || m.Text.Type != protocol.TypeWelcome {
					t.Errorf("%s: first message %q, %v", path, m.Text.Type, err)
				}
			}
		})
	}
	for i := range devices {
		next <- fmt.Sprintf("/ws/device/d-%d", i)
	}
	for i := range frontends {
		next <- fmt.Sprintf("/ws/frontend/u-%d", i)
	}
	close(next)
	all.Wait()
	if n := g.Metric("labgate_sessions"); n != devices+frontends {
		t.Fatalf("%v sessions, want %d", n, devices+frontends)
	}
	gatewaytest.Eventually(t, "goroutines settle", func() bool { return g.Metric("go_goroutines") <= most })
	t.Logf("%v goroutines and %d KiB for %d connections", g.Metric("go_goroutines"), g.ResidentKiB(), devices+frontends)
}
