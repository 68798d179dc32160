package protocol

import (
	"encoding/binary"
	"math"
	"strconv"
)

// TelemetryHeaderSize is the size in bytes of the header of a telemetry frame.
const TelemetryHeaderSize = 32

// TelemetryVersion is the first byte of every telemetry frame.
const TelemetryVersion = 1

// Kinds of telemetry frames.
const (
	KindSamples uint8 = 1 // values as sampled
	KindBuckets uint8 = 2 // first, min, max and last of each bucket; count is four times the buckets
)

// Formats of one value, little-endian.
const (
	FormatF32 uint8 = 1 // IEEE 754 binary32
	FormatF64 uint8 = 2 // IEEE 754 binary64
	FormatI16 uint8 = 3 // two's complement
	FormatI32 uint8 = 4 // two's complement
)

// Offsets of the header's fields, in bytes.
const (
	offVersion  = 0
	offKind     = 1
	offFormat   = 2
	offFlags    = 3
	offStream   = 4
	offSeq      = 8
	offT0       = 16
	offDT       = 24
	offChannels = 28
	offCount    = 30
)

// TelemetryHeader is the header of a telemetry frame. After it come
// Count × Channels values of the Format, interleaved by sample.
type TelemetryHeader struct {
	Kind     uint8
	Format   uint8
	Flags    uint8  // none defined; forwarded unchanged
	Stream   uint32 // the device's number; the gateway overwrites what the device sends
	Seq      uint64 // index of the first sample since the stream's start
	T0       int64  // nanoseconds since 1970 of the first sample, by the device's clock
	DT       uint32 // nanoseconds between samples
	Channels uint16 // at least 1
	Count    uint16 // samples per channel, at least 1; a multiple of 4 for KindBuckets
}

// Parse reads the header of frame and checks the version, kind and format, that
// channels and count are not 0, that the frame ends exactly after its values, and
// that Seq+Count does not overflow. It does not check the values, and allocates
// only for an error. The error is a *FieldError; h is then unchanged.
func (h *TelemetryHeader) Parse(frame []byte) error {
	if len(frame) < TelemetryHeaderSize {
		return headerError("header", strconv.Itoa(len(frame))+" bytes, a telemetry frame starts with 32; send the whole frame in one binary message")
	}
	b := (*[TelemetryHeaderSize]byte)(frame)
	p := TelemetryHeader{
		Kind:     b[offKind],
		Format:   b[offFormat],
		Flags:    b[offFlags],
		Stream:   binary.LittleEndian.Uint32(b[offStream:]),
		Seq:      binary.LittleEndian.Uint64(b[offSeq:]),
		T0:       int64(binary.LittleEndian.Uint64(b[offT0:])),
		DT:       binary.LittleEndian.Uint32(b[offDT:]),
		Channels: binary.LittleEndian.Uint16(b[offChannels:]),
		Count:    binary.LittleEndian.Uint16(b[offCount:]),
	}
	size := int64(FormatSize(p.Format))
	if b[offVersion] != TelemetryVersion || p.Kind-KindSamples > KindBuckets-KindSamples || size == 0 ||
		p.Channels == 0 || p.Count == 0 || p.Kind == KindBuckets && p.Count%4 != 0 ||
		int64(len(frame)-TelemetryHeaderSize) != int64(p.Count)*int64(p.Channels)*size ||
		p.Seq > math.MaxUint64-uint64(p.Count) {
		return p.fault(b[offVersion], len(frame))
	}
	*h = p
	return nil
}

// fault says which condition of Parse does not hold.
func (h *TelemetryHeader) fault(version uint8, length int) error {
	body := int64(h.Count) * int64(h.Channels) * int64(FormatSize(h.Format))
	switch {
	case version != TelemetryVersion:
		return headerError("version", strconv.Itoa(int(version))+" is unknown; send 1")
	case h.Kind != KindSamples && h.Kind != KindBuckets:
		return headerError("kind", strconv.Itoa(int(h.Kind))+" is unknown; send 1 for samples or 2 for buckets")
	case FormatSize(h.Format) == 0:
		return headerError("format", strconv.Itoa(int(h.Format))+" is unknown; send 1 (f32), 2 (f64), 3 (i16) or 4 (i32)")
	case h.Channels == 0:
		return headerError("channels", "0, at least 1 needed; send no frame when there is nothing to send")
	case h.Count == 0:
		return headerError("count", "0, at least 1 needed; send no frame when there is nothing to send")
	case h.Kind == KindBuckets && h.Count%4 != 0:
		return headerError("count", strconv.Itoa(int(h.Count))+" is not a multiple of 4; a frame of buckets has first, min, max and last of each")
	case h.Seq > math.MaxUint64-uint64(h.Count):
		return headerError("seq", strconv.FormatUint(h.Seq, 10)+" plus count does not fit 64 bits; start the stream again at 0")
	}
	return headerError("count", strconv.Itoa(int(h.Count))+" samples of "+strconv.Itoa(int(h.Channels))+" channels need "+
		strconv.FormatInt(body, 10)+" bytes after the header, the frame has "+strconv.Itoa(length-TelemetryHeaderSize)+"; make count and frame agree")
}

func headerError(field, problem string) error { return &FieldError{Field: field, Problem: problem} }

// Append appends the 32 bytes of the header to dst. It checks nothing: Parse accepts
// the result if the fields are within their limits and BodySize bytes of values
// follow.
func (h *TelemetryHeader) Append(dst []byte) []byte {
	dst = append(dst, TelemetryVersion, h.Kind, h.Format, h.Flags)
	dst = binary.LittleEndian.AppendUint32(dst, h.Stream)
	dst = binary.LittleEndian.AppendUint64(dst, h.Seq)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.T0))
	dst = binary.LittleEndian.AppendUint32(dst, h.DT)
	dst = binary.LittleEndian.AppendUint16(dst, h.Channels)
	return binary.LittleEndian.AppendUint16(dst, h.Count)
}

// End returns Seq+Count: the seq of the stream's next frame if no sample is missing
// in between.
func (h *TelemetryHeader) End() uint64 { return h.Seq + uint64(h.Count) }

// BodySize returns the bytes of values that follow the header, 0 when the
// format is unknown.
func (h *TelemetryHeader) BodySize() int {
	return int(h.Count) * int(h.Channels) * FormatSize(h.Format)
}

// StampStream writes the stream number into a frame that Parse has accepted.
func StampStream(frame []byte, stream uint32) {
	binary.LittleEndian.PutUint32(frame[offStream:offStream+4], stream)
}

// FormatSize returns the bytes of one value of the format, 0 when it is
// unknown.
func FormatSize(f uint8) int {
	switch f {
	case FormatF32, FormatI32:
		return 4
	case FormatF64:
		return 8
	case FormatI16:
		return 2
	}
	return 0
}
