package server

import (
	"bufio"
	"fmt"
	"io"
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

// TestSlowHead begins a request and does not end its first line in time: the
// connection is closed, in every mode without an answer, as if the line were
// malformed, and without time for the peer to read one.
func TestSlowHead(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		const timeout = 300 * time.Millisecond
		g := start(t, m, func(o *Options) { o.HandshakeTimeout = timeout })
		for _, before := range []string{"", get("/v1/devices")} {
			conn := g.dial()
			in := bufio.NewReader(conn)
			if before != "" {
				write(t, conn, before)
				if status, body := readAnswer(t, conn, in, "GET"); status != 200 {
					t.Fatalf("%d %s", status, body)
				}
			}
			write(t, conn, "GET /v1/dev")
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if answer, err := io.ReadAll(in); err != nil || len(answer) > 0 {
				t.Errorf("behind %d bytes of a request: %q, %v", len(before), answer, err)
			}
			closed := time.Now()
			g.eventually("the connection is closed", func() bool { return g.admission.Counters().Connections.Load() == 0 })
			if took := time.Since(closed); took > time.Second {
				t.Errorf("behind %d bytes of a request: the connection is kept for %v", len(before), took)
			}
		}
	})
}
