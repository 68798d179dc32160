package server

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// TestDrainOfASlowReader ends the gateway while a front end has a full queue
// and reads far more slowly than the grace of the closing handshake allows: as
// long as the drain lasts it gets everything, telemetry and what it was not
// given of it included, and then its close frame.
func TestDrainOfASlowReader(t *testing.T) {
	const (
		bursts, perBurst, samples = 60, 20, 100
		total                     = bursts * perBurst * samples
		grace                     = 200 * time.Millisecond
	)
	eachMode(t, func(t *testing.T, m mode) {
		g := prepare(t, m, func(o *Options) { o.TelemetryBytes, o.InflightBytes, o.WriteTimeout = 256<<10, 16<<10, patience })
		g.tuneSessions = func(o *session.Options) { o.CloseGrace = grace }
		transports := g.transports()
		g.start()
		dev := g.upgrade("/ws/device/d")
		fast := g.upgrade("/ws/frontend/fast")
		slow := g.upgradeNarrow("/ws/frontend/slow")
		waits := transports.last().(session.Acknowledger)
		for b := range uint64(bursts) {
			var burst []byte
			for i := range uint64(perBurst) {
				burst = wsframe.AppendMaskedFrame(burst, wsframe.OpBinary, 77, telemetry((b*perBurst+i)*samples, samples))
			}
			dev.write(burst)
			for range perBurst {
				if f, err := fast.next(); err != nil || f.op != wsframe.OpBinary {
					t.Fatalf("the other front end: %v %v", f.op, err)
				}
			}
		}
		if n := waits.Unacknowledged(); n <= 0 {
			t.Errorf("%d bytes wait in the kernel", n)
		}
		done := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			done <- g.Shutdown(ctx)
		}()
		dev.expectClose(protocol.CloseGoingAway)
		fast.expectClose(protocol.CloseGoingAway)
		var a account
		for pauses := 0; ; {
			if pauses < 4 {
				time.Sleep(grace)
				pauses++
			}
			f, err := slow.next()
			if err != nil {
				t.Fatalf("after %d received and %d reported lost of %d: %v", a.got, a.lost, total, err)
			}
			if f.op == wsframe.OpClose {
				if code, _ := wsframe.ParseClose(f.data); code != uint16(protocol.CloseGoingAway) {
					t.Errorf("closed with %d", code)
				}
				slow.sendClose(uint16(protocol.CloseGoingAway))
				slow.expectEnd()
				break
			}
			if f.op == wsframe.OpBinary {
				var h protocol.TelemetryHeader
				if err := h.Parse(f.data); err != nil {
					t.Fatal(err)
				}
				a.got += h.End() - h.Seq
			} else if msg := slow.message(f); msg.Type == protocol.TypeLost {
				var l protocol.Lost
				if err := json.Unmarshal(msg.Payload, &l); err != nil {
					t.Fatal(err)
				}
				a.lost += l.To - l.From
			}
		}
		if a.got+a.lost != total || a.lost == 0 {
			t.Errorf("%d received and %d reported lost of %d", a.got, a.lost, total)
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if n := waits.Unacknowledged(); n != 0 {
			t.Errorf("%d bytes of a closed connection", n)
		}
	})
}
