package server

import (
	stdtls "crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

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

// TestUnansweredCloseEndsWithCloseNotify: when the peer does not answer the close
// frame, the connection ends after the grace time with TLS's close_notify (RFC 5246
// section 7.2.1). Go's client does not tell whether the alert came, so the test
// reads the records: in TLS 1.2 the type of an encrypted record is visible.
func TestUnansweredCloseEndsWithCloseNotify(t *testing.T) {
	const alert = 21
	for _, m := range modes {
		if m.tls == "" {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			g := prepare(t, m, nil)
			g.tuneSessions = func(o *session.Options) { o.CloseGrace = 50 * time.Millisecond }
			g.start()
			socket, err := net.Dial("tcp", g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer socket.Close()
			received := &recorder{Conn: socket}
			conf := clientTLS()
			conf.MaxVersion = stdtls.VersionTLS12
			dev := newPeer(t, stdtls.Client(received, conf))
			dev.write([]byte(request("/ws/device/d")))
			if head, err := dev.readHead(); err != nil {
				t.Fatalf("%q %v", head, err)
			}
			dev.write(masked(0x83, "x"))
			if code, _ := dev.awaitClose(); code != protocol.CloseProtocolError {
				t.Errorf("closed with %d", code)
			}
			dev.expectEnd()
			last := byte(0)
			for b := received.bytes; len(b) >= 5; b = b[min(len(b), 5+int(binary.BigEndian.Uint16(b[3:]))):] {
				last = b[0]
			}
			if last != alert {
				t.Errorf("the last TLS record has the type %d, want an alert", last)
			}
		})
	}
}

// recorder keeps everything that is read.
type recorder struct {
	net.Conn
	bytes []byte
}

func (r *recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.bytes = append(r.bytes, b[:n]...)
	return n, err
}
