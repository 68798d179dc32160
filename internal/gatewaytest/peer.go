package gatewaytest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Peer is a device or a front end. The test reads message by message, and so
// decides how fast the peer reads. The Peer answers pings and close frames
// when they are read. A Peer belongs to one goroutine at a time; only its
// sending methods may be called on others.
type Peer struct {
	*Socket

	t     testing.TB
	queue []Incoming
}

// Incoming is a received message or close frame.
type Incoming struct {
	// Telemetry is the header of a binary message, nil otherwise.
	Telemetry *protocol.TelemetryHeader
	// Text is a text message; its Type is "" otherwise.
	Text protocol.Message
	// Closed is the code of the close frame, 0 otherwise.
	Closed uint16
}

// Connect connects a peer until the test ends.
func Connect(t testing.TB, addr, path string) *Peer {
	t.Helper()
	return Dialer{}.Connect(t, addr, path)
}

// Connect connects a peer until the test ends.
func (d Dialer) Connect(t testing.TB, addr, path string) *Peer {
	t.Helper()
	p, err := d.TryConnect(t, addr, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return p
}

// TryConnect is [Dialer.Connect] for a connection that may be refused.
func (d Dialer) TryConnect(t testing.TB, addr, path string) (*Peer, error) {
	s, err := d.Dial(addr, path)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = s.Conn.Close() })
	return &Peer{Socket: s, t: t}, nil
}

// Next returns the next message or close frame. The error is
// [os.ErrDeadlineExceeded] when nothing comes within the limit.
func (p *Peer) Next(limit time.Duration) (Incoming, error) {
	if err := p.Conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return Incoming{}, err
	}
	for len(p.queue) == 0 {
		if err := p.ReadInto((*handler)(p)); err != nil {
			return Incoming{}, err
		}
	}
	m := p.queue[0]
	p.queue = p.queue[1:]
	return m, nil
}

// handler is a Peer while a Socket reads into it.
type handler Peer

// HandleMessage implements wsframe.Handler.
func (p *handler) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		h := new(protocol.TelemetryHeader)
		if err := h.Parse(payload); err != nil {
			return err
		}
		p.queue = append(p.queue, Incoming{Telemetry: h})
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	p.queue = append(p.queue, Incoming{Text: m})
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *handler) HandleControl(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpClose {
		code, _ := wsframe.ParseClose(payload)
		p.queue = append(p.queue, Incoming{Closed: code})
	}
	p.Reply(op, payload)
	return nil
}

// Await returns the next text message of a type and drops all before it.
func (p *Peer) Await(typ string) protocol.Message {
	p.t.Helper()
	return p.AwaitWithin(Patience, typ)
}

// AwaitWithin is [Peer.Await] with another limit.
func (p *Peer) AwaitWithin(limit time.Duration, typ string) protocol.Message {
	p.t.Helper()
	for end := time.Now().Add(limit); ; {
		m, err := p.Next(time.Until(end))
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", typ, err)
		}
		if m.Closed != 0 {
			p.t.Fatalf("waiting for %s: closed with %d", typ, m.Closed)
		}
		if m.Text.Type == typ {
			return m.Text
		}
	}
}

// AwaitClose returns the code of the gateway's close frame and drops all before
// it.
func (p *Peer) AwaitClose() uint16 {
	p.t.Helper()
	for end := time.Now().Add(Patience); ; {
		m, err := p.Next(time.Until(end))
		if err != nil {
			p.t.Fatalf("waiting for a close frame: %v", err)
		}
		if m.Closed != 0 {
			return m.Closed
		}
	}
}
