package cluster

import (
	"runtime/debug"
	"time"

	"github.com/labgate/labgate/protocol"
	"github.com/labgate/labgate/router/federation"
)

// receiveBuffers are reused for each packet. The Bus's calls guards them.
type receiveBuffers struct {
	message   federation.Message
	batch     federation.Batch
	refusals  logThrottle
	malformed logThrottle
}

// receive takes what was published on a channel. The client calls it for one
// message after another on a goroutine of its own, where a panic would end the
// process.
func (rc *redisConn) receive(channel, text string) {
	defer func() {
		if r := recover(); r != nil {
			rc.bus.log.Error().Interface("panic", r).Bytes("stack", debug.Stack()).Str("channel", channel).Msg("panic while a message of another node was handled; the message is dropped")
		}
	}()
	rc.dispatch(channel, text)
}

func (rc *redisConn) dispatch(channel, text string) {
	b := rc.bus
	ingress := channel == b.names.ingress
	var h header
	var rs records
	var err error
	if !ingress {
		if rs, err = h.parse(text); err == nil && h.node == b.id {
			if channel == b.self.channel {
				rc.probeReturned(h.sent)
			}
			return
		}
	}
	b.calls.Lock()
	defer b.calls.Unlock()
	if !rc.live || b.ctx.Err() != nil {
		return
	}
	switch {
	case ingress:
		b.receiveExternal(text)
	case err != nil:
		b.countMalformed(channel, 0)
	default:
		b.receivePacket(channel, &h, rs)
	}
}

// probeReturned notes that a packet which this node sent to itself came back.
func (rc *redisConn) probeReturned(sent int64) {
	for {
		newest := rc.probed.Load()
		if sent <= newest || rc.probed.CompareAndSwap(newest, sent) {
			break
		}
	}
	notify(rc.probeIn)
}

// countMalformed counts a packet that cannot be read, and logs it.
func (b *Bus) countMalformed(channel string, from federation.NodeID) {
	b.mu.Lock()
	b.stats.Malformed++
	b.mu.Unlock()
	if n, ok := b.received.malformed.allow(b.now()); ok {
		b.log.Warn().Str("channel", channel).Str("node", nodeHex(from)).Uint64("since", n).
			Msg("malformed packet: another program, or a node of another version, publishes on this channel; nothing but nodes of one version may")
	}
}

// receivePacket takes a packet of another node.
func (b *Bus) receivePacket(channel string, h *header, rs records) {
	at := b.now()
	p := b.peers[h.node]
	if p == nil {
		if p = b.addPeer(h.node, at); p == nil {
			return
		}
	}
	b.countPacket(p, channel, h.number)
	stale := !p.clock.known
	if p.clock.known {
		delay := p.clock.delay(h.sent, at)
		if stale = delay > b.options.Timeout.Microseconds(); stale {
			b.requestSync(p, at) // perhaps the peer's clock stood still
		}
		p.lastHeard = max(p.lastHeard, at-max(delay, 0))
	} else {
		p.lastHeard = at
	}
	for {
		kind, body, ok, err := rs.next()
		if ok {
			err = b.receiveRecord(p, channel, h, at, stale, kind, body)
		}
		if err != nil {
			b.countMalformed(channel, h.node)
		}
		if !ok || err != nil || b.peers[h.node] != p {
			return
		}
	}
}

// receiveRecord takes one record of a packet.
func (b *Bus) receiveRecord(p *peer, channel string, h *header, at int64, stale bool, kind recordKind, body reader) error {
	switch kind {
	case recordMessage:
		return b.receiveMessage(p, stale, body)
	case recordTelemetry:
		return b.receiveTelemetry(p, channel, body)
	case recordHeartbeat:
		seq, name := body.uvarint(), body.string()
		if body.bad {
			return errMalformed
		}
		p.clock.heartbeat(h.sent, at)
		p.setName(name)
		p.announced = max(p.announced, seq)
		if seq > p.seq || !p.joined {
			b.requestSync(p, at)
		}
	case recordSyncRequest:
		requested, have, name := body.uvarint(), body.uvarint(), body.string()
		if body.bad {
			return errMalformed
		}
		p.setName(name)
		b.replySync(p, at, requested, have)
	case recordSyncReply:
		requested, seq, name := int64(body.uvarint()), body.uvarint(), body.string()
		if body.bad {
			return errMalformed
		}
		p.setName(name)
		b.syncReplied(p, h.sent, at, requested, seq)
	case recordLeaving:
		b.removePeer(p, federation.NodeClosed, at)
	case recordHold, recordRelease, recordUser, recordInterest:
		return b.receiveChange(p, at, kind, body)
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
		return b.endSnapshot(p, at, seq, n)
	}
	return nil
}

// receiveMessage takes a message. A stale one is not delivered, and its sender is
// told so unless the sender has given up already.
func (b *Bus) receiveMessage(p *peer, stale bool, body reader) error {
	m := &b.received.message
	n := len(body.s)
	if err := readMessage(body, m); err != nil {
		return err
	}
	b.mu.Lock()
	if stale = stale || !p.joined; stale {
		b.stats.Stale++
		if f, ok := staleFailure(m); ok && b.up {
			_ = b.enqueueMessage(&p.to, f) // if that fails, the timeout of the command tells its sender
		}
	} else {
		b.stats.Received++
		b.stats.ReceivedBytes += uint64(n)
	}
	b.mu.Unlock()
	if !stale {
		b.member.Receive(p.node, m)
	}
	return nil
}

// staleFailure returns the failure that the sender of a stale message is told, if
// the message says whom to tell.
func staleFailure(m *federation.Message) (*federation.Message, bool) {
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

// receiveTelemetry takes telemetry. It is never stale: its range says where it
// belongs.
func (b *Bus) receiveTelemetry(p *peer, channel string, body reader) error {
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
	i := b.local.interests[device]
	take := p.joined && i != nil && i.wanted
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

// countPacket notes the number of a packet, and counts those missing before it.
func (b *Bus) countPacket(p *peer, channel string, number uint64) {
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

// logThrottle lets one line a second into the log.
type logThrottle struct {
	next  int64
	since uint64
}

// allow reports whether to log now, and how many events there were since it last
// did.
func (t *logThrottle) allow(at int64) (n uint64, ok bool) {
	t.since++
	if at < t.next {
		return 0, false
	}
	n, t.since, t.next = t.since, 0, at+time.Second.Microseconds()
	return n, true
}
