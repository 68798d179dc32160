package session

import (
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Frame is an element of an outbox's queues: one complete unmasked WebSocket
// frame, or several WebSocket frames with consecutive telemetry of one stream. A
// Frame is encoded once, shared by all receivers, and immutable after the first
// Send. Only a Frame that Session.SendEnvelope makes inside an outbox grows while
// it is the last of its queue.
//
// The creator holds one reference. Each outbox that queues the Frame holds another
// reference. The last Release returns the buffer to its pool.
type Frame struct {
	refs atomic.Int32
	// class is the index of the buffer's size in frameClasses; -1 for none.
	class int8
	// messages is the number of text messages that SendEnvelope has joined in the
	// frame; 0 for all other frames.
	messages uint32
	// telemetry is true for frames of the telemetry queue that carry samples.
	telemetry bool
	stream    uint32
	frames    uint32 // telemetry frames joined
	// account is charged for the frame in each queue.
	account Account
	// earlyFlush is set by AllowEarlyFlush.
	earlyFlush bool
	// arrival is the time at which the telemetry was read, in the Manager's time;
	// 0: unknown.
	arrival int64
	// from and to bound the samples [from, to) of telemetry, or of the report of a
	// loss.
	from, to uint64
	// dropped is the counter that CountDropped has set, nil for none.
	dropped *atomic.Uint64
	// cause and lost are set in the report of a loss only; lost is the number of
	// lost samples.
	cause LossCause
	lost  uint64
	wire  []byte
}

// frameClasses are the sizes of pooled buffers, in bytes. The fourth size holds one
// read of the default read buffer, the last size one write. The garbage collector
// frees larger buffers, so that the gateway does not keep the memory of one very
// large message.
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
// that does not fit into the frame last; last may be nil. The buffer is one class
// larger than the buffer of last, up to the second largest class, because more
// messages are likely to follow.
func newJoinFrame(last *Frame, size int) *Frame {
	if last != nil && last.class >= 0 {
		size = max(size, frameClasses[min(int(last.class)+1, len(frameClasses)-2)])
	}
	return NewFrame(size)
}

// NewTextFrame returns a text message (RFC 6455 section 5.6) with a copy of the
// payload.
func NewTextFrame(payload []byte) *Frame {
	f := NewTextFrameFor(len(payload))
	f.wire = append(f.wire, payload...)
	return f
}

// NewTextFrameFor returns a text message with a header for n bytes of payload. The
// caller must append exactly n bytes with Extend or AppendEnvelope.
func NewTextFrameFor(n int) *Frame {
	f := NewFrame(wsframe.HeaderSize(n) + n)
	f.wire = wsframe.AppendHeader(f.wire, wsframe.OpText, n)
	return f
}

// ChargeTo sets the account that is charged for the frame in each queue. Only the
// creator may call ChargeTo, before the frame is sent.
func (f *Frame) ChargeTo(account Account) { f.account = account }

// AppendEnvelope appends a spliced message to a frame that NewTextFrameFor made
// for the message's SplicedSize.
func (f *Frame) AppendEnvelope(e *protocol.Envelope, sp protocol.Splice) {
	f.wire = e.AppendSpliced(f.wire, sp)
}

// Compact returns f, or a copy of f in a smaller buffer when the buffer is far
// larger than its contents. In the second case Compact releases f. Without
// Compact, a queue of nearly empty buffers would hold more memory than its bound.
// Only the creator may call Compact, before the frame is sent.
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

// Extend calls fill with the frame's bytes. fill appends to the bytes and returns
// the result.
func (f *Frame) Extend(fill func(wire []byte) []byte) { f.wire = fill(f.wire) }

// AppendTelemetry appends one telemetry frame with the samples [from, to) of a
// stream. It returns false and does not change the frame when the samples do not
// follow the frame's samples, belong to another stream, or do not fit into the
// buffer. Then the caller sends this frame and starts another one.
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

// NewTelemetryFrame returns a frame with a copy of wire. wire holds WebSocket
// frames with the given number of telemetry frames, which have the samples
// [from, to) of a stream.
func NewTelemetryFrame(wire []byte, frames uint32, stream uint32, from, to uint64) *Frame {
	f := NewFrame(len(wire))
	f.wire = append(f.wire, wire...)
	f.telemetry, f.stream, f.frames, f.from, f.to = true, stream, frames, from, to
	return f
}

// textMessages returns the number of text messages in the frame; 0 for WebSocket
// control frames (RFC 6455 section 5.5), telemetry and reports of losses.
func (f *Frame) textMessages() uint64 {
	if f.telemetry || f.cause != "" || len(f.wire) == 0 || wsframe.OpcodeOf(f.wire).IsControl() {
		return 0
	}
	return uint64(max(f.messages, 1))
}

// SetArrival sets the arrival time of the telemetry to the time of the current
// read event of s. Telemetry without an arrival time always waits for the flush
// interval.
func (f *Frame) SetArrival(s *Session) { f.arrival = s.lastHeard.Load() }

// CountDropped sets a counter: each outbox that drops the telemetry adds the number
// of samples to n. Only the creator may call CountDropped, after Compact and before
// the frame is sent.
func (f *Frame) CountDropped(n *atomic.Uint64) { f.dropped = n }

// AllowEarlyFlush allows a receiver to flush the telemetry before the flush
// interval ends when its queue fills up, see Session.SendTelemetry. Use it for
// telemetry with few receivers: with many receivers, early flushes would cost a
// busy gateway twice the time. Only the creator may call AllowEarlyFlush, before
// the frame is sent.
func (f *Frame) AllowEarlyFlush() { f.earlyFlush = true }

// Len returns the frame's size on the wire in bytes.
func (f *Frame) Len() int { return len(f.wire) }

// Wire returns the bytes that go to the socket. The caller must not change them.
func (f *Frame) Wire() []byte { return f.wire }

// Frames returns the number of telemetry frames in f; 0 for text.
func (f *Frame) Frames() int { return int(f.frames) }

// Samples returns the number of samples per channel that the frame carries.
func (f *Frame) Samples() uint64 { return f.to - f.from }

// Range returns the samples [from, to) that the frame carries.
func (f *Frame) Range() (from, to uint64) { return f.from, f.to }

// Retain adds a reference.
func (f *Frame) Retain() { f.refs.Add(1) }

// Release drops one reference. After its last Release, the caller must not use the
// frame.
func (f *Frame) Release() {
	if f.refs.Add(-1) != 0 {
		return
	}
	// A buffer that has grown does not fit into its pool.
	if f.class < 0 || cap(f.wire) > frameClasses[f.class] {
		return
	}
	f.telemetry, f.stream, f.frames, f.from, f.to, f.arrival, f.cause, f.lost, f.messages, f.earlyFlush, f.account, f.dropped = false, 0, 0, 0, 0, 0, "", 0, 0, false, 0, nil
	f.wire = f.wire[:0]
	framePools[f.class].Put(f)
}
