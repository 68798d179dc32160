package session

import (
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Frame is what an outbox queues: one complete unmasked WebSocket frame, or
// several of them with consecutive telemetry of one stream. It is encoded once,
// shared by all receivers, and immutable after the first Send. Frames that an
// outbox makes for itself (Session.SendEnvelope) are the exception: they grow
// while they are the last of their queue.
//
// The creator holds one reference; each outbox that takes the frame holds one of
// its own. The last Release returns the buffer to its pool.
type Frame struct {
	refs  atomic.Int32
	class int8
	// messages is how many text messages an outbox has joined in the frame; 0 for
	// a frame that was made outside an outbox.
	messages uint32
	// telemetry is true for frames of the telemetry queue that carry samples.
	telemetry bool
	stream    uint32
	frames    uint32 // telemetry frames joined
	// account is charged for the frame where it waits.
	account Account
	// earlyFlush is set by AllowEarlyFlush.
	earlyFlush bool
	// arrival is when the telemetry was read, in the Manager's time; 0: unknown.
	arrival  int64
	from, to uint64
	// dropped is what CountDropped was given.
	dropped *atomic.Uint64
	// cause is set in the report that samples [from, to) were lost, and lost is how
	// many.
	cause LossCause
	lost  uint64
	wire  []byte
}

// frameClasses are the buffer sizes kept in pools, in bytes. The fourth holds one
// read of the default read buffer, the last one write. Larger buffers are left to
// the garbage collector, so that the memory of one very large message is not kept
// for ever.
var frameClasses = [...]int{128, 512, 4 << 10, 20 << 10, 68 << 10}

var framePools [len(frameClasses)]sync.Pool

// NewFrame returns an empty frame with room for at least size bytes on the
// wire and one reference.
func NewFrame(size int) *Frame {
	for class, room := range frameClasses {
		if size > room {
			continue
		}
		f, ok := framePools[class].Get().(*Frame)
		if !ok {
			f = &Frame{class: int8(class), wire: make([]byte, 0, room)}
		}
		f.refs.Store(1)
		return f
	}
	f := &Frame{class: -1, wire: make([]byte, 0, size)}
	f.refs.Store(1)
	return f
}

// newJoinFrame returns a frame with room for at least size bytes, for a message
// that does not fit into last (nil if there is no last one). Its buffer is one
// class larger than last's, up to the second largest, because more messages are
// likely to follow.
func newJoinFrame(last *Frame, size int) *Frame {
	if last != nil && last.class >= 0 {
		size = max(size, frameClasses[min(int(last.class)+1, len(frameClasses)-2)])
	}
	return NewFrame(size)
}

// NewTextFrame returns a text message (RFC 6455 section 5.6) with the given
// payload, which is copied.
func NewTextFrame(payload []byte) *Frame {
	f := NewTextFrameFor(len(payload))
	f.wire = append(f.wire, payload...)
	return f
}

// NewTextFrameFor returns a text message whose header announces n bytes of
// payload; the caller appends exactly that many with Extend.
func NewTextFrameFor(n int) *Frame {
	f := NewFrame(wsframe.HeaderSize(n) + n)
	f.wire = wsframe.AppendHeader(f.wire, wsframe.OpText, n)
	return f
}

// ChargeTo names the sender who is charged for the frame where it waits. Only the
// creator may call it, before the frame is sent.
func (f *Frame) ChargeTo(account Account) { f.account = account }

// AppendEnvelope appends a routed message, spliced, to a frame made by
// NewTextFrameFor with its SplicedSize.
func (f *Frame) AppendEnvelope(e *protocol.Envelope, sp protocol.Splice) {
	f.wire = e.AppendSpliced(f.wire, sp)
}

// Compact returns f, or, if its buffer is far larger than its contents, a copy in
// a smaller buffer, and releases f then. A queue of nearly empty buffers would
// hold more memory than its bound says. Only the creator may call Compact, before
// the frame is sent.
func (f *Frame) Compact() *Frame {
	if f.class <= 0 || len(f.wire) > cap(f.wire)/4 || len(f.wire) > frameClasses[f.class-1] {
		return f
	}
	small := NewFrame(len(f.wire))
	small.wire = append(small.wire, f.wire...)
	small.telemetry, small.stream, small.frames, small.from, small.to, small.arrival = f.telemetry, f.stream, f.frames, f.from, f.to, f.arrival
	f.Release()
	return small
}

// Extend hands the bytes written so far to fill, which appends to them and
// returns the result.
func (f *Frame) Extend(fill func(wire []byte) []byte) { f.wire = fill(f.wire) }

// AppendTelemetry adds one telemetry frame with the samples [from, to) of a
// stream. It reports false, and leaves the frame as it is, when the samples do
// not follow those already there, belong to another stream, or do not fit into
// the frame's buffer: the caller sends this frame and starts the next.
func (f *Frame) AppendTelemetry(payload []byte, stream uint32, from, to uint64) bool {
	need := wsframe.HeaderSize(len(payload)) + len(payload)
	if f.frames > 0 && (f.stream != stream || f.to != from || len(f.wire)+need > cap(f.wire)) {
		return false
	}
	if f.frames == 0 {
		f.telemetry, f.stream, f.from = true, stream, from
	}
	f.to = to
	f.frames++
	f.wire = wsframe.AppendHeader(f.wire, wsframe.OpBinary, len(payload))
	f.wire = append(f.wire, payload...)
	return true
}

// NewTelemetryFrame returns a frame with a copy of wire, which holds the given
// number of telemetry frames, as WebSocket frames, with the samples [from, to) of
// a stream.
func NewTelemetryFrame(wire []byte, frames uint32, stream uint32, from, to uint64) *Frame {
	f := NewFrame(len(wire))
	f.wire = append(f.wire, wire...)
	f.telemetry, f.stream, f.frames, f.from, f.to = true, stream, frames, from, to
	return f
}

// textMessages returns how many text messages the frame holds; 0 for WebSocket
// control frames (RFC 6455 section 5.5), telemetry and reports of losses.
func (f *Frame) textMessages() uint64 {
	if f.telemetry || f.cause != "" || len(f.wire) == 0 || wsframe.OpcodeOf(f.wire).IsControl() {
		return 0
	}
	return uint64(max(f.messages, 1))
}

// SetArrival sets the arrival time of the telemetry to that of s's current read
// event. Telemetry without an arrival time always waits for the flush interval.
func (f *Frame) SetArrival(s *Session) { f.arrival = s.lastHeard.Load() }

// CountDropped lets each outbox that drops the telemetry add its samples to n.
// Only the creator may call it, after Compact and before the frame is sent.
func (f *Frame) CountDropped(n *atomic.Uint64) { f.dropped = n }

// AllowEarlyFlush allows a receiver to flush the telemetry before the flush interval ends
// if its queue fills up, see Session.SendTelemetry. It is meant for telemetry with
// few receivers: with many, early flushes would cost a busy gateway twice the
// time. Only the creator may call it, before the frame is sent.
func (f *Frame) AllowEarlyFlush() { f.earlyFlush = true }

// Len returns the frame's size on the wire in bytes.
func (f *Frame) Len() int { return len(f.wire) }

// Wire returns the bytes as they go to the socket. They must not be changed.
func (f *Frame) Wire() []byte { return f.wire }

// Frames returns how many telemetry frames are joined in f; 0 for text.
func (f *Frame) Frames() int { return int(f.frames) }

// Samples returns the number of samples per channel that the frame carries.
func (f *Frame) Samples() uint64 { return f.to - f.from }

// Range returns the samples that the frame carries, from up to, not including,
// to.
func (f *Frame) Range() (from, to uint64) { return f.from, f.to }

// Retain adds a reference.
func (f *Frame) Retain() { f.refs.Add(1) }

// Release gives one reference back. The frame must not be touched after the
// caller's last Release.
func (f *Frame) Release() {
	if f.refs.Add(-1) != 0 {
		return
	}
	// A buffer that had to grow does not belong into its pool any more.
	if f.class < 0 || cap(f.wire) > frameClasses[f.class] {
		return
	}
	f.telemetry, f.stream, f.frames, f.from, f.to, f.arrival, f.cause, f.lost, f.messages, f.earlyFlush, f.account, f.dropped = false, 0, 0, 0, 0, 0, "", 0, 0, false, 0, nil
	f.wire = f.wire[:0]
	framePools[f.class].Put(f)
}
