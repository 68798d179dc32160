package server

import (
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/labgate/labgate/internal/eventloop"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestTLSWritesAndCloses has each session of llib's TLS written to from several
// goroutines while it is closed from both sides at once. Until its end each
// record is whole: one that is not fails the client's reading with more than
// the end of the connection.
func TestTLSWritesAndCloses(t *testing.T) {
	const rounds, peers = 10, 8
	m := modes[4]
	if m.tls != eventloop.TLSNonBlocking {
		t.Fatalf("mode %s", m.name)
	}
	g := start(t, m, nil)
	for round := range rounds {
		var all sync.WaitGroup
		for i := range peers {
			p := g.upgrade(fmt.Sprintf("/ws/frontend/r%d-%d", round, i))
			sess := g.manager.Get(uuidOf(t, p))
			for range 3 {
				all.Go(func() {
					for range 200 {
						f := session.NewTextFrame([]byte(`{"type":"from.many","payload":"0123456789"}`))
						if sess.Send(f, false) == nil {
							sess.Flush()
						}
						f.Release()
					}
				})
			}
			all.Go(func() {
				switch i % 3 {
				case 0:
					sess.Close(protocol.CloseKicked, "")
				case 1:
					p.sendClose(1000)
				default:
					_ = g.manager.Remove(sess.ID(), protocol.CloseKicked, "")
					p.sendClose(1000)
				}
			})
			all.Go(func() {
				for {
					f, err := p.next()
					if err != nil {
						if err != io.EOF {
							t.Errorf("peer %d: %v", i, err)
						}
						return
					}
					if f.op == 8 {
						p.sendClose(1000)
					} else if string(f.data) != `{"type":"from.many","payload":"0123456789"}` {
						t.Errorf("peer %d: %q", i, f.data)
					}
				}
			})
		}
		all.Wait()
	}
}
