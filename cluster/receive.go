package cluster

import (
	"github.com/labgate/labgate/router/federation"
	"runtime/debug"
	"time"

	"github.com/labgate/labgate/protocol"
)

// inbox is what receiving needs again and again. The Bus's calls guards it.
type inbox struct {
	message   federation.Message
	batch     federation.Batch
	refusals  throttle
	malformed throttle
}

// receive takes what came on a channel. The client calls it for one message
// after another, from a goroutine of its own: a panic there would end the
// process.
func (l *link) receive(channel, text string) {
	defer func() {
		if r := recover(); r != nil {
			l.bus.log.Error().Interface("panic", r).Bytes("stack", debug.Stack()).Str("channel", channel).Msg("panic while a message of another node was handled")
		}
	}()
	l.take(channel, text)
}

func (l *link) take(channel, text string) {
	b := l.bus
	ingress := channel == b.names.ingress
	var h header
	var rs records
	var err error
	if !ingress {
		if rs, err = h.parse(text); err == nil && h.node == b.id {
			if channel == b.self.channel {
				l.heardMyself(h.sent)
			}
			return
		}
	}
	b.calls.Lock()
	defer b.calls.Unlock()
	if !l.live || b.ctx.Err() != nil {
		return
	}
	switch {
	case ingress:
		b.receiveExternal(text)
	case err != nil:
		b.garbled(channel, 0)
	default:
		b.packet(channel, &h, rs)
	}
}

// heardMyself notes that what this node sent came back.
func (l *link) heardMyself(sent int64) {
	for {
		newest := l.echoed.Load()
		if sent <= newest || l.echoed.CompareAndSwap(newest, sent) {
			break
		}
	}
	notify(l.echo)
}

// garbled counts what cannot be read.
func (b *Bus) garbled(channel string, from federation.NodeID) {
	b.mu.Lock()
	b.stats.Malformed++
	b.mu.Unlock()
	if n, ok := b.received.malformed.allow(b.now()); ok {
		b.log.Warn().Str("channel", channel).Str("node", nodeHex(from)).Uint64("since", n).
			Msg("malformed packet: another program publishes on this channel, or a node of another version")
	}
}

// packet takes a packet of another node.
func (b *Bus) packet(channel string, h *header, rs records) {
	at := b.now()
	p := b.peers[h.node]
	if p == nil {
		if p = b.meet(h.node, at); p == nil {
			return
		}
	}
	b.count(p, channel, h.number)
	late := !p.clock.known
	if p.clock.known {
		age := p.clock.age(h.sent, at)
		if late = age > b.options.Timeout.Microseconds(); late {
			b.ask(p, at) // unless its clock stood still
		}
		p.heard = max(p.heard, at-max(age, 0))
	} else {
		p.heard = at
	}
	for {
		kind, body, ok, err := rs.next()
		if ok {
			err = b.record(p, channel, h, at, late, kind, body)
		}
		if err != nil {
			b.garbled(channel, h.node)
		}
		if !ok || err != nil || b.peers[h.node] != p {
			return
		}
	}
}

// record takes one record of a packet.
func (b *Bus) record(p *peer, channel string, h *header, at int64, late bool, kind recordKind, body reader) error {
	switch kind {
	case recordMessage:
		return b.incoming(p, late, body)
	case recordTelemetry:
		return b.samples(p, channel, body)
	case recordBeat:
		seq, name := body.uvarint(), body.string()
		if body.bad {
			return errMalformed
		}
		p.clock.beat(h.sent, at)
		p.named(name)
		p.told = max(p.told, seq)
		if seq > p.seq || !p.joined {
			b.ask(p, at)
		}
	case recordAsk:
		asked, have, name := body.uvarint(), body.uvarint(), body.string()
		if body.bad {
			return errMalformed
		}
		p.named(name)
		b.answer(p, at, asked, have)
	case recordAnswer:
		asked, seq, name := int64(body.uvarint()), body.uvarint(), body.string()
		if body.bad {
			return errMalformed
		}
		p.named(name)
		b.answered(p, h.sent, at, asked, seq)
	case recordBye:
		b.lose(p, federation.NodeClosed, at)
	case recordHold, recordRelease, recordUser, recordWant:
		return b.changed(p, at, kind, body)
	case recordSnapshot:
		p.snapshot = newSnapshot(body.uvarint())
		if body.bad {
			return errMalformed
		}
	case recordSnapshotEnd:
		seq, n := body.uvarint(), body.uvarint()
		if body.bad {
			return errMalformed
		}
		return b.complete(p, at, seq, n)
	}
	return nil
}

// incoming takes a message. One that comes late is not delivered: whoever sent
// it has given up, or will learn that it was not.
func (b *Bus) incoming(p *peer, late bool, body reader) error {
	m := &b.received.message
	n := len(body.s)
	if err := readMessage(body, m); err != nil {
		return err
	}
	b.mu.Lock()
	if late = late || !p.joined; late {
		b.stats.Stale++
		if f, ok := tooLate(m); ok && b.up {
			_ = b.put(&p.to, f) // if that is not possible either, its timeout tells the asker
		}
	} else {
		b.stats.Received++
		b.stats.ReceivedBytes += uint64(n)
	}
	b.mu.Unlock()
	if !late {
		b.member.Receive(p.node, m)
	}
	return nil
}

// tooLate returns what the sender of a message is told when it came late, if
// there is somebody who can be told.
func tooLate(m *federation.Message) (*federation.Message, bool) {
	f := &federation.Message{Kind: federation.KindFailure, Corr: m.Corr, ID: m.ID, Code: protocol.ErrUnavailable, Text: []byte("it was too long on its way to another node and was not delivered")}
	switch m.Kind {
	case federation.KindCommand, federation.KindQuery:
		return f, m.Corr != 0
	case federation.KindToDevice, federation.KindToSession:
		f.Session, f.Corr = m.Sender, 0
		return f, m.ID != ""
	}
	return nil, false
}

// samples takes telemetry. It may come late: its range says where it belongs.
func (b *Bus) samples(p *peer, channel string, body reader) error {
	device, ok := b.names.telemetryDevice(channel)
	if !ok {
		return errMalformed
	}
	t := &b.received.batch
	if err := readTelemetry(body, t); err != nil {
		return err
	}
	t.Device = device
	b.mu.Lock()
	w := b.own.wants[device]
	take := p.joined && w != nil && w.wanted
	if take {
		b.stats.Received++
		b.stats.ReceivedBytes += uint64(len(t.Wire))
	}
	b.mu.Unlock()
	if take {
		b.member.ReceiveTelemetry(p.node, t)
	}
	return nil
}

// count notes a packet's number, and how many are missing before it.
func (b *Bus) count(p *peer, channel string, number uint64) {
	last, known := p.numbers[channel]
	if !known {
		p.numbers[b.interned(channel)] = number
		return
	}
	p.numbers[channel] = number
	if number > last+1 {
		b.mu.Lock()
		b.stats.Lost += number - last - 1
		b.mu.Unlock()
	}
}

// throttle lets one line a second into the log.
type throttle struct {
	next  int64
	since uint64
}

// allow reports whether to log now, and how many there were since it last did.
func (t *throttle) allow(at int64) (n uint64, ok bool) {
	t.since++
	if at < t.next {
		return 0, false
	}
	n, t.since, t.next = t.since, 0, at+time.Second.Microseconds()
	return n, true
}
