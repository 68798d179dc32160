package acceptance

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
)

// TestRFC6455 holds the shipped binary to each rule, in each mode, with the
// bytes whole, one by one, and split in two at every position.
func TestRFC6455(t *testing.T) {
	for _, m := range echoModes {
		t.Run(m.name, func(t *testing.T) {
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
			if n := g.metric(t, "labgate_panics_total"); n != 0 {
				t.Errorf("%v panics", n)
			}
			eventually(t, patience, "all sessions are gone", func() bool { return g.metric(t, "labgate_connections") == 0 })
		})
	}
}

// runCase runs a case for every split, over one connection as long as that
// lives.
func runCase(g *gateway, m echoMode, c rfcCase) error {
	var p *echoPeer
	defer func() {
		if p != nil {
			p.conn.Close()
		}
	}()
	// -1: byte by byte; 0: whole.
	for cut := -1; cut < len(c.sent); cut++ {
		if cut > 80 && cut < len(c.sent)-4 || cut == -1 && len(c.sent) > 300 {
			continue // within a long payload
		}
		if p == nil {
			var err error
			if p, _, err = dialEcho(g, m, "/ws/echo"); err != nil {
				return fmt.Errorf("handshake: %w", err)
			}
		}
		_ = p.conn.SetDeadline(time.Now().Add(patience))
		sendCut(p, c.sent, cut)
		if err := expectCase(p, c); err != nil {
			return fmt.Errorf("split at %d: %w", cut, err)
		}
		if c.code != 0 {
			p.conn.Close()
			p = nil
		}
	}
	return nil
}

// sendCut writes b in pieces that the gateway reads one by one as a rule. That
// it has closed the connection before it has everything is its right.
func sendCut(p *echoPeer, b []byte, cut int) {
	if cut == 0 {
		_, _ = p.conn.Write(b)
		return
	}
	if cut > 0 {
		_, _ = p.conn.Write(b[:cut])
		time.Sleep(300 * time.Microsecond)
		_, _ = p.conn.Write(b[cut:])
		return
	}
	for i := range b {
		if _, err := p.conn.Write(b[i : i+1]); err != nil {
			return
		}
	}
}

// expectCase reads what the case says must come.
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
