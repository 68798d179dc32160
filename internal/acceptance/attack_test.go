package acceptance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// witness is a device and a front end that exchange commands during an attack,
// and record the time of each command and the memory of the gateway.
type witness struct {
	g          *gatewaytest.Gateway
	device, fe *gatewaytest.Peer
	took       []time.Duration
	before     int
	peak       int
}

func newWitness(t *testing.T, g *gatewaytest.Gateway, token string) *witness {
	w := &witness{g: g, device: gatewaytest.Dialer{Token: token}.Connect(t, g.Addr, "/ws/device/witness"), fe: gatewaytest.Connect(t, g.Addr, "/ws/frontend/witness?telemetry=none")}
	w.ask(t)
	w.took = nil
	w.before = g.ResidentKiB()
	return w
}

// ask sends a command to the device and waits for the answer.
func (w *witness) ask(t *testing.T) {
	t.Helper()
	began := time.Now()
	w.fe.Text(`{"type":"are.you_there","id":"w","dst":"witness"}`)
	w.device.Await("are.you_there")
	w.device.Text(`{"type":"i.am","re":"w"}`)
	w.fe.Await("i.am")
	w.took = append(w.took, time.Since(began))
	w.peak = max(w.peak, w.g.ResidentKiB())
}

// during sends commands until the attack is over, at least for the given time.
func (w *witness) during(t *testing.T, least time.Duration, attack func()) {
	t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		attack()
	}()
	for began, done := time.Now(), false; !done || time.Since(began) < least; {
		w.ask(t)
		select {
		case <-over:
			done = true
		default:
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// report logs the records of the witness, and fails when the memory grew
// beyond the bound. during has checked the time of each command.
func (w *witness) report(t *testing.T, boundKiB int) {
	t.Helper()
	slices.Sort(w.took)
	t.Logf("%d commands meanwhile: median %v, slowest %v; memory %d KiB before, %d KiB at most",
		len(w.took), w.took[len(w.took)/2], w.took[len(w.took)-1], w.before, w.peak)
	if grown := w.peak - w.before; grown > boundKiB {
		t.Errorf("memory grew by %d KiB, at most %d KiB allowed", grown, boundKiB)
	}
	if n := w.g.Metric("labgate_panics_total"); n != 0 {
		t.Errorf("%v panics", n)
	}
	select {
	case <-w.g.Exited:
		t.Error("the gateway has ended")
	default:
	}
}

// dialFrom opens a connection from one of many loopback addresses, because one
// address has too few ports.
func dialFrom(i int, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: gatewaytest.Patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}}
	return d.Dial("tcp", addr)
}

// moreDescriptors raises the soft limit of open files of the test process.
func moreDescriptors(t *testing.T, want uint64) {
	t.Helper()
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	if lim.Cur < want {
		lim.Cur = min(lim.Max, want)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
			t.Fatal(err)
		}
	}
	if lim.Cur < want {
		t.Fatalf("this test needs %d file descriptors, the limit is %d; raise it with ulimit -n", want, lim.Max)
	}
}

const halfRequest = "GET /ws/device/slow HTTP/1.1\r\nHost: gateway.test\r\nX-Pad: "

// TestHalfOpenHandshakes opens ten thousand connections whose handshakes never
// end.
func TestHalfOpenHandshakes(t *testing.T) {
	t.Parallel()
	const attackers = 10_000
	moreDescriptors(t, attackers+1000)
	g := gatewaytest.StartGateway(t, "--handshake-timeout", "20s")
	w := newWitness(t, g, "")
	conns := make([]net.Conn, attackers)
	w.during(t, time.Second, func() {
		for i := range conns {
			conn, err := dialFrom(i, g.Addr)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			_, _ = io.WriteString(conn, halfRequest)
			conns[i] = conn
		}
	})
	if n := g.Metric("labgate_connections"); n < attackers/2 {
		t.Errorf("%v connections", n)
	}
	// The gateway closes each at the handshake timeout.
	w.during(t, 0, func() {
		for _, conn := range conns {
			if conn == nil {
				continue
			}
			_ = conn.SetReadDeadline(time.Now().Add(2 * gatewaytest.Patience))
			if _, err := io.Copy(io.Discard, conn); isDeadline(err) {
				t.Error("a half-open handshake was not cut off")
				break
			}
		}
		for _, conn := range conns {
			if conn != nil {
				conn.Close()
			}
		}
	})
	gatewaytest.Eventually(t, "only the witness is left", func() bool { return g.Metric("labgate_connections") == 2 })
	w.report(t, 200<<10)
}

