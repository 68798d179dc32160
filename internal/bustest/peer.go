package bustest

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// peer is the other end of a session: an in-memory transport that reads the
// written bytes, and answers a close frame.
type peer struct {
	t *testing.T
	s *session.Session

	// reading is held for each read event.
	reading sync.Mutex

	// mu guards the rest.
	mu     sync.Mutex
	reader wsframe.Reader
	texts  []protocol.Message
	seen   int
	frames []protocol.TelemetryHeader
	lost   []protocol.Lost
	code   protocol.CloseCode
	closed bool
	// answers, if set, returns a device's answer to a command.
	answers func(protocol.Message) string
}

func newPeer(t *testing.T) *peer {
	p := &peer{t: t}
	p.reader.Init(64<<20, true)
	return p
}

func (p *peer) attach(s *session.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.s = s
}

// Write implements session.Transport.
func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errors.New("closed")
	}
	if err := p.reader.Feed(append([]byte(nil), b...), p); err != nil {
		p.t.Errorf("the gateway broke the protocol: %v", err)
	}
	return len(b), nil
}

// Buffered implements session.Transport.
func (p *peer) Buffered() int { return 0 }

// Close implements session.Transport.
func (p *peer) Close() error {
	p.mu.Lock()
	first, s := !p.closed, p.s
	p.closed = true
	p.mu.Unlock()
	if first && s != nil {
		go s.TransportClosed(nil)
	}
	return nil
}

// HandleMessage takes a message from the gateway; mu is held.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		var h protocol.TelemetryHeader
		if err := h.Parse(payload); err != nil {
			p.t.Errorf("telemetry: %v", err)
		}
		p.frames = append(p.frames, h)
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		p.t.Errorf("not JSON: %q", payload)
	}
	m.Payload = append(json.RawMessage(nil), m.Payload...)
	if m.Type == protocol.TypeLost {
		var l protocol.Lost
		if err := json.Unmarshal(m.Payload, &l); err != nil {
			p.t.Errorf("lost: %v", err)
		}
		p.lost = append(p.lost, l)
		return nil
	}
	p.texts = append(p.texts, m)
	if p.answers != nil && m.ID != "" {
		answer := p.answers(m)
		go p.send(answer)
	}
	return nil
}

// HandleControl takes a control frame from the gateway; mu is held.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpClose {
		code, _ := wsframe.ParseClose(payload)
		p.code = protocol.CloseCode(code)
		frame := wsframe.AppendClose(nil, code, "")[2:]
		go p.event(func(s *session.Session) { _ = s.HandleControl(wsframe.OpClose, frame) })
	}
	return nil
}

// event waits for the session and runs one read event.
func (p *peer) event(read func(s *session.Session)) {
	p.reading.Lock()
	defer p.reading.Unlock()
	for {
		p.mu.Lock()
		s := p.s
		p.mu.Unlock()
		if s != nil {
			s.Heard()
			read(s)
			s.EndRead()
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// send sends text messages to the gateway in one read event.
func (p *peer) send(texts ...string) {
	p.event(func(s *session.Session) {
		for _, text := range texts {
			if err := s.HandleMessage(wsframe.OpText, []byte(text)); err != nil {
				p.t.Errorf("%s: %v", text, err)
			}
		}
	})
}

// stream sends the samples [from, to) to the gateway in one read event, with
// each samples in a frame.
func (p *peer) stream(from, to uint64, each int) {
	p.event(func(s *session.Session) {
		for ; from < to; from += uint64(each) {
			n := min(each, int(to-from))
			h := protocol.TelemetryHeader{Kind: protocol.KindSamples, Format: protocol.FormatF32, Seq: from, DT: 100_000, Channels: 1, Count: uint16(n)}
			frame := append(h.Append(nil), make([]byte, 4*n)...)
			if err := s.HandleMessage(wsframe.OpBinary, frame); err != nil {
				p.t.Errorf("samples from %d: %v", from, err)
			}
		}
	})
}

// hangUp ends the connection as a reset does.
func (p *peer) hangUp() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.s.TransportClosed(errors.New("connection reset by peer"))
}

// await waits for the next text message that is wanted, and skips all messages
// before it.
func (p *peer) await(what string, wanted func(protocol.Message) bool) protocol.Message {
	p.t.Helper()
	var found protocol.Message
	gatewaytest.Eventually(p.t, what, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for p.seen < len(p.texts) {
			m := p.texts[p.seen]
			p.seen++
			if wanted(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// awaitType waits for a message of a type.
func (p *peer) awaitType(typ string) protocol.Message {
	p.t.Helper()
	return p.await(typ, func(m protocol.Message) bool { return m.Type == typ })
}

// awaitNotice waits for the next notice of a device, which must be this one.
func (p *peer) awaitNotice(typ, device, node, reason string) protocol.DeviceNotice {
	p.t.Helper()
	var n protocol.DeviceNotice
	p.await(typ+" of "+device, func(m protocol.Message) bool {
		if m.Type != protocol.TypeDeviceOnline && m.Type != protocol.TypeDeviceOffline {
			return false
		}
		n = protocol.DeviceNotice{}
		if json.Unmarshal(m.Payload, &n) != nil || n.DeviceID != device {
			return false
		}
		if m.Type != typ || n.Node != node || n.Reason != reason {
			p.t.Fatalf("%s %s, want %s of node %s with reason %s", m.Type, m.Payload, typ, node, reason)
		}
		return true
	})
	return n
}

// awaitError waits for a gateway.error, which must be this one.
func (p *peer) awaitError(code protocol.ErrorCode, re string) {
	p.t.Helper()
	m := p.awaitType(protocol.TypeError)
	var e protocol.Error
	if json.Unmarshal(m.Payload, &e) != nil || e.Code != code || m.Re != re {
		p.t.Fatalf("error %s with re %q, want %s with re %q", m.Payload, m.Re, code, re)
	}
}

// awaitClose waits for a close frame with this code.
func (p *peer) awaitClose(code protocol.CloseCode) {
	p.t.Helper()
	gatewaytest.Eventually(p.t, "close", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.code != 0
	})
	if p.code != code {
		p.t.Fatalf("closed with %d, want %d", p.code, code)
	}
}

// count returns how many messages of a type the peer has received.
func (p *peer) count(typ string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, m := range p.texts {
		if m.Type == typ {
			n++
		}
	}
	return n
}

// samples returns the received telemetry and the reported losses.
func (p *peer) samples() (frames []protocol.TelemetryHeader, lost []protocol.Lost) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(frames, p.frames...), append(lost, p.lost...)
}
