package cluster

import (
	"strings"

	"github.com/labgate/labgate/router/federation"
)

// Copies of the peers' states: changes, and snapshots of the whole. The Bus's calls
// is held in all of these functions.

// snapshot is the state of a peer while its records arrive.
type snapshot struct {
	seq       uint64
	records   uint64 // that have arrived
	devices   map[string]federation.Holding
	released  map[string]federation.Release
	users     map[string]struct{}
	interests map[string]uint64
}

func newSnapshot(seq uint64) *snapshot {
	return &snapshot{
		seq: seq, devices: map[string]federation.Holding{}, released: map[string]federation.Release{},
		users: map[string]struct{}{}, interests: map[string]uint64{},
	}
}

// reasonUnknown is the reason for a release of which this node never heard, and
// which its node has forgotten.
const reasonUnknown = "connection_lost"

// receiveChange takes a change of a peer's state. A change that follows one that is
// missing waits for the snapshot that has both.
func (b *Bus) receiveChange(p *peer, at int64, kind recordKind, body reader) error {
	whole := body.s
	seq := body.uvarint()
	switch {
	case body.bad:
		return errMalformed
	case seq == 0:
		if p.snapshot == nil {
			return nil // the beginning of the snapshot was lost
		}
		return p.snapshot.add(kind, body)
	case seq <= p.seq:
		return nil
	case p.joined && seq == p.seq+1:
		p.seq = seq
		if err := b.applyChange(p, kind, body); err != nil {
			return err
		}
		b.applyWaiting(p, at)
		return nil
	}
	if p.waitingBytes += len(whole); p.waitingBytes > maxChanges {
		p.waiting, p.waitingBytes = nil, 0
	} else {
		p.waiting = append(p.waiting, change{kind, strings.Clone(whole)})
	}
	b.requestSync(p, at)
	return nil
}

// applyWaiting applies the changes that waited, up to the next that is missing.
func (b *Bus) applyWaiting(p *peer, at int64) {
	for len(p.waiting) > 0 {
		next := p.waiting[0]
		body := reader{s: next.body}
		seq := body.uvarint()
		if seq > p.seq+1 {
			b.requestSync(p, at)
			return
		}
		p.waiting = p.waiting[1:]
		p.waitingBytes -= len(next.body)
		if seq == p.seq+1 {
			p.seq = seq
			if b.applyChange(p, next.kind, body) != nil {
				b.countMalformed(b.all.channel, p.node)
			}
		}
	}
	p.waiting, p.waitingBytes = nil, 0
}

// applyChange applies a change, and tells the Member.
func (b *Bus) applyChange(p *peer, kind recordKind, body reader) error {
	switch kind {
	case recordHold:
		if h := cloned(body.holding()); !body.bad {
			b.peerHolds(p, h)
		}
	case recordRelease:
		if r := body.release(); !body.bad {
			b.peerReleases(p, r)
		}
	case recordUser:
		if user, here := body.string(), body.bool(); !body.bad {
			b.peerUser(p, user, here)
		}
	case recordInterest:
		if device, subscription := body.string(), body.uvarint(); !body.bad {
			b.peerInterest(p, device, subscription)
		}
	}
	if body.bad {
		return errMalformed
	}
	return nil
}

func (b *Bus) peerHolds(p *peer, h federation.Holding) {
	p.devices[h.Device] = h
	b.member.DeviceHeld(p.node, h)
}

func (b *Bus) peerReleases(p *peer, r federation.Release) {
	if h, ok := p.devices[r.Device]; ok && h.Epoch <= r.Epoch {
		delete(p.devices, r.Device)
		p.released[h.Device] = r.Epoch
		b.member.DeviceReleased(p.node, r)
	}
}

func (b *Bus) peerUser(p *peer, user string, here bool) {
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

// peerInterest notes a peer's interest in a device's telemetry: the number of its
// subscription, or 0 for none. The Member is told of each subscription, not only of
// the first: a peer that was cut off is told how far the telemetry is.
func (b *Bus) peerInterest(p *peer, device string, subscription uint64) {
	had := p.interests[device]
	if had == subscription {
		return
	}
	b.mu.Lock()
	switch {
	case subscription == 0:
		delete(p.interests, device)
		b.interestEnded(device)
	case had == 0:
		device = strings.Clone(device)
		b.interest[device]++
		fallthrough
	default:
		p.interests[device] = subscription
	}
	b.mu.Unlock()
	b.member.InterestChanged(p.node, device, subscription != 0)
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
		s.released[r.Device] = r
	case recordUser:
		s.users[strings.Clone(body.string())] = struct{}{}
	case recordInterest:
		device := strings.Clone(body.string())
		s.interests[device] = body.uvarint()
	}
	if body.bad {
		return errMalformed
	}
	return nil
}

// endSnapshot takes the end of a snapshot, and applies the snapshot when it is
// complete.
func (b *Bus) endSnapshot(p *peer, at int64, seq, n uint64) error {
	s := p.snapshot
	p.snapshot = nil
	if s == nil || s.seq != seq || s.records != n || !p.clock.known {
		b.requestSync(p, at) // a record was lost, or the reply took too long to measure the clock
		return nil
	}
	if !p.joined {
		b.peerJoined(p)
	}
	if seq >= p.seq {
		p.seq = seq
		b.reportReleased(p, s)
		b.applySnapshot(p, s)
	}
	b.applyWaiting(p, at)
	return nil
}

// reportReleased tells the Member of devices that a peer held and released again
// while this node did not hear of either: because it was cut off, or took the peer
// for lost. From the ends of their telemetry the Member learns what was lost of it.
func (b *Bus) reportReleased(p *peer, s *snapshot) {
	if len(p.released) > 2*maxReleased {
		clear(p.released) // the Member may be told again
	}
	for device, r := range s.released {
		_, known := p.devices[device]
		if _, held := s.devices[device]; !held && !known && p.released[device] < r.Epoch {
			p.released[device] = r.Epoch
			b.member.DeviceReleased(p.node, r)
		}
	}
}

// applySnapshot replaces the copy of a peer's state, and tells the Member the
// differences.
func (b *Bus) applySnapshot(p *peer, s *snapshot) {
	for device, h := range p.devices {
		if _, still := s.devices[device]; still {
			continue
		}
		r, ok := s.released[device]
		if !ok || r.Epoch < h.Epoch {
			r = federation.Release{Device: device, Epoch: h.Epoch, Reason: reasonUnknown}
		}
		b.peerReleases(p, r)
	}
	for device, h := range s.devices {
		if known, ok := p.devices[device]; !ok || known.Epoch != h.Epoch || known.Description != h.Description {
			b.peerHolds(p, h)
		}
	}
	for user := range p.users {
		if _, still := s.users[user]; !still {
			b.peerUser(p, user, false)
		}
	}
	for user := range s.users {
		b.peerUser(p, user, true)
	}
	for device := range p.interests {
		if _, still := s.interests[device]; !still {
			b.peerInterest(p, device, 0)
		}
	}
	for device, subscription := range s.interests {
		b.peerInterest(p, device, subscription)
	}
}
