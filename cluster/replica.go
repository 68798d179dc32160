package cluster

import (
	"github.com/labgate/labgate/router/federation"
	"strings"
)

// Changes of a peer's state, and snapshots of it. The Bus's calls is held in all
// of these functions.

// snapshot is all that a node has, while it arrives.
type snapshot struct {
	seq     uint64
	records uint64
	devices map[string]federation.Holding
	former  map[string]federation.Release
	users   map[string]struct{}
	wants   map[string]uint64
}

func newSnapshot(seq uint64) *snapshot {
	return &snapshot{
		seq: seq, devices: map[string]federation.Holding{}, former: map[string]federation.Release{},
		users: map[string]struct{}{}, wants: map[string]uint64{},
	}
}

// reasonUnknown stands for the reason with which a device left a node, when that
// was long ago and never heard.
const reasonUnknown = "connection_lost"

// changed takes a change of a node's state. One that comes after a gap waits for
// the snapshot that fills it.
func (b *Bus) changed(p *peer, at int64, kind recordKind, body reader) error {
	whole := body.s
	seq := body.uvarint()
	switch {
	case body.bad:
		return errMalformed
	case seq == 0:
		if p.snapshot == nil {
			return nil // its beginning was lost
		}
		return p.snapshot.add(kind, body)
	case seq <= p.seq:
		return nil
	case p.joined && seq == p.seq+1:
		p.seq = seq
		if err := b.apply(p, kind, body); err != nil {
			return err
		}
		b.catchUp(p, at)
		return nil
	}
	if p.bytes += len(whole); p.bytes > maxChanges {
		p.waiting, p.bytes = nil, 0
	} else {
		p.waiting = append(p.waiting, waiting{kind, strings.Clone(whole)})
	}
	b.ask(p, at)
	return nil
}

// catchUp applies changes that waited, as far as none is missing.
func (b *Bus) catchUp(p *peer, at int64) {
	for len(p.waiting) > 0 {
		w := p.waiting[0]
		body := reader{s: w.body}
		seq := body.uvarint()
		if seq > p.seq+1 {
			b.ask(p, at)
			return
		}
		p.waiting = p.waiting[1:]
		p.bytes -= len(w.body)
		if seq == p.seq+1 {
			p.seq = seq
			if b.apply(p, w.kind, body) != nil {
				b.garbled(b.all.channel, p.node)
			}
		}
	}
	p.waiting, p.bytes = nil, 0
}

// apply does what a change says, and tells the Member.
func (b *Bus) apply(p *peer, kind recordKind, body reader) error {
	switch kind {
	case recordHold:
		if h := cloned(body.holding()); !body.bad {
			b.held(p, h)
		}
	case recordRelease:
		if r := body.release(); !body.bad {
			b.released(p, r)
		}
	case recordUser:
		if user, here := body.string(), body.bool(); !body.bad {
			b.user(p, user, here)
		}
	case recordWant:
		if device, subscription := body.string(), body.uvarint(); !body.bad {
			b.want(p, device, subscription)
		}
	}
	if body.bad {
		return errMalformed
	}
	return nil
}

func (b *Bus) held(p *peer, h federation.Holding) {
	p.devices[h.Device] = h
	b.member.DeviceHeld(p.node, h)
}

func (b *Bus) released(p *peer, r federation.Release) {
	if h, ok := p.devices[r.Device]; ok && h.Epoch <= r.Epoch {
		delete(p.devices, r.Device)
		b.member.DeviceReleased(p.node, r)
	}
}

func (b *Bus) user(p *peer, user string, here bool) {
	if _, had := p.users[user]; had == here {
		return
	}
	if here {
		p.users[strings.Clone(user)] = struct{}{}
	} else {
		delete(p.users, user)
	}
	b.member.UserChanged(p.node, user, here)
}

// want notes that a node has subscribed to a device's telemetry, or, with 0, does
// not want it any longer. The Member is told of each subscription: it may have
// something to say to whoever was cut off.
func (b *Bus) want(p *peer, device string, subscription uint64) {
	had := p.wants[device]
	if had == subscription {
		return
	}
	b.mu.Lock()
	switch {
	case subscription == 0:
		delete(p.wants, device)
		b.unwanted(device)
	case had == 0:
		device = strings.Clone(device)
		b.wanted[device]++
		fallthrough
	default:
		p.wants[device] = subscription
	}
	b.mu.Unlock()
	b.member.WantChanged(p.node, device, subscription != 0)
}

// add takes one record of a snapshot.
func (s *snapshot) add(kind recordKind, body reader) error {
	s.records++
	switch kind {
	case recordHold:
		h := cloned(body.holding())
		s.devices[h.Device] = h
	case recordRelease:
		r := body.release()
		r.Device, r.Reason = strings.Clone(r.Device), strings.Clone(r.Reason)
		s.former[r.Device] = r
	case recordUser:
		s.users[strings.Clone(body.string())] = struct{}{}
	case recordWant:
		device := strings.Clone(body.string())
		s.wants[device] = body.uvarint()
	}
	if body.bad {
		return errMalformed
	}
	return nil
}

// complete takes the end of a snapshot, and makes what is known of the node what
// the snapshot says.
func (b *Bus) complete(p *peer, at int64, seq, n uint64) error {
	s := p.snapshot
	p.snapshot = nil
	if s == nil || s.seq != seq || s.records != n || !p.clock.known {
		b.ask(p, at) // a part was lost, or the clock's exchange took too long
		return nil
	}
	if !p.joined {
		b.join(p)
		b.tellFormer(p, s)
	}
	if seq >= p.seq {
		p.seq = seq
		b.become(p, s)
	}
	b.catchUp(p, at)
	return nil
}

// tellFormer tells the Member of devices that a node released before this node
// knew it, or while it took the node for lost: how far their telemetry went tells
// those who knew them what they have missed.
func (b *Bus) tellFormer(p *peer, s *snapshot) {
	for device, r := range s.former {
		if _, held := s.devices[device]; !held {
			b.member.DeviceReleased(p.node, r)
		}
	}
}

// become tells the Member the difference between what is known and a snapshot.
func (b *Bus) become(p *peer, s *snapshot) {
	for device, h := range p.devices {
		if _, still := s.devices[device]; still {
			continue
		}
		r, ok := s.former[device]
		if !ok || r.Epoch < h.Epoch {
			r = federation.Release{Device: device, Epoch: h.Epoch, Reason: reasonUnknown}
		}
		b.released(p, r)
	}
	for device, h := range s.devices {
		if known, ok := p.devices[device]; !ok || known.Epoch != h.Epoch {
			b.held(p, h)
		}
	}
	for user := range p.users {
		if _, still := s.users[user]; !still {
			b.user(p, user, false)
		}
	}
	for user := range s.users {
		b.user(p, user, true)
	}
	for device := range p.wants {
		if _, still := s.wants[device]; !still {
			b.want(p, device, 0)
		}
	}
	for device, subscription := range s.wants {
		b.want(p, device, subscription)
	}
}
