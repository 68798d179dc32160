package web_test

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/rs/zerolog"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/server"
	"github.com/labgate/labgate/session"
)

// startGateway starts a gateway on the address, 127.0.0.1:0 for any. It is
// stopped with the test, if not before.
func startGateway(t *testing.T, listen string, tune func(*server.Options)) *server.Server {
	t.Helper()
	opts := server.Options{ListenOptions: server.ListenOptions{Listen: listen, AdminListen: "127.0.0.1:0", Node: "bench-7", RetryAfter: 100 * time.Millisecond}, Logger: zerolog.Nop()}
	if tune != nil {
		tune(&opts)
	}
	s, err := server.New(opts)
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopGateway(t, s) })
	return s
}

func stopGateway(t *testing.T, s *server.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// frontendSession returns the one front end that is connected.
func frontendSession(t *testing.T, s *server.Server) *session.Session {
	t.Helper()
	var found *session.Session
	for _, each := range s.Manager().Sessions() {
		if each.Role() == session.RoleFrontend {
			if found != nil {
				t.Fatal("more than one front end is connected")
			}
			found = each
		}
	}
	if found == nil {
		t.Fatal("no front end is connected")
	}
	return found
}

const (
	channels   = 3
	frameCount = 100
	interval   = 100 * time.Microsecond // 10 kHz
)

// device is a simulated tester with a connection of its own. Its reading
// goroutine answers commands; stream starts one that sends telemetry. Both end
// with the connection.
type device struct {
	t        *testing.T
	id       string
	conn     *websocket.Conn
	commands chan protocol.Message // as received
	answer   func(*device, protocol.Message)
	working  sync.WaitGroup
	page     *tab // that sendSamples waits for

	// mu guards what the stream sends next.
	mu  sync.Mutex
	seq uint64
}

func connectDevice(t *testing.T, addr, id string, query url.Values, answer func(*device, protocol.Message)) *device {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws/device/"+id+"?"+query.Encode(), &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		t.Fatal(err)
	}
	d := &device{t: t, id: id, conn: conn, commands: make(chan protocol.Message, 64), answer: answer}
	t.Cleanup(d.die)
	d.working.Go(d.read)
	return d
}

// die ends the connection without a close frame.
func (d *device) die() {
	_ = d.conn.CloseNow()
	d.working.Wait()
}

func (d *device) read() {
	for {
		_, data, err := d.conn.Read(context.Background())
		if err != nil {
			return
		}
		var m protocol.Message
		if json.Unmarshal(data, &m) != nil || m.Type == protocol.TypeWelcome {
			continue
		}
		d.commands <- m
		if d.answer != nil {
			d.answer(d, m)
		}
	}
}

// received waits for the next command.
func (d *device) received(typ string) protocol.Message {
	d.t.Helper()
	select {
	case m := <-d.commands:
		if m.Type != typ {
			d.t.Fatalf("the device received %q, want %q", m.Type, typ)
		}
		return m
	case <-time.After(patience):
		d.t.Fatalf("the device did not receive %s", typ)
	}
	return protocol.Message{}
}

// send sends a text message. Errors are ignored, because the test may be
// ending; a test that waits for the effect fails then.
func (d *device) send(m protocol.Message) {
	data, err := m.Append(nil)
	if err != nil {
		d.t.Error(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = d.conn.Write(ctx, websocket.MessageText, data)
}

func (d *device) sendState(state string) {
	m, err := protocol.NewMessage("test.state_changed", map[string]string{"state": state})
	if err != nil {
		d.t.Error(err)
		return
	}
	d.send(m)
}

// reply answers a command with a raw payload.
func (d *device) reply(to protocol.Message, payload string) {
	d.send(protocol.Message{Type: to.Type + ".result", Re: to.ID, Payload: json.RawMessage(payload)})
}

// stream sends telemetry at 10 kHz, in frames of 100 samples, until the
// connection ends or the function it returns is called. After a late tick it
// catches up, so no sample is left out.
func (d *device) stream() (stop func()) {
	stopped, ended := make(chan struct{}), make(chan struct{})
	d.working.Go(func() {
		defer close(ended)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		frame := make([]byte, 0, protocol.TelemetryHeaderSize+channels*frameCount*4)
		for sent := 0; ; {
			select {
			case <-stopped:
				return
			case <-tick.C:
			}
			for ; sent < int(time.Since(began)/(frameCount*interval)); sent++ {
				frame = d.nextFrame(frame[:0])
				if d.conn.Write(context.Background(), websocket.MessageBinary, frame) != nil {
					return
				}
			}
		}
	})
	return sync.OnceFunc(func() {
		close(stopped)
		<-ended
	})
}

// sent is the number of the next sample.
func (d *device) sent() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seq
}

// skip leaves out n samples, like a device that was too slow.
func (d *device) skip(n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seq += n
}

func (d *device) nextFrame(dst []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := protocol.TelemetryHeader{
		Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: d.seq, T0: time.Now().UnixNano(),
		DT: uint32(interval), Channels: channels, Count: frameCount,
	}
	dst = h.Append(dst)
	for i := range uint64(frameCount) {
		force, extension, temperature := pull(d.seq + i)
		dst = protocol.AppendF32(dst, force, extension, temperature)
	}
	d.seq = h.End()
	return dst
}

// peakForce is the greatest load that pull gives, for four samples only.
const peakForce = 30_000

// pull is the load of a specimen that breaks every two seconds: the load rises,
// stays constant, has a short peak at the fracture, and is 0 after that.
func pull(n uint64) (force, extension, temperature float32) {
	const period = 20_000
	const broken = 16_000
	k := n % period
	x := float64(k) / period
	noise := float64((n*2654435761)%1000)/500 - 1
	load := 25_000*(1-math.Exp(-6*x)) + 3*noise
	switch {
	case k >= broken:
		load = 3 * noise
	case k >= broken-4:
		load = peakForce
	}
	return float32(load), float32(14*x + 0.001*noise), float32(23 + 2*x + 0.02*noise)
}
