package soak

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// peer is a WebSocket client whose reading goroutine calls onText and
// onTelemetry.
type peer struct {
	*gatewaytest.Socket
	onText      func(protocol.Message)
	onTelemetry func(protocol.TelemetryHeader)
	// pause is how long the peer rests before each read, in nanoseconds.
	pause atomic.Int64
	// closed is the gateway's close code, valid after run.
	closed uint16
}

// dial makes the handshake with a token. A receive buffer of 0 is the kernel's
// default.
func dial(addr, path, token string, receiveBuffer int) (*peer, error) {
	s, err := gatewaytest.Dialer{Token: token, ReceiveBuffer: receiveBuffer}.Dial(addr, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &peer{Socket: s}, nil
}

// run reads until the connection ends.
func (p *peer) run() {
	defer p.Conn.Close()
	for {
		time.Sleep(time.Duration(p.pause.Load()))
		if p.ReadInto(p) != nil {
			return
		}
	}
}

// HandleMessage implements wsframe.Handler.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		var h protocol.TelemetryHeader
		if err := h.Parse(payload); err != nil {
			return err
		}
		if p.onTelemetry != nil {
			p.onTelemetry(h)
		}
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	if p.onText != nil {
		p.onText(m)
	}
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpClose {
		p.closed, _ = wsframe.ParseClose(payload)
	}
	p.Reply(op, payload)
	return nil
}
