package client

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/labgate/labgate/protocol"
)

// Value is a type of telemetry values: f32, f64, i16 or i32.
type Value interface {
	float32 | float64 | int16 | int32
}

// Stream is a device's telemetry: a Stream numbers samples, computes their
// times and packs the samples into frames. Its methods may be called from any
// goroutine, and never wait.
type Stream[T Value] struct {
	dev      *Device
	channels int
	perFrame int
	size     int // bytes of a full frame

	mu     sync.Mutex
	header protocol.TelemetryHeader // of the frame being filled; Seq is its first sample
	frame  []byte                   // being filled, nil when empty
	timed  bool                     // anchor is set
	anchor int64                    // nanoseconds since 1970 of sample number origin
	origin uint64
	closed bool
}

// NewStream starts the telemetry of a device: channels values of type T for
// each sample, dt between samples (1 ns to 4.29 s), samplesPerFrame in each
// frame (at most 65535). Larger frames cost less CPU, but samples wait longer:
// at 10 kHz a frame of 100 samples is sent every 10 ms. A device has one stream
// at a time; see Close.
func NewStream[T Value](d *Device, channels int, dt time.Duration, samplesPerFrame int) (*Stream[T], error) {
	format := formatOf[T]()
	size := protocol.TelemetryHeaderSize + channels*samplesPerFrame*protocol.FormatSize(format)
	limit := d.Welcome().MaxMessage
	switch {
	case channels < 1 || channels > math.MaxUint16:
		return nil, fmt.Errorf("client: %d channels, must be 1 to 65535", channels)
	case samplesPerFrame < 1 || samplesPerFrame > math.MaxUint16:
		return nil, fmt.Errorf("client: %d samples per frame, must be 1 to 65535", samplesPerFrame)
	case dt < 1 || dt > math.MaxUint32:
		return nil, fmt.Errorf("client: %v between samples, must be 1 ns to %v", dt, time.Duration(math.MaxUint32))
	case limit > 0 && size > limit:
		return nil, fmt.Errorf("%w: a frame of %d samples has %d bytes, the gateway takes %d; use fewer samples per frame",
			ErrTooLarge, samplesPerFrame, size, limit)
	case !d.streamed.CompareAndSwap(false, true):
		return nil, ErrStreamOpen
	}
	return &Stream[T]{
		dev:      d,
		channels: channels,
		perFrame: samplesPerFrame,
		size:     size,
		header: protocol.TelemetryHeader{
			Kind:     protocol.KindSamples,
			Format:   format,
			DT:       uint32(dt),
			Channels: uint16(channels),
		},
	}, nil
}

// Append adds samples, interleaved: all channels of the first sample, then of
// the second. Each full frame is queued. The error says that the values are not
// whole samples, or that the stream is closed. While there is no connection,
// frames wait in the [SendBuffer].
//
// Unless SetTime was called, the time of the first Append is the time of its
// last sample; each following sample is dt later than its predecessor.
func (s *Stream[T]) Append(values ...T) error {
	if len(values)%s.channels != 0 {
		return fmt.Errorf("client: %d values are not whole samples of %d channels", len(values), s.channels)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if len(values) > 0 && !s.timed {
		before := int64(len(values)/s.channels-1) * int64(s.header.DT)
		s.setTime(time.Now().UnixNano() - before)
	}
	for len(values) > 0 {
		if s.frame == nil {
			s.frame = s.dev.link.queue.buffer(s.size)[:protocol.TelemetryHeaderSize]
		}
		n := min(len(values), (s.perFrame-int(s.header.Count))*s.channels)
		s.frame = appendValues(s.frame, values[:n])
		s.header.Count += uint16(n / s.channels)
		values = values[n:]
		if int(s.header.Count) == s.perFrame {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush queues a frame that is not full yet.
func (s *Stream[T]) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.flush()
}

// Skip leaves out the numbers of the next n samples, because the device has
// missed these samples: the receivers see exactly this gap.
func (s *Stream[T]) Skip(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := s.flush()
	s.header.Seq += n
	return err
}

// SetTime sets the time of the next sample. Without SetTime the times follow
// from the first Append and dt alone; a device whose clock and sampling drift
// apart should call SetTime now and then.
func (s *Stream[T]) SetTime(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	err := s.flush()
	s.setTime(t.UnixNano())
	return err
}

// Seq is the number of the next sample.
func (s *Stream[T]) Seq() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.header.Seq + uint64(s.header.Count)
}

// Close queues the remaining samples. The device may then open another stream,
// whose samples count from 0 again.
func (s *Stream[T]) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	err := s.flush()
	s.closed = true
	s.dev.streamed.Store(false)
	return err
}

func (s *Stream[T]) setTime(ns int64) {
	s.timed, s.anchor, s.origin = true, ns, s.header.Seq+uint64(s.header.Count)
}

// flush queues the frame, full or not, and begins the next; mu is held.
func (s *Stream[T]) flush() error {
	if s.frame == nil {
		return nil
	}
	s.header.T0 = s.anchor + int64(s.header.Seq-s.origin)*int64(s.header.DT)
	s.header.Append(s.frame[:0]) // into the room reserved for the header
	frame := s.frame
	s.header.Seq = s.header.End()
	s.header.Count = 0
	s.frame = nil
	return s.dev.link.queue.putTelemetry(frame)
}

func formatOf[T Value]() uint8 {
	var zero T
	switch any(zero).(type) {
	case float32:
		return protocol.FormatF32
	case float64:
		return protocol.FormatF64
	case int16:
		return protocol.FormatI16
	}
	return protocol.FormatI32
}

func appendValues[T Value](dst []byte, values []T) []byte {
	switch v := any(values).(type) {
	case []float32:
		return protocol.AppendF32(dst, v...)
	case []float64:
		return protocol.AppendF64(dst, v...)
	case []int16:
		return protocol.AppendI16(dst, v...)
	case []int32:
		return protocol.AppendI32(dst, v...)
	}
	return dst // not reached: Value has no other types
}
