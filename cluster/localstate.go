package cluster

import (
	"maps"
	"strings"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// localState is this node's state, of which every other node keeps a copy. The
// Bus's mu guards it.
type localState struct {
	seq       uint64 // of the latest change
	devices   map[string]*heldDevice
	users     map[string]struct{}
	interests map[string]*interest
	// unsettled has the interests that the subscriptions do not match yet. A front
	// end may change one device of a list as often as its rate allows; a walk over
	// all interests for each change would delay the messages that need the Bus's mu.
	unsettled map[string]*interest
	// subscriptions counts how often this node has subscribed to telemetry.
	subscriptions uint64

	fresh    []string                  // devices whose keys are to be claimed at once
	releases []federation.Release      // devices whose keys are to be deleted
	released map[string]releasedDevice // devices released in the last releasedTime

	// The latest snapshot that was encoded, for nodes that request it soon after.
	snapshot    []byte
	snapshotSeq uint64
}

// heldDevice is a device that this node holds.
type heldDevice struct {
	federation.Holding
	due     int64 // when to claim the key, or to renew the claim; µs
	fresh   bool  // the device came while the bus was up, and its key has not been claimed yet
	refused bool  // the last claim was refused
	taken   bool  // another node has the key with a greater epoch, and the Member knows
}

// interest is this node's interest in the telemetry of a device, now or before.
type interest struct {
	wanted     bool
	subscribed bool   // this connection has subscribed to the channel
	announced  uint64 // number of the subscription that the others know of; 0 for none
}

// releasedDevice is the last release of a device. Nodes that missed it are told
// later: only the release says how far the device's telemetry went.
type releasedDevice struct {
	federation.Release
	at int64 // µs
}

// Limits of the released devices that are kept. A node that was cut off for
// longer, or while more devices left, is not told how far their telemetry went.
const (
	maxReleased  = 4096
	releasedTime = time.Hour
)

func newLocalState() localState {
	return localState{
		devices: map[string]*heldDevice{}, users: map[string]struct{}{}, interests: map[string]*interest{},
		unsettled: map[string]*interest{},
		released:  map[string]releasedDevice{},
	}
}

// hold notes a device. While the bus is down its key waits for the next
// connection, which claims the keys of all devices.
func (s *localState) hold(h federation.Holding, up bool) {
	if d := s.devices[h.Device]; d != nil && d.Epoch == h.Epoch && d.Description != h.Description {
		d.Holding = h // the key stays as it is
		return
	}
	s.devices[h.Device] = &heldDevice{Holding: h, fresh: up}
	if up {
		s.fresh = append(s.fresh, h.Device)
	}
}

// release reports whether the device was held with at most that epoch, and then
// removes it.
func (s *localState) release(r federation.Release, now int64, up bool) bool {
	d, ok := s.devices[r.Device]
	if !ok || d.Epoch > r.Epoch {
		return false
	}
	delete(s.devices, r.Device)
	kept := r
	kept.Begin = d.At
	kept.End.Before = append([]federation.Chain(nil), r.End.Before...) // the slice is the caller's
	s.keepReleased(releasedDevice{kept, now})
	if up {
		kept.Epoch = d.Epoch // that of the key
		s.releases = append(s.releases, kept)
	}
	return true
}

// keepReleased notes a released device, in place of one of the older ones when
// there are many.
func (s *localState) keepReleased(r releasedDevice) {
	if _, known := s.released[r.Device]; !known && len(s.released) >= maxReleased {
		const sample = 16 // to compare all of them would take too long
		var oldest releasedDevice
		n := 0
		for _, candidate := range s.released {
			if n == 0 || candidate.at < oldest.at {
				oldest = candidate
			}
			if n++; n == sample {
				break
			}
		}
		delete(s.released, oldest.Device)
	}
	s.released[r.Device] = r
}

// forgetReleased drops the devices that were released before a time.
func (s *localState) forgetReleased(before int64) {
	maps.DeleteFunc(s.released, func(_ string, r releasedDevice) bool { return r.at < before })
}

// setUser notes whether this node has sessions of a user, and reports whether
// that has changed.
func (s *localState) setUser(user string, present bool) bool {
	if _, had := s.users[user]; had == present {
		return false
	}
	if present {
		s.users[strings.Clone(user)] = struct{}{}
	} else {
		delete(s.users, user)
	}
	return true
}

// setInterest notes whether this node is interested in the telemetry of a device.
// It reports whether the other nodes must be told that the interest has ended.
func (s *localState) setInterest(device string, wanted bool) (ended bool) {
	i := s.interests[device]
	if i == nil {
		if !wanted {
			return false
		}
		i = &interest{}
		s.interests[strings.Clone(device)] = i
	}
	i.wanted = wanted
	if ended = !wanted && i.announced != 0; ended {
		i.announced = 0
	}
	s.settle(device, i)
	return ended
}

// settle updates interests and unsettled after a change of an interest.
func (s *localState) settle(device string, i *interest) {
	if i.wanted != i.subscribed {
		s.unsettled[device] = i
		return
	}
	delete(s.unsettled, device)
	if !i.wanted {
		delete(s.interests, device)
	}
}

// connectionEnded notes that all subscriptions have ended with the connection.
func (s *localState) connectionEnded() {
	for device, i := range s.interests {
		i.subscribed = false
		s.settle(device, i)
	}
}

// encodedSnapshot returns the whole state as records. It is kept for a moment,
// for the next node that requests it.
func (s *localState) encodedSnapshot() []byte {
	if s.snapshot == nil || s.snapshotSeq != s.seq {
		s.snapshot, s.snapshotSeq = s.appendSnapshot(nil), s.seq
	}
	return s.snapshot
}

func (s *localState) appendSnapshot(b []byte) []byte {
	b = appendNumbers(b, recordSnapshot, "", s.seq)
	n := uint64(0)
	for _, r := range s.released {
		b = appendRelease(b, 0, &r.Release)
		n++
	}
	for _, d := range s.devices {
		b = appendHold(b, 0, &d.Holding)
		n++
	}
	for user := range s.users {
		b = appendUser(b, 0, user, true)
		n++
	}
	for device, i := range s.interests {
		if i.announced != 0 {
			b = appendInterest(b, 0, device, i.announced)
			n++
		}
	}
	return appendNumbers(b, recordSnapshotEnd, "", s.seq, n)
}
