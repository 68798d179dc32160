package acceptance

import (
	"strings"
	"testing"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// TestRatesByRole: devices and front ends have separate limits, in bytes and
// in messages. The error names the exceeded limit; then the session is closed
// with 4006.
func TestRatesByRole(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--device-byte-rate", "100000", "--device-message-rate", "0", "--frontend-message-rate", "10", "--message-burst", "20")
	for _, c := range []struct {
		path, says string
		send       func(p *gatewaytest.Peer)
	}{
		{"/ws/device/d", "100000 bytes per second, burst 200000", func(p *gatewaytest.Peer) { p.SendSamples(0, 1000) }},
		{"/ws/frontend", "10 messages per second, burst 20", func(p *gatewaytest.Peer) { p.Text(`{"type":"a.b","dst":"@frontends"}`) }},
	} {
		p := gatewaytest.Connect(t, g.Addr, c.path)
		go func() {
			for range 500 {
				c.send(p)
			}
		}()
		var told string
		for closed := uint16(0); closed == 0; {
			m, err := p.Next(gatewaytest.Patience)
			if err != nil {
				t.Fatalf("%s: %v", c.path, err)
			}
			if m.Text.Type == protocol.TypeError {
				if e := gatewaytest.Decode[protocol.Error](t, m.Text.Payload); e.Code == protocol.ErrRateLimited {
					told = e.Message
				}
			}
			if closed = m.Closed; closed != 0 && closed != uint16(protocol.CloseRateLimited) {
				t.Errorf("%s: closed with %d", c.path, closed)
			}
		}
		if !strings.Contains(told, c.says) {
			t.Errorf("%s: told %q", c.path, told)
		}
	}
	metrics := g.Metrics()
	for _, limit := range []string{"bytes", "messages"} {
		_, rest, ok := strings.Cut(metrics, `labgate_rate_limited_total{limit="`+limit+`"`)
		_, value, _ := strings.Cut(rest, "} ")
		if !ok || strings.HasPrefix(value, "0\n") {
			t.Errorf("refusals for %s are not counted", limit)
		}
	}
	if n := g.Metric("labgate_rate_limited_total"); n < 2 {
		t.Errorf("%v refusals counted", n)
	}
	// Texts without a limit for the device.
	p := gatewaytest.Connect(t, g.Addr, "/ws/device/talkative")
	fe := gatewaytest.Connect(t, g.Addr, "/ws/frontend")
	fe.Await(protocol.TypeWelcome)
	for range 200 {
		p.Text(`{"type":"many.messages"}`)
	}
	for range 200 {
		fe.Await("many.messages")
	}
}
