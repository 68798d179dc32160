package session

import (
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// LossCause says why samples did not reach a front end: the `cause` of
// gateway.lost.
type LossCause string

const (
	// LossSlowConsumer: the receiver's telemetry lane was full and its oldest
	// frames gave way.
	LossSlowConsumer LossCause = "slow_consumer"
	// LossBus: the bus between nodes dropped frames.
	LossBus LossCause = "bus"
)

// maxLostRanges bounds the ranges remembered for one receiver. One stream that
// only grows needs one range, unless the device leaves gaps of its own. Beyond
// the bound the ranges of each stream become one that is inexact; a receiver
// that loses telemetry of more streams at once is closed as a slow consumer.
const maxLostRanges = 16384

// lostRange is a loss that a receiver was not told of yet.
type lostRange struct {
	stream   uint32
	inexact  bool
	cause    LossCause
	from, to uint64
	samples  uint64 // lost between from and to
}

// exactLoss is the loss of all samples [from, to).
func exactLoss(stream uint32, from, to uint64, cause LossCause) lostRange {
	return lostRange{stream: stream, from: from, to: to, samples: to - from, cause: cause}
}

// merge adds a later loss of the same stream and cause. What lies between the
// two was neither lost nor sent to the receiver: it is the device's own gap, or
// the device has started its numbering over.
func (r *lostRange) merge(later lostRange) {
	r.inexact = r.inexact || later.inexact || r.to != later.from
	r.from, r.to = min(r.from, later.from), max(r.to, later.to)
	r.samples += later.samples
}

// lossLedger keeps the sample ranges that a receiver has lost and was not told
// of yet, in the order in which they were lost.
type lossLedger struct {
	ranges []lostRange
	// told is how many ranges have left the front since the ledger began.
	told int
	// last finds the newest range of a stream, counted from the ledger's
	// beginning, so that neighbours join.
	last map[uint32]int
	// coarse takes the place of last once there were too many ranges: it finds
	// the one range of each stream and cause.
	coarse map[coarseKey]int
}

type coarseKey struct {
	stream uint32
	cause  LossCause
}

// pending reports whether there is a loss to tell; a nil ledger has none.
func (l *lossLedger) pending() bool { return l != nil && len(l.ranges) > 0 }

// add notes a loss. It reports false when the ledger is full.
func (l *lossLedger) add(r lostRange) bool {
	if l.coarse == nil {
		if i, ok := l.last[r.stream]; ok && i >= l.told {
			if before := &l.ranges[i-l.told]; before.to == r.from && before.cause == r.cause {
				before.merge(r)
				return true
			}
		}
		if len(l.ranges) >= maxLostRanges {
			l.coarsen()
		}
	}
	key := coarseKey{r.stream, r.cause}
	if i, ok := l.coarse[key]; ok && i >= l.told {
		l.ranges[i-l.told].merge(r)
		return true
	}
	if len(l.ranges) >= maxLostRanges {
		return false
	}
	at := l.told + len(l.ranges)
	l.ranges = append(l.ranges, r)
	if l.coarse != nil {
		l.coarse[key] = at
		return true
	}
	if l.last == nil {
		l.last = make(map[uint32]int)
	}
	l.last[r.stream] = at
	return true
}

// coarsen merges the ranges of each stream and cause into one. It happens once
// in the life of a ledger, which ends when all is told.
func (l *lossLedger) coarsen() {
	l.coarse = make(map[coarseKey]int)
	merged := l.ranges[:0]
	for _, r := range l.ranges {
		key := coarseKey{r.stream, r.cause}
		if i, ok := l.coarse[key]; ok {
			merged[i-l.told].merge(r)
			continue
		}
		l.coarse[key] = l.told + len(merged)
		merged = append(merged, r)
	}
	l.ranges, l.last = merged, nil
}

// takeInto moves ranges worth about room bytes of news, at least one, to dst.
func (l *lossLedger) takeInto(dst []byte, room int) []byte {
	for first := true; len(l.ranges) > 0 && (first || len(dst) < room); first = false {
		dst = appendLost(dst, l.ranges[0])
		l.ranges = l.ranges[1:]
		l.told++
	}
	return dst
}

// newLossFrame returns the news of an exact loss as a frame that keeps its place
// in the telemetry lane.
func newLossFrame(r lostRange) *Frame {
	f := NewFrame(frameClasses[0])
	f.wire = appendLost(f.wire, r)
	f.stream, f.from, f.to, f.cause = r.stream, r.from, r.to, r.cause
	return f
}

// appendLost appends the gateway.lost message for r as a WebSocket frame.
func appendLost(dst []byte, r lostRange) []byte {
	var body [256]byte
	lost := protocol.Lost{Stream: r.stream, From: r.from, To: r.to, Cause: string(r.cause)}
	if r.inexact {
		lost.Inexact, lost.Samples = true, r.samples
	}
	return wsframe.AppendFrame(dst, wsframe.OpText, lost.AppendMessage(body[:0]))
}
