package protocol

import (
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/quick"
)

// goldenFrame is a frame written by hand from the table of the wire format.
const goldenFrame = "01" + "01" + "03" + "80" + // version, kind, format, flags
	"07000000" + // stream
	"0807060504030201" + // seq
	"ffffffffffffffff" + // t0
	"a0860100" + // dt
	"0200" + "0300" + // channels, count
	"0100" + "ffff" + "0080" + "ff7f" + "0000" + "3412"

func TestTelemetryGoldenFrame(t *testing.T) {
	frame, err := hex.DecodeString(goldenFrame)
	if err != nil {
		t.Fatal(err)
	}
	var h TelemetryHeader
	if err := h.Parse(frame); err != nil {
		t.Fatal(err)
	}
	want := TelemetryHeader{Kind: KindSamples, Format: FormatI16, Flags: 0x80, Stream: 7, Seq: 0x0102030405060708, T0: -1, DT: 100_000, Channels: 2, Count: 3}
	if h != want {
		t.Errorf("got %+v\nwant %+v", h, want)
	}
	if h.End() != 0x010203040506070b || h.BodySize() != 12 {
		t.Errorf("End %x, BodySize %d", h.End(), h.BodySize())
	}
	if got := AppendI16(want.Append(nil), 1, -1, math.MinInt16, math.MaxInt16, 0, 0x1234); !slices.Equal(got, frame) {
		t.Errorf("written as %x", got)
	}
	StampStream(frame, 0xdeadbeef)
	want.Stream = 0xdeadbeef
	if err := h.Parse(frame); err != nil || h != want {
		t.Errorf("after StampStream %+v, %v", h, err)
	}
}

func TestTelemetryHeaderRefuses(t *testing.T) {
	good := TelemetryHeader{Kind: KindSamples, Format: FormatF32, Channels: 2, Count: 4}
	for _, tc := range []struct {
		name           string
		change         func(h *TelemetryHeader, frame []byte) []byte // returns the frame; nil: made from h with a fitting body
		field, problem string
	}{
		{"empty", func(*TelemetryHeader, []byte) []byte { return []byte{} }, "header", "0 bytes"},
		{"short", func(_ *TelemetryHeader, f []byte) []byte { return f[:31] }, "header", "31 bytes"},
		{"version", func(_ *TelemetryHeader, f []byte) []byte { f[0] = 2; return f }, "version", "2 is unknown"},
		{"kind 0", func(h *TelemetryHeader, _ []byte) []byte { h.Kind = 0; return nil }, "kind", "0 is unknown"},
		{"kind 3", func(h *TelemetryHeader, _ []byte) []byte { h.Kind = 3; return nil }, "kind", "3 is unknown"},
		{"format 0", func(h *TelemetryHeader, _ []byte) []byte { h.Format = 0; return nil }, "format", "0 is unknown"},
		{"format 5", func(h *TelemetryHeader, _ []byte) []byte { h.Format = 5; return nil }, "format", "5 is unknown"},
		{"no channels", func(h *TelemetryHeader, _ []byte) []byte { h.Channels = 0; return nil }, "channels", "at least 1"},
		{"no samples", func(h *TelemetryHeader, _ []byte) []byte { h.Count = 0; return nil }, "count", "at least 1"},
		{"envelope of 6", func(h *TelemetryHeader, _ []byte) []byte { h.Kind, h.Count = KindBuckets, 6; return nil }, "count", "multiple of 4"},
		{"seq wraps", func(h *TelemetryHeader, _ []byte) []byte { h.Seq = math.MaxUint64 - 3; return nil }, "seq", "does not fit"},
		{"no body", func(_ *TelemetryHeader, f []byte) []byte { return f[:32] }, "count", "need 32 bytes after the header, the frame has 0"},
		{"byte short", func(_ *TelemetryHeader, f []byte) []byte { return f[:63] }, "count", "need 32 bytes after the header, the frame has 31"},
		{"byte long", func(_ *TelemetryHeader, f []byte) []byte { return append(f, 0) }, "count", "the frame has 33"},
		{"body too large for any frame", func(_ *TelemetryHeader, f []byte) []byte {
			h := TelemetryHeader{Kind: KindSamples, Format: FormatF64, Channels: math.MaxUint16, Count: math.MaxUint16}
			return h.Append(nil)
		}, "count", "need 34358689800 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := good
			frame := tc.change(&h, append(good.Append(nil), make([]byte, good.BodySize())...))
			if frame == nil {
				frame = append(h.Append(nil), make([]byte, h.BodySize())...)
			}
			got := TelemetryHeader{Seq: 99}
			err := got.Parse(frame)
			fe, isField := errors.AsType[*FieldError](err)
			if !isField || fe.Field != tc.field || !strings.Contains(fe.Problem, tc.problem) {
				t.Errorf("got %v, want field %q: %s", err, tc.field, tc.problem)
			}
			if got != (TelemetryHeader{Seq: 99}) {
				t.Errorf("header changed to %+v", got)
			}
		})
	}
}

