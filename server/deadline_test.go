package server

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestHandshakeDeadlineEndsWithTheHandshake opens many connections at once:
// none may be closed later by the deadline that its handshake had.
func TestHandshakeDeadlineEndsWithTheHandshake(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		const timeout, dialers, each = 5 * time.Second, 4, 25
		g := start(t, m, func(o *Options) { o.HandshakeTimeout = timeout })
		var all sync.WaitGroup
		for d := range dialers {
			all.Go(func() {
				for i := range each {
					if _, err := g.tryUpgrade(fmt.Sprintf("/ws/frontend/u%d.%d", d, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		time.Sleep(timeout + 200*time.Millisecond)
		if n := g.manager.Len(); n != dialers*each {
			t.Errorf("%d of %d sessions are left", n, dialers*each)
		}
	})
}
