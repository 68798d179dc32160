package acceptance

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/labgate/labgate/protocol"
)

// SIGTERM under load: each command that was sent before the close is answered
// or refused by name, everybody is told, and the process leaves with 0.
func TestShutdownUnderLoad(t *testing.T) {
	g := startGateway(t, "--drain-timeout", "10s")
	device := connect(t, g.addr, "/ws/device/loaded-1", 0)
	silent := connect(t, g.addr, "/ws/device/silent-1", 0)
	silent.awaitText(protocol.TypeWelcome, 5*time.Second)
	operator := connect(t, g.addr, "/ws/frontend/op", 0)

	go func() {
		for {
			m, err := device.next(10 * time.Second)
			if err != nil || m.closed != 0 {
				return
			}
			if m.text.ID != "" {
				device.sendText(`{"type":"done.it","re":"%s"}`, m.text.ID)
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
				operator.sendText(`{"type":"do.it","id":"c%d","dst":"%s"}`, sent, to)
				sent++
			}
			if sent == 2000 {
				g.signal(syscall.SIGTERM)
			}
		}
		m, err := operator.next(10 * time.Second)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
			t.Fatal("the connection ended without a close frame")
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.closed != 0:
			terminated = true
			if m.closed != uint16(protocol.CloseGoingAway) {
				t.Errorf("closed with %d", m.closed)
			}
		case m.text.Type == protocol.TypeClosing:
			terminated = true
			if c := decode[protocol.Closing](t, m.text); c.RetryAfterMS <= 0 {
				t.Errorf("closing: %+v", c)
			}
		case m.text.Re != "":
			if was, twice := outcome[m.text.Re]; twice {
				t.Errorf("%s: %s after %s", m.text.Re, m.text.Type, was)
			}
			outcome[m.text.Re] = m.text.Type
			if m.text.Type == protocol.TypeError {
				outcome[m.text.Re] = string(decode[protocol.ErrorPayload](t, m.text).Code)
			}
		}
		if m.closed != 0 {
			break
		}
	}
	if code := g.wait(t, 15*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	tally := map[string]int{}
	for _, o := range outcome {
		tally[o]++
	}
	// What the operator sent behind the gateway's close frame was not read.
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

// A second signal does not wait for anybody.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	g := startGateway(t, "--drain-timeout", "1m")
	// A peer that never answers the close keeps the drain waiting.
	connect(t, g.addr, "/ws/frontend", 0).awaitText(protocol.TypeWelcome, patience)
	g.signal(syscall.SIGTERM)
	g.stderr.await(t, "draining", 5*time.Second)
	time.Sleep(200 * time.Millisecond)
	g.signal(syscall.SIGTERM)
	if code := g.wait(t, 2*time.Second); code == 0 {
		t.Errorf("exit code %d after a second signal", code)
	}
}