// TestUnwantedBodies sends hundreds of large bodies to where nobody wants them,
// all at once.
func TestUnwantedBodies(t *testing.T) {
	const attackers, size = 300, 1 << 20
	g := gatewaytest.StartGateway(t)
	w := newWitness(t, g, "")
	body := strings.Repeat("x", size)
	conns := make([]net.Conn, attackers)
	w.during(t, time.Second, func() {
		for i := range conns {
			conn, err := dialFrom(i, g.Addr)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			conns[i] = conn
			_ = conn.SetWriteDeadline(time.Now().Add(gatewaytest.Patience))
			// The last byte never comes.
			_, _ = fmt.Fprintf(conn, "POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", size+1, body)
		}
	})
	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
	gatewaytest.Eventually(t, "only the witness is left", func() bool { return g.Metric("labgate_connections") == 2 })
	w.report(t, attackers*size/8>>10)
}

func isDeadline(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// TestOneByteASecond: peers that send their handshake one byte a second are
// closed. Peers that send a message one byte a second are allowed.
func TestOneByteASecond(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--handshake-timeout", "2s")
	w := newWitness(t, g, "")
	var cut atomic.Int32
	message := wsframe.AppendMaskedFrame(nil, wsframe.OpText, 7, []byte(`{"type":"slow.message"}`))
	var slow []*gatewaytest.Peer
	for i := range 200 {
		slow = append(slow, gatewaytest.Connect(t, g.Addr, fmt.Sprintf("/ws/device/slow-%d", i)))
	}
	w.during(t, 0, func() {
		var all sync.WaitGroup
		for i := range 300 {
			all.Go(func() {
				conn, err := dialFrom(i, g.Addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				go func() {
					for _, b := range []byte(halfRequest) {
						if _, err := conn.Write([]byte{b}); err != nil {
							return
						}
						time.Sleep(time.Second)
					}
				}()
				_ = conn.SetReadDeadline(time.Now().Add(gatewaytest.Patience))
				if _, err := io.Copy(io.Discard, conn); !isDeadline(err) {
					cut.Add(1)
				}
			})
		}
		for _, b := range message[:5] {
			for _, p := range slow {
				_ = p.Write([]byte{b})
			}
			time.Sleep(time.Second)
		}
		all.Wait()
	})
	if n := cut.Load(); n != 300 {
		t.Errorf("%d of 300 slow handshakes were cut off", n)
	}
	for _, p := range slow {
		_ = p.Write(message[5:])
	}
	for range slow {
		w.fe.Await("slow.message")
	}
	w.report(t, 64<<10)
}

// TestFloods: each peer does one harmful thing as fast as it can, until it is
// closed, and then reconnects.
func TestFloods(t *testing.T) {
	pings := slices.Concat(slices.Repeat([][]byte{wsframe.AppendMaskedFrame(nil, wsframe.OpPing, 7, []byte(strings.Repeat("p", 125)))}, 200)...)
	piece := frame(0x00, "x")
	empty := frame(0x00, "")
	for _, c := range []struct {
		name, path  string
		first, more []byte
		reads       bool
		ends        []string // reasons, one of which must be counted
	}{
		{"pings", "/ws/frontend", nil, pings, false, []string{protocol.CloseRateLimited.Name(), protocol.CloseSlowConsumer.Name()}},
		{"pings, pongs read", "/ws/frontend", nil, pings, true, []string{protocol.CloseRateLimited.Name()}},
		{"fragments without end", "/ws/device/fragments", frame(0x02, "x"), slices.Repeat(piece, 2000), true, []string{protocol.CloseTooLarge.Name()}},
		{"empty fragments without end", "/ws/device/empty", frame(0x01, ""), slices.Repeat(empty, 2000), true, []string{protocol.CloseTooLarge.Name()}},
		{"messages to nobody", "/ws/frontend", nil, slices.Repeat(frame(0x81, `{"type":"a.b","id":"1","dst":"nobody"}`), 200), false, []string{protocol.CloseRateLimited.Name(), protocol.CloseSlowConsumer.Name()}},
		{"close without reading", "/ws/frontend", frame(0x88, closing(1000, "")), slices.Repeat(frame(0x89, "late"), 500), false, []string{"closed_by_peer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.StartGateway(t, "--max-message", "65536")
			w := newWitness(t, g, "")
			until := time.Now().Add(3 * time.Second)
			w.during(t, 0, func() {
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						for time.Now().Before(until) {
							p, err := gatewaytest.Dialer{ReceiveBuffer: 4096}.TryConnect(t, g.Addr, c.path)
							if err != nil {
								continue
							}
							if c.reads {
								go p.Discard()
							}
							_ = p.Conn.SetWriteDeadline(until.Add(time.Second))
							_, err = p.Conn.Write(c.first)
							for err == nil && time.Now().Before(until) {
								_, err = p.Conn.Write(c.more)
							}
							p.Conn.Close()
						}
					})
				}
				all.Wait()
			})
			gatewaytest.Eventually(t, "only the witness is left", func() bool { return g.Metric("labgate_sessions") == 2 })
			metrics := g.Metrics()
			found := false
			for _, reason := range c.ends {
				found = found || strings.Contains(metrics, `reason="`+reason+`"`)
			}
			if !found {
				t.Errorf("no session ended with %v", c.ends)
			}
			w.report(t, 96<<10)
		})
	}
}

