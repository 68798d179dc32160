package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

func TestWelcomeCommandAnswer(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		// More than two connections, so that the mixed mode has both kinds.
		for i := range 4 {
			id := fmt.Sprintf("tester-%d", i)
			dev := g.upgrade("/ws/device/" + id + "?type=tensile&customer=acme&meta.site=north")
			if w := dev.welcome; w.Role != "device" || w.DeviceID != id || w.Stream == nil || w.Session == "" || w.Node != "test" {
				t.Errorf("welcome of a device: %+v", w)
			}
			fe := g.upgrade("/ws/frontend/ann")
			if w := fe.welcome; w.Role != "frontend" || w.MaxMessage != 1<<20 || len(w.Devices) != i+1 {
				t.Errorf("welcome of a front end: %+v", w)
			}
			if d := fe.welcome.Devices[i]; d.DeviceID != id || d.Type != "tensile" || d.Customer != "acme" || d.Meta["site"] != "north" {
				t.Errorf("device in the welcome: %+v", d)
			}

			fe.text(`{"type":"test.start","id":"c%d","dst":%q,"src":"forged","payload":{"speed":1.50}}`, i, id)
			c := dev.await("test.start")
			if c.Src != "@user/ann" || c.ID != fmt.Sprintf("c%d", i) || string(c.Payload) != `{"speed":1.50}` {
				t.Errorf("command as the device has it: %+v", c)
			}
			dev.text(`{"type":"test.started","re":%q,"payload":[1, 2]}`, c.ID)
			a := fe.await("test.started")
			if a.Src != id || a.Re != c.ID || string(a.Payload) != `[1, 2]` {
				t.Errorf("answer as the front end has it: %+v", a)
			}
			fe.text(`{"type":"test.start","id":"x","dst":"nobody"}`)
			if e := fe.await(protocol.TypeError); e.Re != "x" || !strings.Contains(string(e.Payload), "device_offline") {
				t.Errorf("answer for an absent device: %+v", e)
			}
			dev.text(`{"type":"test.state_changed","payload":"running"}`)
			fe.await("test.state_changed")
		}
	})
}

// TestLargeMessages sends texts far beyond the read buffer and the kernel's
// first buffers both ways.
func TestLargeMessages(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		dev := g.upgrade("/ws/device/d")
		fe := g.upgrade("/ws/frontend")
		for round := range 3 {
			big := strings.Repeat(fmt.Sprintf("%d-äöü-", round), 300<<10/9)
			fe.text(`{"type":"load.program","id":"big","dst":"d","payload":%q}`, big)
			c := dev.await("load.program")
			if want := fmt.Sprintf("%q", big); string(c.Payload) != want {
				t.Fatalf("the device has a payload of %d bytes, want %d", len(c.Payload), len(want))
			}
			dev.text(`{"type":"program.loaded","re":"big","payload":%s}`, c.Payload)
			if a := fe.await("program.loaded"); string(a.Payload) != string(c.Payload) {
				t.Fatalf("the front end has a payload of %d bytes, want %d", len(a.Payload), len(c.Payload))
			}
		}
	})
}

// TestEverythingWrittenIsRead has a peer write and close at once: nothing of
// what it wrote may be lost, however the end comes.
func TestEverythingWrittenIsRead(t *testing.T) {
	const rounds, frames = 8, 2000
	eachMode(t, func(t *testing.T, m mode) {
		g := start(t, m, nil)
		fe := g.upgrade("/ws/frontend?telemetry=none")
		for round := range rounds {
			dev := g.upgrade(fmt.Sprintf("/ws/device/d%d", round))
			var burst []byte
			for i := range frames {
				burst = wsframe.AppendMaskedFrame(burst, wsframe.OpText, uint32(i), fmt.Appendf(nil, `{"type":"log.line","payload":%d}`, i))
			}
			dev.write(burst)
			// The FIN comes behind the data, and the good-bye of TLS before it.
			// Closing the other direction too could reset the connection: the
			// gateway's first ping may not have been read.
			if err := dev.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for i := range frames {
				if l := fe.await("log.line"); string(l.Payload) != fmt.Sprint(i) {
					t.Fatalf("round %d: line %s came, want %d", round, l.Payload, i)
				}
			}
			var n protocol.DeviceNotice
			if err := json.Unmarshal(fe.await(protocol.TypeDeviceOffline).Payload, &n); err != nil || n.Reason != "connection_lost" {
				t.Fatalf("notice %+v, %v", n, err)
			}
		}
	})
}
