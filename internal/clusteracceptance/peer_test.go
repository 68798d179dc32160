package clusteracceptance

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/labgate/labgate/internal/gatewaytest"
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// peer is a WebSocket client. Its goroutine reads until the connection ends,
// and keeps the received messages.
type peer struct {
	t *testing.T
	*gatewaytest.Socket
	// onText, if set, sees each text message first, on the reading goroutine.
	onText func(*peer, protocol.Message)
	// done is closed when the connection has ended.
	done chan struct{}

	// mu guards the rest.
	mu      sync.Mutex
	texts   []protocol.Message // that no await has taken yet
	closed  uint16             // the gateway's close code
	streams map[uint32]string  // device ids by stream
	books   map[string]*book   // by device id
	welcome protocol.Welcome
}

// connect makes a WebSocket and waits for the welcome.
func connect(t *testing.T, n *node, path string) *peer {
	t.Helper()
	p, err := tryConnect(t, n.Addr, path, nil)
	if err != nil {
		t.Fatalf("%s of node %s: %v", path, n.name, err)
	}
	t.Cleanup(p.reset)
	return p
}

func tryConnect(t *testing.T, addr, path string, onText func(*peer, protocol.Message)) (*peer, error) {
	s, err := gatewaytest.Dialer{}.Dial(addr, path)
	if err != nil {
		return nil, err
	}
	p := &peer{t: t, Socket: s, onText: onText, done: make(chan struct{}), streams: map[uint32]string{}, books: map[string]*book{}}
	go p.run()
	m, err := p.tryAwait(gatewaytest.Patience, func(m protocol.Message) bool { return m.Type == protocol.TypeWelcome })
	if err != nil {
		p.reset()
		return nil, err
	}
	return p, json.Unmarshal(m.Payload, &p.welcome)
}

func (p *peer) run() {
	defer close(p.done)
	defer p.Conn.Close()
	for p.ReadInto(p) == nil {
	}
}

// HandleMessage implements wsframe.Handler.
func (p *peer) HandleMessage(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpBinary {
		var h protocol.TelemetryHeader
		if err := h.Parse(payload); err != nil {
			return err
		}
		p.mu.Lock()
		p.note(h.Stream, h.Seq, h.End(), uint64(h.Count), "")
		p.mu.Unlock()
		return nil
	}
	var m protocol.Message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	if p.onText != nil {
		p.onText(p, m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Type {
	case protocol.TypeWelcome:
		w := gatewaytest.Decode[protocol.Welcome](p.t, m.Payload)
		for _, d := range w.Devices {
			p.streams[d.Stream] = d.DeviceID
		}
	case protocol.TypeDeviceOnline:
		d := gatewaytest.Decode[protocol.DeviceNotice](p.t, m.Payload)
		p.streams[d.Stream] = d.DeviceID
	case protocol.TypeLost:
		l := gatewaytest.Decode[protocol.Lost](p.t, m.Payload)
		p.note(l.Stream, l.From, l.To, l.Count(), l.Cause)
	}
	p.texts = append(p.texts, m)
	return nil
}

// HandleControl implements wsframe.Handler.
func (p *peer) HandleControl(op wsframe.Opcode, payload []byte) error {
	if op == wsframe.OpClose {
		p.mu.Lock()
		p.closed, _ = wsframe.ParseClose(payload)
		p.mu.Unlock()
	}
	p.Reply(op, payload)
	return nil
}

// await waits for a message that matches, and removes it from the received
// ones.
func (p *peer) await(what string, match func(protocol.Message) bool) protocol.Message {
	p.t.Helper()
	m, err := p.tryAwait(gatewaytest.Patience, match)
	if err != nil {
		p.t.Fatalf("waiting for %s: %v; there is %v", what, err, p.types())
	}
	return m
}

func (p *peer) tryAwait(limit time.Duration, match func(protocol.Message) bool) (protocol.Message, error) {
	for end := time.Now().Add(limit); ; time.Sleep(2 * time.Millisecond) {
		over := p.ended()
		p.mu.Lock()
		for i, m := range p.texts {
			if match(m) {
				p.texts = append(p.texts[:i:i], p.texts[i+1:]...)
				p.mu.Unlock()
				return m, nil
			}
		}
		code := p.closed
		p.mu.Unlock()
		if over {
			return protocol.Message{}, fmt.Errorf("the connection has ended, close code %d", code)
		}
		if time.Now().After(end) {
			return protocol.Message{}, fmt.Errorf("nothing for %v", limit)
		}
	}
}

// awaitType is await for the next message of a type.
func (p *peer) awaitType(typ string) protocol.Message {
	p.t.Helper()
	return p.await(typ, func(m protocol.Message) bool { return m.Type == typ })
}

// awaitRe is await for the answer to a message.
func (p *peer) awaitRe(id string) protocol.Message {
	p.t.Helper()
	return p.await("an answer to "+id, func(m protocol.Message) bool { return m.Re == id })
}

// awaitError is awaitRe for an error, and returns its code.
func (p *peer) awaitError(id string) string {
	p.t.Helper()
	m := p.awaitRe(id)
	if m.Type != protocol.TypeError {
		p.t.Fatalf("%s was answered with %s %s", id, m.Type, m.Payload)
	}
	return string(gatewaytest.Decode[protocol.Error](p.t, m.Payload).Code)
}

// awaitNotice waits until a device is announced as online or offline.
func (p *peer) awaitNotice(typ, device string) protocol.DeviceNotice {
	p.t.Helper()
	m := p.await(typ+" of "+device, func(m protocol.Message) bool {
		return m.Type == typ && gatewaytest.Decode[protocol.DeviceNotice](p.t, m.Payload).DeviceID == device
	})
	return gatewaytest.Decode[protocol.DeviceNotice](p.t, m.Payload)
}

// awaitDevice waits until the front end knows a device as online.
func (p *peer) awaitDevice(device string) {
	p.t.Helper()
	if !slices.ContainsFunc(p.welcome.Devices, func(d protocol.DeviceInfo) bool { return d.DeviceID == device }) {
		p.awaitNotice(protocol.TypeDeviceOnline, device)
	}
}

// notices returns the notices that no await has taken, as "online a node
// reason".
func (p *peer) notices() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.texts {
		word := map[string]string{protocol.TypeDeviceOnline: "online", protocol.TypeDeviceOffline: "offline"}[m.Type]
		if word != "" {
			d := gatewaytest.Decode[protocol.DeviceNotice](p.t, m.Payload)
			all = append(all, fmt.Sprintf("%s %s %s %s", word, d.DeviceID, d.Node, d.Reason))
		}
	}
	return all
}

// types returns the types of the messages that no await has taken.
func (p *peer) types() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.texts {
		all = append(all, m.Type)
	}
	return all
}

func (p *peer) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// awaitClose waits for the end of the connection and returns the gateway's
// close code.
func (p *peer) awaitClose() uint16 {
	p.t.Helper()
	gatewaytest.Eventually(p.t, "the connection ends", p.ended)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// reset ends the connection without a close frame.
func (p *peer) reset() {
	p.Reset()
	<-p.done
}
