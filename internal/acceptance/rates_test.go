package acceptance

import (
	"strings"
	"testing"

	"github.com/labgate/labgate/protocol"
)

// TestRatesByRole: devices and front ends have limits of their own, in bytes
// and in messages; each is told which it exceeded, then closed with 4006.
func TestRatesByRole(t *testing.T) {
	g := startGateway(t, "--device-byte-rate", "100000", "--device-message-rate", "0", "--frontend-message-rate", "10", "--message-burst", "20")
	for _, c := range []struct {
		path, says string
		send       func(p *peer)
	}{
		{"/ws/device/d", "100000 bytes per second, burst 200000", func(p *peer) { p.sendBinary(telemetryFrame(0, 1000)) }},
		{"/ws/frontend", "10 messages per second, burst 20", func(p *peer) { p.sendText(`{"type":"a.b","dst":"@frontends"}`) }},
	} {
		p := connect(t, g.addr, c.path, 0)
		go func() {
			for range 500 {
				c.send(p)
			}
		}()
		var told string
		for closed := uint16(0); closed == 0; {
			m, err := p.next(patience)
			if err != nil {
				t.Fatalf("%s: %v", c.path, err)
			}
			if m.text.Type == protocol.TypeError {
				if e := decode[protocol.ErrorPayload](t, m.text); e.Code == protocol.ErrRateLimited {
					told = e.Message
				}
			}
			if closed = m.closed; closed != 0 && closed != uint16(protocol.CloseRateLimited) {
				t.Errorf("%s: closed with %d", c.path, closed)
			}
		}
		if !strings.Contains(told, c.says) {
			t.Errorf("%s: told %q", c.path, told)
		}
	}
	_, metrics := get(t, "http://"+g.admin+"/metrics")
	for _, limit := range []string{"bytes", "messages"} {
		_, rest, ok := strings.Cut(metrics, `labgate_rate_limited_total{limit="`+limit+`"`)
		_, value, _ := strings.Cut(rest, "} ")
		if !ok || strings.HasPrefix(value, "0\n") {
			t.Errorf("refusals for %s are not counted", limit)
		}
	}
	if n := g.metric(t, "labgate_rate_limited_total"); n < 2 {
		t.Errorf("%v refusals counted", n)
	}
	// Texts without a limit for the device.
	p := connect(t, g.addr, "/ws/device/talkative", 0)
	fe := connect(t, g.addr, "/ws/frontend", 0)
	fe.awaitText(protocol.TypeWelcome, patience)
	for range 200 {
		p.sendText(`{"type":"many.messages"}`)
	}
	for range 200 {
		fe.awaitText("many.messages", patience)
	}
}
