package session

import (
	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// LossCause says why samples did not reach a front end: the `cause` of
// gateway.lost.
type LossCause string

const (
	// LossSlowConsumer: the receiver's telemetry queue was full, and its oldest
	// frames were dropped.
	LossSlowConsumer LossCause = "slow_consumer"
	// LossBus: the bus between nodes dropped frames.
	LossBus LossCause = "bus"
)

// maxLostRanges limits the ranges in a receiver's ledger. The losses of a stream
// without gaps need one range. At the limit, the ranges of each stream and cause
// are merged into one inexact range. A receiver with losses of more streams than
// that is closed as a slow consumer.
const maxLostRanges = 16384

// lostRange is a loss that was not yet reported to the receiver.
type lostRange struct {
	stream uint32
	// inexact means that only some samples of [from, to) were lost.
	inexact  bool
	cause    LossCause
	from, to uint64
	samples  uint64 // number of lost samples
}

// exactLoss returns the loss of all samples [from, to).
func exactLoss(stream uint32, from, to uint64, cause LossCause) lostRange {
	return lostRange{stream: stream, from: from, to: to, samples: to - from, cause: cause}
}

// lossWithin returns the loss of a number of samples within [from, to). The loss is
// exact when the number is to-from.
func lossWithin(stream uint32, from, to, samples uint64, cause LossCause) lostRange {
	return lostRange{stream: stream, from: from, to: to, samples: samples, inexact: samples != to-from, cause: cause}
}

// merge adds a later loss of the same stream and cause. The samples between the two
// ranges were not lost: the receiver got them, or the device did not send them.
func (r *lostRange) merge(later lostRange) {
	r.inexact = r.inexact || later.inexact || r.to != later.from
	r.from, r.to = min(r.from, later.from), max(r.to, later.to)
	r.samples += later.samples
}

// lossLedger has the losses that were not yet reported to the receiver, in their
// order. The ledger numbers its ranges: range number i is ranges[i-reported].
type lossLedger struct {
	ranges []lostRange
	// reported is the number of ranges that were reported and removed.
	reported int
	// last has the number of the newest range of each stream, so that add can join
	// adjacent losses.
	last map[uint32]int
	// coarse replaces last after coarsen: it has the number of the only range of
	// each stream and cause. nil before coarsen.
	coarse map[coarseKey]int
}

type coarseKey struct {
	stream uint32
	cause  LossCause
}

// pending reports whether the ledger has losses; a nil ledger has none.
func (l *lossLedger) pending() bool { return l != nil && len(l.ranges) > 0 }

// add enters a loss. It returns false when the ledger is full.
func (l *lossLedger) add(r lostRange) bool {
	if l.coarse == nil {
		if i, ok := l.last[r.stream]; ok && i >= l.reported {
			if before := &l.ranges[i-l.reported]; before.to == r.from && before.cause == r.cause && before.inexact == r.inexact {
				before.merge(r)
				return true
			}
		}
		if len(l.ranges) >= maxLostRanges {
			l.coarsen()
		}
	}
	key := coarseKey{r.stream, r.cause}
	if i, ok := l.coarse[key]; ok && i >= l.reported {
		l.ranges[i-l.reported].merge(r)
		return true
	}
	if len(l.ranges) >= maxLostRanges {
		return false
	}
	at := l.reported + len(l.ranges)
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

// coarsen merges the ranges of each stream and cause into one range. A ledger is
// coarsened once at most; the outbox drops the ledger when every loss is reported.
func (l *lossLedger) coarsen() {
	l.coarse = make(map[coarseKey]int)
	merged := l.ranges[:0]
	for _, r := range l.ranges {
		key := coarseKey{r.stream, r.cause}
		if i, ok := l.coarse[key]; ok {
			merged[i-l.reported].merge(r)
			continue
		}
		l.coarse[key] = l.reported + len(merged)
		merged = append(merged, r)
	}
	l.ranges, l.last = merged, nil
}

// takeInto appends ranges to dst as gateway.lost messages and removes them from the
// ledger: at least one range, and further ranges until dst has room bytes.
func (l *lossLedger) takeInto(dst []byte, room int) []byte {
	for first := true; len(l.ranges) > 0 && (first || len(dst) < room); first = false {
		dst = appendLost(dst, l.ranges[0])
		l.ranges = l.ranges[1:]
		l.reported++
	}
	return dst
}

// newLossFrame returns the report of a loss as a frame for the telemetry queue.
func newLossFrame(r lostRange) *Frame {
	f := NewFrame(frameClasses[0])
	f.wire = appendLost(f.wire, r)
	f.stream, f.from, f.to, f.cause, f.lost = r.stream, r.from, r.to, r.cause, r.samples
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
