package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/session"
)

// received is one message as a peer read it from the wire.
type received struct {
	op   wsframe.Opcode
	text string // of a text message
	data []byte // of a binary message
	protocol.Message
}

func (m received) String() string {
	if m.op == wsframe.OpText {
		return m.text
	}
	return fmt.Sprintf("%v of %d bytes", m.op, len(m.data))
}

// peer is the other end of a session: an in-memory transport that reads the
// written bytes as a WebSocket client does, and answers a close frame.
type peer struct {
	t    testing.TB
	sess *session.Session

	// reading is held for each read event: one goroutine reads at a time.
	reading sync.Mutex

	mu      sync.Mutex
	reader  wsframe.Reader
	inbox   []received
	writes  int
	stalled bool
	muted   bool
	closed  bool
	code    protocol.CloseCode // of the close frame that came
	reason  string
	// welcome is the first message, kept apart from the inbox.
	welcome *protocol.Welcome
}

func newPeer(t testing.TB) *peer {
	p := &peer{t: t}
	p.reader.Init(64<<20, true)
	return p
}

// attach sets the peer's session after Add has returned.
func (p *peer) attach(s *session.Session) {
	p.mu.Lock()
	p.sess = s
	closed, code := p.closed, p.code
	p.mu.Unlock()
	if closed {
		s.TransportClosed(nil)
	} else if code != 0 {
		p.answerClose(s, code)
	}
}

// Write reads b as the client would.
func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, errors.New("peer: connection closed")
	}
	p.writes++
	data := append([]byte(nil), b...)
	if err := p.reader.Feed(data, p); err != nil {
		p.t.Errorf("the gateway broke the protocol: %v", err)
	}
	return len(b), nil
}

// Buffered reports all bytes as unsent while the peer is stalled.
func (p *peer) Buffered() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stalled {
		return 1 << 30
	}
	return 0
}

// Close ends the connection.
func (p *peer) Close() error {
	p.mu.Lock()
	first, s := !p.closed, p.sess
	p.closed = true
	p.mu.Unlock()
	if first && s != nil {
		go s.TransportClosed(nil)
	}
	return nil
}

// HandleMessage takes a message that the gateway sent; mu is held.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	m := received{op: op}
	if op == wsframe.OpBinary {
		m.data = append([]byte(nil), payload...)
		p.inbox = append(p.inbox, m)
		return nil
	}
	m.text = string(payload)
	if err := json.Unmarshal(payload, &m.Message); err != nil {
		p.t.Errorf("not JSON: %q: %v", payload, err)
	}
	if (m.Type == protocol.TypeWelcome) != (p.welcome == nil) {
		p.t.Errorf("a %s where the welcome is due exactly once and first", m.Type)
	}
	if p.welcome == nil {
		p.welcome = new(protocol.Welcome)
		if err := json.Unmarshal(m.Payload, p.welcome); err != nil {
			p.t.Errorf("welcome: %v", err)
		}
		return nil
	}
	p.inbox = append(p.inbox, m)
	return nil
}

// HandleControl takes a control frame that the gateway sent; mu is held.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	switch op {
	case wsframe.OpPing:
		if s := p.sess; s != nil && !p.muted {
			pong := append([]byte(nil), payload...)
			go p.event(func() { s.Heard(); _ = s.HandleControl(wsframe.OpPong, pong) })
		}
	case wsframe.OpClose:
		code, reason := wsframe.ParseClose(payload)
		p.code, p.reason = protocol.CloseCode(code), reason
		if p.sess != nil {
			p.answerClose(p.sess, p.code)
		}
	}
	return nil
}

func (p *peer) answerClose(s *session.Session, code protocol.CloseCode) {
	frame := wsframe.AppendClose(nil, uint16(code), "")[2:]
	go p.event(func() { _ = s.HandleControl(wsframe.OpClose, frame) })
}

// event runs one read event of the peer's reading goroutine.
func (p *peer) event(read func()) {
	p.reading.Lock()
	defer p.reading.Unlock()
	read()
}

