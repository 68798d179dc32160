package cluster

import (
	"maps"
	"strings"
	"time"

	"github.com/labgate/labgate/router/federation"
)

// own is what this node has: the others have a copy of it. The Bus's mu guards
// it.
type own struct {
	seq      uint64 // of the latest change
	devices  map[string]*held
	users    map[string]struct{}
	wants    map[string]*want
	subs     uint64               // how often this node has subscribed to telemetry
	fresh    []string             // devices to be claimed at once
	releases []federation.Release // keys to be deleted
	former   map[string]former    // devices released lately, with their last release
	// What was last sent as a snapshot, for those who ask soon after.
	snapshot    []byte
	snapshotSeq uint64
}

// held is a device that this node holds.
type held struct {
	federation.Holding
	due     int64 // when to claim it, or to renew the claim; µs
	fresh   bool  // it has not been claimed before, and came while the bus was up
	refused bool  // the last claim was
	taken   bool  // another node holds it with a greater epoch, and the Member knows
}

// want is a device whose telemetry this node wants, or has wanted.
type want struct {
	wanted     bool
	subscribed bool   // the channel is subscribed to on this link
	announced  uint64 // the subscription that the others know of; 0 for none
}

// former is a device that was released, kept for those who missed it: only the
// release says how far its telemetry went.
type former struct {
	federation.Release
	at int64
}

// Bounds of the released devices that are kept. Nodes that were cut off for
// longer, or while more devices left, are not told how far those had come.
const (
	maxFormer  = 4096
	formerTime = time.Hour
)

func newOwn() own {
	return own{devices: map[string]*held{}, former: map[string]former{}, users: map[string]struct{}{}, wants: map[string]*want{}}
}

// hold notes a device. While the bus is down its key waits for the link that
// will claim all of them.
func (o *own) hold(h federation.Holding, up bool) {
	o.devices[h.Device] = &held{Holding: h, fresh: up}
	if up {
		o.fresh = append(o.fresh, h.Device)
	}
}

// release reports whether the device was held, with that epoch at most.
func (o *own) release(r federation.Release, now int64, up bool) bool {
	d, ok := o.devices[r.Device]
	if !ok || d.Epoch > r.Epoch {
		return false
	}
	delete(o.devices, r.Device)
	// The range's list is the caller's.
	kept := r
	kept.End.Before = append([]federation.Chain(nil), r.End.Before...)
	o.keepFormer(former{kept, now})
	if up {
		kept.Epoch = d.Epoch // that of the key
		o.releases = append(o.releases, kept)
	}
	return true
}

// keepFormer notes a released device, in place of one of the older ones when
// there are many.
func (o *own) keepFormer(f former) {
	if _, there := o.former[f.Device]; !there && len(o.former) >= maxFormer {
		const some = 16 // to look at all would take too long
		var oldest former
		looked := 0
		for _, x := range o.former {
			if looked == 0 || x.at < oldest.at {
				oldest = x
			}
			if looked++; looked == some {
				break
			}
		}
		delete(o.former, oldest.Device)
	}
	o.former[f.Device] = f
}

// forgetFormer drops what was released before a time.
func (o *own) forgetFormer(before int64) {
	maps.DeleteFunc(o.former, func(_ string, f former) bool { return f.at < before })
}

// user reports whether that is news.
func (o *own) user(user string, here bool) bool {
	if _, had := o.users[user]; had == here {
		return false
	}
	if here {
		o.users[strings.Clone(user)] = struct{}{}
	} else {
		delete(o.users, user)
	}
	return true
}

// want reports whether the others have to be told that the device's telemetry is
// not wanted any longer.
func (o *own) want(device string, wanted bool) bool {
	w := o.wants[device]
	if w == nil {
		if !wanted {
			return false
		}
		w = &want{}
		o.wants[strings.Clone(device)] = w
	}
	w.wanted = wanted
	tell := !wanted && w.announced != 0
	if tell {
		w.announced = 0
	}
	if !wanted && !w.subscribed {
		delete(o.wants, device)
	}
	return tell
}

// current returns all that the node has, as records, between those that say
// where it begins and ends. It is kept for a moment, for whoever asks next.
func (o *own) current() []byte {
	if o.snapshot == nil || o.snapshotSeq != o.seq {
		o.snapshot, o.snapshotSeq = o.encode(nil), o.seq
	}
	return o.snapshot
}

func (o *own) encode(b []byte) []byte {
	b = appendNumbers(b, recordSnapshot, "", o.seq)
	n := uint64(0)
	for _, f := range o.former {
		b = appendRelease(b, 0, &f.Release)
		n++
	}
	for _, d := range o.devices {
		b = appendHold(b, 0, &d.Holding)
		n++
	}
	for user := range o.users {
		b = appendUser(b, 0, user, true)
		n++
	}
	for device, w := range o.wants {
		if w.announced != 0 {
			b = appendWant(b, 0, device, w.announced)
			n++
		}
	}
	return appendNumbers(b, recordSnapshotEnd, "", o.seq, n)
}
