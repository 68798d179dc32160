package acceptance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/protocol"
)

// SIGTERM under load: each command that was sent before the close has an
// answer or a named error, every session gets gateway.closing, and the exit
// code is 0.
func TestShutdownUnderLoad(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--drain-timeout", "10s")
	device := gatewaytest.Connect(t, g.Addr, "/ws/device/loaded-1")
	silent := gatewaytest.Connect(t, g.Addr, "/ws/device/silent-1")
	silent.Await(protocol.TypeWelcome)
	operator := gatewaytest.Connect(t, g.Addr, "/ws/frontend/op")

	go func() {
		for {
			m, err := device.Next(10 * time.Second)
			if err != nil || m.Closed != 0 {
				return
			}
			if m.Text.ID != "" {
				device.Text(`{"type":"done.it","re":"%s"}`, m.Text.ID)
			}
		}
	}()
	outcome := map[string]string{}
	sent, terminated := 0, false
	for {
		if !terminated && sent < 4000 {
			for range 20 {
				to := "loaded-1"
				if sent%50 == 0 {
					to = "silent-1"
				}
				operator.Text(`{"type":"do.it","id":"c%d","dst":"%s"}`, sent, to)
				sent++
			}
			if sent == 2000 {
				g.Signal(syscall.SIGTERM)
			}
		}
		m, err := operator.Next(10 * time.Second)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			t.Fatal("the connection ended without a close frame")
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Closed != 0:
			terminated = true
			if m.Closed != uint16(protocol.CloseGoingAway) {
				t.Errorf("closed with %d", m.Closed)
			}
		case m.Text.Type == protocol.TypeClosing:
			terminated = true
			if c := gatewaytest.Decode[protocol.Closing](t, m.Text.Payload); c.RetryAfterMS <= 0 {
				t.Errorf("closing: %+v", c)
			}
		case m.Text.Re != "":
			if was, twice := outcome[m.Text.Re]; twice {
				t.Errorf("%s: %s after %s", m.Text.Re, m.Text.Type, was)
			}
			outcome[m.Text.Re] = m.Text.Type
			if m.Text.Type == protocol.TypeError {
				outcome[m.Text.Re] = string(gatewaytest.Decode[protocol.Error](t, m.Text.Payload).Code)
			}
		}
		if m.Closed != 0 {
			break
		}
	}
	if code := g.Wait(15 * time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	tally := map[string]int{}
	for _, o := range outcome {
		tally[o]++
	}
	// The gateway does not read commands that arrive after its close frame.
	unread := 0
	for i := range sent {
		if outcome[fmt.Sprintf("c%d", i)] == "" {
			unread++
		} else if unread > 0 {
			t.Errorf("c%d has an outcome, an earlier command has none", i)
			break
		}
	}
	t.Logf("%d sent: %v, %d behind the close", sent, tally, unread)
}

// A second signal ends the gateway at once.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	g := gatewaytest.StartGateway(t, "--drain-timeout", "1m")
	// The drain waits for a peer that never answers the close frame.
	gatewaytest.Connect(t, g.Addr, "/ws/frontend").Await(protocol.TypeWelcome)
	g.Signal(syscall.SIGTERM)
	g.Stderr.Await(t, "draining")
	time.Sleep(200 * time.Millisecond)
	g.Signal(syscall.SIGTERM)
	if code := g.Wait(2 * time.Second); code == 0 {
		t.Errorf("exit code %d after a second signal", code)
	}
}