// TestDeviceReplacesItself: a device connects again and again without closing
// its old connections.
func TestDeviceReplacesItself(t *testing.T) {
	g := gatewaytest.StartGateway(t)
	w := newWitness(t, g, "")
	count, refused := w.connectAgain(t, func(int) string { return "/ws/device/loop" }, "")
	if refused > 0 {
		t.Errorf("%d of %d connections were refused", refused, count)
	}
	if n := g.Metric("labgate_device_replacement_alarms_total"); n != 1 {
		t.Errorf("%v alarms", n)
	}
	if n := g.Metric("labgate_device_replacements_total"); n < float64(count)-1002 {
		t.Errorf("%v replacements of %d connections", n, count)
	}
	w.report(t, 96<<10)
}

// TestManyDevicesWithOneToken: one program connects under many names with a
// token that is bound to no name, without a limit and with one.
func TestManyDevicesWithOneToken(t *testing.T) {
	const limit = 100
	shared, sharedLine := token(t, "--role", "device")
	own, ownLine := token(t, "--role", "device", "--name", "witness")
	file := filepath.Join(t.TempDir(), "tokens")
	replace(t, file, sharedLine, ownLine)
	for name, args := range map[string][]string{"no limit": nil, "limit": {"--max-sessions-per-credential", fmt.Sprint(limit)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gatewaytest.StartGateway(t, append(args, "--device-token-file", file)...)
			w := newWitness(t, g, own)
			if _, err := (gatewaytest.Dialer{}).TryConnect(t, g.Addr, "/ws/device/stranger"); err == nil {
				t.Error("a device without a token is let in")
			}
			count, refused := w.connectAgain(t, func(i int) string { return fmt.Sprintf("/ws/device/one-of-many-%d", i) }, shared)
			t.Logf("%d connections, %d of them refused", count, refused)
			if args == nil && refused > 0 || args != nil && refused < count-2*limit {
				t.Errorf("%d of %d connections were refused", refused, count)
			}
			if n := g.Metric("labgate_device_replacements_total"); n != 0 {
				t.Errorf("%v replacements", n)
			}
			if most := g.Metric("labgate_handshakes_refused_total"); args != nil && int(most) < refused {
				t.Errorf("%v refusals are counted, %d were seen", most, refused)
			}
			w.report(t, 96<<10)
		})
	}
}

// connectAgain connects one peer after the other for some seconds, keeps the
// last thousand open, and counts the refused ones.
func (w *witness) connectAgain(t *testing.T, path func(i int) string, token string) (count, refused int) {
	t.Helper()
	w.during(t, 0, func() {
		var held []*gatewaytest.Peer
		for until := time.Now().Add(4 * time.Second); time.Now().Before(until) && count < 8000; count++ {
			p, err := gatewaytest.Dialer{Token: token}.TryConnect(t, w.g.Addr, path(count))
			if err != nil {
				if r, ok := errors.AsType[*gatewaytest.RefusedError](err); !ok || r.Status != http.StatusTooManyRequests {
					t.Error(err)
					return
				}
				refused++
				continue
			}
			if held = append(held, p); len(held) >= 1000 {
				held[0].Conn.Close()
				held = held[1:]
			}
		}
		for _, p := range held {
			p.Conn.Close()
		}
	})
	gatewaytest.Eventually(t, "only the witness is left", func() bool { return w.g.Metric("labgate_sessions") == 2 })
	return count, refused
}