// send sends text messages to the gateway in one read event.
func (p *peer) send(texts ...string) {
	p.event(func() {
		p.sess.Heard()
		for _, text := range texts {
			p.deliver(wsframe.OpText, []byte(text))
		}
		p.sess.EndRead()
	})
}

// sendBinary sends binary messages to the gateway in one read event.
func (p *peer) sendBinary(frames ...[]byte) {
	p.event(func() {
		p.sess.Heard()
		for _, frame := range frames {
			p.deliver(wsframe.OpBinary, append([]byte(nil), frame...))
		}
		p.sess.EndRead()
	})
}

// deliver passes one message and then spoils its bytes, as the read buffer's
// next use would.
func (p *peer) deliver(op wsframe.Opcode, payload []byte) {
	if err := p.sess.HandleMessage(op, payload); err != nil {
		p.t.Errorf("HandleMessage: %v", err)
	}
	for i := range payload {
		payload[i] = 0xA5
	}
}

// hangUp ends the connection as a reset does.
func (p *peer) hangUp() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.sess.TransportClosed(errors.New("connection reset by peer"))
}

// stall stops or restarts the peer's reading.
func (p *peer) stall(on bool) {
	p.mu.Lock()
	p.stalled = on
	p.mu.Unlock()
	if !on {
		p.sess.Writable()
	}
}

// mute stops or restarts the peer's answers to pings.
func (p *peer) mute(on bool) {
	p.mu.Lock()
	p.muted = on
	p.mu.Unlock()
}

// take returns and forgets the received messages.
func (p *peer) take() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.inbox
	p.inbox = nil
	return got
}

// one waits until all goroutines are idle and returns the only received
// message.
func (p *peer) one() received {
	p.t.Helper()
	synctest.Wait()
	got := p.take()
	if len(got) != 1 {
		p.t.Fatalf("%s %q got %d messages, want 1: %v", p.sess.Role(), p.sess.Name(), len(got), got)
	}
	return got[0]
}

// none checks that no message was received.
func (p *peer) none() {
	p.t.Helper()
	synctest.Wait()
	if got := p.take(); len(got) != 0 {
		p.t.Fatalf("%s %q got %d messages, want none: %v", p.sess.Role(), p.sess.Name(), len(got), got)
	}
}

// oneError checks that the only received message is this error, in answer to
// re.
func (p *peer) oneError(code protocol.ErrorCode, re string) protocol.Error {
	p.t.Helper()
	return p.asError(p.one(), code, re)
}

func (p *peer) asError(m received, code protocol.ErrorCode, re string) protocol.Error {
	p.t.Helper()
	var e protocol.Error
	if m.Type != protocol.TypeError || json.Unmarshal(m.Payload, &e) != nil {
		p.t.Fatalf("got %v, want a gateway.error", m)
	}
	if e.Code != code || m.Re != re {
		p.t.Fatalf("got %v, want code %s with re %q", m, code, re)
	}
	if e.Message == "" {
		p.t.Fatalf("an error without a message: %v", m)
	}
	return e
}

// notice checks that the only received message is this notice.
func (p *peer) notice(typ, reason string) protocol.DeviceNotice {
	p.t.Helper()
	m := p.one()
	var n protocol.DeviceNotice
	if m.Type != typ || json.Unmarshal(m.Payload, &n) != nil || n.Reason != reason {
		p.t.Fatalf("got %v, want %s with reason %s", m, typ, reason)
	}
	return n
}

// pendingCommands returns how many commands wait for the device's answer.
func (p *peer) pendingCommands() int {
	return p.sess.Attachment().(*deviceConn).pending.count()
}

// waitingFor returns how many of the front end's commands are pending.
func (p *peer) waitingFor() int { return p.sess.Attachment().(*frontend).commands.len() }

// closeCode waits and returns the code of the received close frame, 0 for
// none.
func (p *peer) closeCode() protocol.CloseCode {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

// writeCount returns how many writes were made to the peer.
func (p *peer) writeCount() int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes
}
