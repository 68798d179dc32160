package acceptance

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// The event loop serves thousands of connections with a handful of goroutines.
func TestTwoThousandConnectionsFewGoroutines(t *testing.T) {
	const devices, frontends, most = 1900, 100, 40
	g := startGateway(t)
	var all sync.WaitGroup
	next := make(chan string)
	for range 16 {
		all.Go(func() {
			for path := range next {
				if p, err := tryConnect(t, g.addr, path, 0); err != nil {
					t.Errorf("%s: %v", path, err)
				} else if m, err := p.next(10 * time.Second); err != nil || m.text.Type != protocol.TypeWelcome {
					t.Errorf("%s: first message %q, %v", path, m.text.Type, err)
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
	if n := g.metric(t, "labgate_sessions"); n != devices+frontends {
		t.Fatalf("%v sessions, want %d", n, devices+frontends)
	}
	eventually(t, 5*time.Second, "goroutines settle", func() bool { return g.metric(t, "go_goroutines") <= most })
	t.Logf("%v goroutines and %d KiB for %d connections", g.metric(t, "go_goroutines"), g.residentKiB(t), devices+frontends)
}
