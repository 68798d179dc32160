package session

import (
	"strconv"

	"github.com/labgate/labgate/internal/wsframe"
)

// LossCause says why samples did not reach a front end: the `cause` of
// gateway.lost and the label of the metric.
type LossCause string

const (
	// LossSlowConsumer: the receiver's telemetry lane was full and its oldest
	// frames gave way.
	LossSlowConsumer LossCause = "slow_consumer"
	// LossBus: the bus between nodes dropped frames.
	LossBus LossCause = "bus"
)

// maxLostRanges bounds the ranges remembered for one receiver. One stream that
// only grows needs one range; a receiver of thousands of streams needs one
// each. A receiver beyond it is closed as a slow consumer, since its losses
// could no longer be told exactly.
const maxLostRanges = 16384

type lostRange struct {
	stream   uint32
	cause    LossCause
	from, to uint64
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
}

// pending reports whether there is a loss to tell; a nil ledger has none.
func (l *lossLedger) pending() bool { return l != nil && len(l.ranges) > 0 }

// add notes the loss of samples [from, to). It reports false when the ledger
// is full.
func (l *lossLedger) add(stream uint32, from, to uint64, cause LossCause) bool {
	if i, ok := l.last[stream]; ok && i >= l.told {
		if r := &l.ranges[i-l.told]; r.to == from && r.cause == cause {
			r.to = to
			return true
		}
	}
	if len(l.ranges) >= maxLostRanges {
		return false
	}
	if l.last == nil {
		l.last = make(map[uint32]int)
	}
	l.last[stream] = l.told + len(l.ranges)
	l.ranges = append(l.ranges, lostRange{stream: stream, from: from, to: to, cause: cause})
	return true
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

// newLossFrame returns the news of r as a frame that keeps its place in the
// telemetry lane.
func newLossFrame(r lostRange) *Frame {
	f := NewFrame(frameClasses[0])
	f.wire = appendLost(f.wire, r)
	f.stream, f.from, f.to, f.cause = r.stream, r.from, r.to, r.cause
	return f
}

// appendLost appends the gateway.lost message for r as a WebSocket frame.
func appendLost(dst []byte, r lostRange) []byte {
	var body [256]byte
	b := append(body[:0], `{"type":"gateway.lost","payload":{"stream":`...)
	b = strconv.AppendUint(b, uint64(r.stream), 10)
	b = append(b, `,"from":`...)
	b = strconv.AppendUint(b, r.from, 10)
	b = append(b, `,"to":`...)
	b = strconv.AppendUint(b, r.to, 10)
	b = append(b, `,"cause":"`...)
	b = append(b, r.cause...)
	b = append(b, `"}}`...)
	return wsframe.AppendFrame(dst, wsframe.OpText, b)
}