func TestTelemetryHeaderAccepts(t *testing.T) {
	for _, h := range []TelemetryHeader{
		{Kind: KindSamples, Format: FormatF64, Channels: 1, Count: 1, Seq: math.MaxUint64 - 1},
		{Kind: KindBuckets, Format: FormatI32, Channels: 3, Count: 8},
		{Kind: KindSamples, Format: FormatI16, Channels: math.MaxUint16, Count: 2},
		{Kind: KindSamples, Format: FormatI16, Channels: 1, Count: math.MaxUint16},
	} {
		var got TelemetryHeader
		if err := got.Parse(append(h.Append(nil), make([]byte, h.BodySize())...)); err != nil || got != h {
			t.Errorf("%+v: %+v, %v", h, got, err)
		}
	}
}

func TestTelemetryHeaderRoundTrip(t *testing.T) {
	if err := quick.Check(func(h TelemetryHeader) bool {
		h.Kind, h.Format = 1+h.Kind%2, 1+h.Format%4
		h.Channels, h.Count = 1+h.Channels%64, 4+h.Count%1000/4*4
		h.Seq = min(h.Seq, math.MaxUint64-uint64(h.Count))
		frame := append(h.Append(nil), make([]byte, h.BodySize())...)
		var got TelemetryHeader
		if err := got.Parse(frame); err != nil || got != h {
			t.Logf("%+v: %+v, %v", h, got, err)
			return false
		}
		for _, n := range []int{0, TelemetryHeaderSize - 1, TelemetryHeaderSize, len(frame) - 1} {
			if got.Parse(frame[:n:n]) == nil {
				t.Logf("%+v: accepted %d bytes", h, n)
				return false
			}
		}
		return true
	}, nil); err != nil {
		t.Error(err)
	}
}

func TestSampleValues(t *testing.T) {
	f32 := []float32{0, -1.5, math.MaxFloat32, float32(math.Inf(1)), math.SmallestNonzeroFloat32}
	f64 := []float64{0, -1.5, math.MaxFloat64, math.Inf(-1), math.SmallestNonzeroFloat64}
	i16 := []int16{0, -1, math.MinInt16, math.MaxInt16, 258}
	i32 := []int32{0, -1, math.MinInt32, math.MaxInt32, 16909060}
	for _, tc := range []struct {
		format uint8
		body   []byte
		at     func(body []byte, i int) bool
	}{
		{FormatF32, AppendF32(nil, f32...), func(b []byte, i int) bool { return F32At(b, i) == f32[i] }},
		{FormatF64, AppendF64(nil, f64...), func(b []byte, i int) bool { return F64At(b, i) == f64[i] }},
		{FormatI16, AppendI16(nil, i16...), func(b []byte, i int) bool { return I16At(b, i) == i16[i] }},
		{FormatI32, AppendI32(nil, i32...), func(b []byte, i int) bool { return I32At(b, i) == i32[i] }},
	} {
		if len(tc.body) != 5*FormatSize(tc.format) {
			t.Errorf("format %d: %d bytes", tc.format, len(tc.body))
		}
		for i := range 5 {
			if !tc.at(tc.body, i) {
				t.Errorf("format %d: value %d differs", tc.format, i)
			}
		}
	}
	if got := AppendI32(nil, 16909060); !slices.Equal(got, []byte{4, 3, 2, 1}) {
		t.Errorf("not little-endian: %x", got)
	}
}

func TestTelemetryDoesNotAllocate(t *testing.T) {
	h := TelemetryHeader{Kind: KindSamples, Format: FormatF32, Channels: 2, Count: 50}
	values := make([]float32, 100)
	frame := AppendF32(h.Append(nil), values...)
	if n := testing.AllocsPerRun(100, func() {
		if err := h.Parse(frame); err != nil {
			t.Fatal(err)
		}
		StampStream(frame, 9)
		frame = AppendF32(h.Append(frame[:0]), values...)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
