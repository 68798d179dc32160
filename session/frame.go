package session

import (
	"sync"
	"sync/atomic"

	"github.com/labgate/labgate/internal/wsframe"
	"github.com/labgate/labgate/protocol"
)

// Frame is one outgoing unit: a complete unmasked WebSocket frame, or several
// telemetry frames of one stream in a row, encoded once and shared by all
// receivers. It is immutable from the first Send on, but for those that an
// outbox has made for itself (Session.SendEnvelope): more may be appended while
// they are the last of their lane.
//
// The creator holds one reference; each outbox that takes the frame holds one
// of its own. The last Release gives the buffer back to its pool.
type Frame struct {
	refs  atomic.Int32
	class int8
	// messages is how many text messages the frame joins, 0 for a frame that was
	// made outside an outbox.
	messages uint32
	// telemetry is true when the frame travels in the telemetry lane.
	telemetry bool
	stream    uint32
	frames    uint32
	// forFew is Frame.ForFew.
	forFew bool
	// heard is when the telemetry came in, in the Manager's time.
	heard    int64
	from, to uint64
	// cause is set when the frame is the news that these samples were lost.
	cause LossCause
	wire  []byte
}

// frameClasses are the buffer sizes kept in pools. The fourth holds one read of
// the default read buffer, the last one write; larger buffers are left to the
// garbage collector so that one giant message is not kept for ever.
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

// newFrameBehind returns a frame for what does not fit into last, or with last
// nil into nothing yet, with room for at least size bytes: of a larger class
// than last, for there seems to be more to come, but not the largest.
func newFrameBehind(last *Frame, size int) *Frame {
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

// AppendEnvelope appends a routed message, spliced, to a frame made by
// NewTextFrameFor with its SplicedSize.
func (f *Frame) AppendEnvelope(e *protocol.Envelope, sp protocol.Splice) {
	f.wire = e.AppendSpliced(f.wire, sp)
}

// Compact returns f, or, when its buffer is far larger than what is in it, a
// copy in a smaller one in exchange: a queue of nearly empty buffers would hold
// more memory than its bound says. Only the creator may call it, before the
// frame is sent.
func (f *Frame) Compact() *Frame {
	if f.class <= 0 || len(f.wire) > cap(f.wire)/4 || len(f.wire) > frameClasses[f.class-1] {
		return f
	}
	small := NewFrame(len(f.wire))
	small.wire = append(small.wire, f.wire...)
	small.telemetry, small.stream, small.frames, small.from, small.to, small.heard = f.telemetry, f.stream, f.frames, f.from, f.to, f.heard
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

// NewTelemetryFrame returns a frame with telemetry frames as they go to the
// wire, which are copied: so many, with the samples [from, to) of a stream.
func NewTelemetryFrame(wire []byte, frames uint32, stream uint32, from, to uint64) *Frame {
	f := NewFrame(len(wire))
	f.wire = append(f.wire, wire...)
	f.telemetry, f.stream, f.frames, f.from, f.to = true, stream, frames, from, to
	return f
}

// texts returns how many messages of the application the frame holds: not
// WebSocket control frames (RFC 6455 section 5.5), telemetry or news of a loss.
func (f *Frame) texts() uint64 {
	if f.telemetry || f.cause != "" || len(f.wire) == 0 || wsframe.OpcodeOf(f.wire).IsControl() {
		return 0
	}
	return uint64(max(f.messages, 1))
}

// HeardBy notes when the read event that the telemetry came with began. Without
// it the telemetry waits for the flush interval in any case.
func (f *Frame) HeardBy(s *Session) { f.heard = s.lastHeard.Load() }

// ForFew notes that the telemetry goes to few receivers, who shall not wait for
// company when much waits for them. With many receivers that would be the rule
// as soon as the gateway is behind, and cost it twice the time. Only the creator
// may call it, before the frame is sent.
func (f *Frame) ForFew() { f.forFew = true }

// Len returns the frame's size on the wire in bytes.
func (f *Frame) Len() int { return len(f.wire) }

// Wire returns the bytes as they go to the socket. They must not be changed.
func (f *Frame) Wire() []byte { return f.wire }

// Frames returns how many telemetry frames were joined; 0 for a text message.
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
	// A buffer that had to grow is a giant among those of its pool.
	if f.class < 0 || cap(f.wire) > frameClasses[f.class] {
		return
	}
	f.telemetry, f.stream, f.frames, f.from, f.to, f.heard, f.cause, f.messages, f.forFew = false, 0, 0, 0, 0, 0, "", 0, false
	f.wire = f.wire[:0]
	framePools[f.class].Put(f)
}
