package acceptance

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
)

// TestRFC6455 checks each rule with the shipped binary, in each mode, with the
// bytes in one write, one by one, and split in two at every position.
func TestRFC6455(t *testing.T) {
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := startEcho(t, m, "--max-message", fmt.Sprint(echoLimit))
			jobs := make(chan rfcCase)
			var workers sync.WaitGroup
			for range 8 {
				workers.Go(func() {
					for c := range jobs {
						if err := runCase(g, m, c); err != nil {
							t.Errorf("section %s, %s: %v", c.section, c.name, err)
						}
					}
				})
			}
			for _, c := range rfcCases() {
				jobs <- c
			}
			close(jobs)
			workers.Wait()
			if n := g.Metric("labgate_panics_total"); n != 0 {
				t.Errorf("%v panics", n)
			}
			gatewaytest.Eventually(t, "all sessions are gone", func() bool { return g.Metric("labgate_connections") == 0 })
		})
	}
}

// runCase runs a case for every split, on one connection as long as that stays
// open.
func runCase(g *gatewaytest.Gateway, m echoMode, c rfcCase) error {
	var p *echoPeer
	defer func() {
		if p != nil {
			p.Conn.Close()
		}
	}()
	// -1: byte by byte; 0: whole.
	for cut := -1; cut < len(c.sent); cut++ {
		if cut > 80 && cut < len(c.sent)-4 || cut == -1 && len(c.sent) > 300 {
			continue // within a long payload
		}
		if p == nil {
			var err error
			if p, err = dialEcho(g, m); err != nil {
				return fmt.Errorf("handshake: %w", err)
			}
		}
		_ = p.Conn.SetDeadline(time.Now().Add(gatewaytest.Patience))
		sendCut(p, c.sent, cut)
		if err := expectCase(p, c); err != nil {
			return fmt.Errorf("split at %d: %w", cut, err)
		}
		if c.code != 0 {
			p.Conn.Close()
			p = nil
		}
	}
	return nil
}

// sendCut writes b in pieces that the gateway usually reads one by one. The
// gateway may close the connection before it has read everything.
func sendCut(p *echoPeer, b []byte, cut int) {
	if cut == 0 {
		_ = p.Write(b)
		return
	}
	if cut > 0 {
		_ = p.Write(b[:cut])
		time.Sleep(300 * time.Microsecond)
		_ = p.Write(b[cut:])
		return
	}
	for i := range b {
		if err := p.Write(b[i : i+1]); err != nil {
			return
		}
	}
}

// expectCase reads the expected frames of a case.
func expectCase(p *echoPeer, c rfcCase) error {
	var messages []echoed
	var pongs []string
	for len(messages) < len(c.messages) || len(pongs) < len(c.pongs) || c.code != 0 {
		f, err := p.next()
		if err != nil {
			return fmt.Errorf("after %v, pongs %q: %w", messages, pongs, err)
		}
		switch f.op {
		case wsframe.OpPong:
			pongs = append(pongs, f.data)
		case wsframe.OpClose:
			if code, _ := wsframe.ParseClose([]byte(f.data)); code != c.code {
				return fmt.Errorf("closed with %d, want %d", code, c.code)
			}
			if !slices.Equal(messages, c.messages) || !slices.Equal(pongs, c.pongs) {
				return fmt.Errorf("before the close came %v, pongs %q", messages, pongs)
			}
			return p.end(f.data)
		default:
			messages = append(messages, f)
		}
	}
	if !slices.Equal(messages, c.messages) || !slices.Equal(pongs, c.pongs) {
		return fmt.Errorf("%v, pongs %q", messages, pongs)
	}
	return nil
}
